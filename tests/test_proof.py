"""Networks read off ONNX models against the models themselves, run in their own way of taking images."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from support.commands import command
from support.specs import narrowed

from resnet_compile import CompileOptions, compile, load_spec, open_checkpoint, plan_network, proof
from resnet_compile.errors import VerificationError
from resnet_compile.recognise import recognise
from resnet_compile.verify import require_agreement
from resnet_compile.weights.structure import structure_of

EXPORTS = Path(__file__).resolve().parent / "data" / "onnx"


def read(path: Path) -> Any:
    with open_checkpoint(path) as source:
        return recognise(source).spec


@pytest.mark.parametrize("path", sorted(EXPORTS.glob("*.onnx")), ids=lambda path: path.stem)
def test_an_export_agrees_at_every_unit(path: Path) -> None:
    """TensorFlow's are NHWC inside and NCHW outside, PyTorch's have one size and a batch of their own."""
    spec = read(path)
    found = proof.compare_source(spec, path)
    require_agreement(found)
    units = [unit.scope for unit in plan_network(spec).units]
    assert [each.output for each in found[: len(units)]] == units
    assert len(found) > len(units)


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "nhwc"},
        {"dtype": "float16"},
        {"batch": 3, "size": (40, 24)},
        {"size": "dynamic", "target": "portable"},
    ],
    ids=str,
)
def test_a_model_is_run_as_it_takes_images(options: dict[str, Any], tmp_path: Path) -> None:
    model = compile(narrowed(load_spec("torchvision_resnet18")), CompileOptions(**options)).to_proto()
    del model.metadata_props[:]
    path = tmp_path / "theirs.onnx"
    onnx.save(model, path)
    found = proof.compare_source(read(path), path)
    require_agreement(found)
    assert found[0].bound == (5e-2 if "dtype" in options else 1e-4)


def test_a_model_with_external_data(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    compile(narrowed(load_spec("torchvision_resnet18")), CompileOptions(external_data=True)).save(path)
    require_agreement(proof.compare_source(read(path), path))


def test_another_value_in_the_place_of_a_unit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    path = EXPORTS / "timm_resnet_basic_tracing.onnx"

    def misled(*arguments: Any) -> Any:
        found = structure_of(*arguments)
        first, second, *_ = found.places
        return replace(found, places={**found.places, second: found.places[first]})

    spec = read(path)
    unit = [unit.scope for unit in plan_network(spec).units][1]
    monkeypatch.setattr(proof, "structure_of", misled)
    with pytest.raises(VerificationError, match=f"1 of .* outputs differ .* @ {unit}"):
        require_agreement(proof.compare_source(spec, path))


def unknown_to_onnxruntime(tmp_path: Path) -> None:
    """An export that says to be of an opset which no onnxruntime has."""
    model = onnx.load(EXPORTS / "timm_resnet_basic_tracing.onnx")
    model.opset_import[0].version = 1000
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())


def test_what_onnxruntime_cannot_run_is_written_only_without_proof(tmp_path: Path) -> None:
    unknown_to_onnxruntime(tmp_path)
    done = command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", cwd=tmp_path)
    assert done.code == 3
    assert "onnxruntime cannot run the model" in done.err
    assert done.err.rstrip().endswith("(--no-verify takes it without proof)")
    assert [each.name for each in tmp_path.iterdir()] == ["theirs.onnx"]
    done = command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", "--no-verify", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "ours.onnx").exists()


def test_a_batch_that_fits_no_memory_is_told(tmp_path: Path) -> None:
    model = compile(narrowed(load_spec("torchvision_resnet18"))).to_proto()
    del model.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1 << 40
    onnx.save(model, path := tmp_path / "theirs.onnx")
    with pytest.raises(VerificationError, match=r"it takes 1,099,511,627,776 images at a time.*--no-verify"):
        proof.compare_source(read(path), path)


def test_the_command_proves_a_foreign_source_and_ours(tmp_path: Path) -> None:
    (tmp_path / "theirs.onnx").write_bytes((EXPORTS / "timm_resnext_tracing.onnx").read_bytes())
    done = command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", "--target", "cpu", cwd=tmp_path)
    assert done.code == 0, done.err
    for words in ("read off the graph", "network/block", "network/logits"):
        assert words in done.err
    again = command("resnet-compile", "ours.onnx", "-o", "again.onnx", "--dtype", "float16", cwd=tmp_path)
    assert again.code == 0, again.err
    assert "the spec is the one in the model's metadata" in again.err
    assert "1.0e-04" in again.err
    assert "5.0e-02" in again.err
    document = json.loads(command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", "--json", cwd=tmp_path).out)
    assert [each["output"] for each in document["proof"]][-1] == "network/logits"
    made = command("resnet-inspect", "ours.onnx", "--spec", "found.json", cwd=tmp_path)
    assert made.code == 0
    given = command("resnet-compile", "found.json", "--weights", "theirs.onnx", "-o", "given.onnx", cwd=tmp_path)
    assert given.code == 0, given.err
    assert "network/logits" in given.err

"""Verification: two models that agree, two that do not, and the command that tells."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.commands import command
from support.contents import with_arrays
from support.models import run
from support.slim import SlimCase, slim_cases
from support.tolerances import NETWORK

from resnet_compile import CompileOptions, Float16, Float32, compile, load_spec
from resnet_compile.cli.compile import cli
from resnet_compile.errors import OptionError, VerificationError
from resnet_compile.verify import OutputComparison, compare, compare_recorded, require_agreement


@pytest.mark.parametrize(
    "options",
    [
        CompileOptions(target="cuda", outputs="all", layout="nhwc"),
        CompileOptions(target="cuda", dtype="float16", size="dynamic"),
        CompileOptions(target="portable", batch=3),
        CompileOptions(dtype=Float16(io="float16"), outputs="all"),
    ],
)
def test_a_rewritten_model_agrees(options: CompileOptions) -> None:
    plain = options.replace(target=None, dtype="float32")
    comparisons = compare(compile(load_spec("tiny"), options), compile(load_spec("tiny"), plain))
    require_agreement(comparisons)
    assert all(each.error > 0 for each in comparisons[:1])
    bound = 5e-2 if isinstance(options.dtype, Float16) else 1e-4
    assert {each.bound for each in comparisons if each.output != "predictions"} == {bound}


@pytest.mark.parametrize("batch", [2, "dynamic"])
def test_given_images_are_compared_whatever_the_batch_size(batch: Any) -> None:
    images = np.random.default_rng(1).standard_normal((3, 3, 32, 32), np.float32)
    model = compile(load_spec("tiny"), CompileOptions(dtype="float16", outputs=("logits",), batch=batch))
    reference = compile(load_spec("tiny"), CompileOptions(outputs=("logits",), batch=batch))
    random, given = compare(model, reference, images=images)
    assert (random.images, given.images) == ("random", "given")
    # Of a batch of one image and a repeated one, the first row is what it is alone.
    actual, expected = (
        np.concatenate([run(each.to_proto(), images[rows])["tiny/logits"] for rows in ([0, 1], [2, 2])])[:3]
        for each in (model, reference)
    )
    difference = actual.astype(np.float64) - expected
    assert given.error == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(expected), rel=1e-3)
    assert given.largest == pytest.approx(np.abs(difference).max(), rel=1e-3)


def test_the_command_verifies_on_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    flags = ["--target", "cuda", "--verify", "--calibration", "photos", "--size", "dynamic", "--json"]
    done = command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)["verification"]
    assert [(each["output"], each["images"]) for each in document] == [
        (name, images) for images in ("random", "given") for name in ("tiny/logits", "predictions")
    ]


def test_another_function_does_not_agree() -> None:
    model = compile(load_spec("tiny"))
    name = "tiny/logits/biases"
    moved = with_arrays(model.graph, {name: np.full(10, 9, np.float32)})
    comparisons = compare(replace(model, graph=moved), model)
    with pytest.raises(VerificationError, match=r"1 of 2 outputs differ .* by up to 1\.9.* @ tiny/logits"):
        require_agreement(comparisons)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_bound_of_predictions_follows_the_logits(scale: float) -> None:
    """Logits in the thousands that agree to seven digits make predictions that do not."""
    spec = load_spec("tiny")
    plain = compile(spec)
    weights = {value.name: np.array(value.tensor.array()) for value in plain.graph.initializers()}
    named = {parameter.name for parameter in plain.plan.parameters}
    weights = {name: array for name, array in weights.items() if name in named}
    weights["tiny/logits/weights"] *= scale
    reference = compile(spec, weights=weights)
    logits, predictions = compare(compile(spec, CompileOptions(target="cuda"), weights=weights), reference)
    require_agreement((logits, predictions))
    assert logits.bound == 1e-4
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    greatest = np.abs(run(reference.to_proto(), images)["tiny/logits"]).max()
    assert predictions.bound == pytest.approx(1e-4 * max(1, 2 * greatest), rel=1e-3)
    assert (predictions.note is not None) == (2 * greatest >= 1e4)


def test_initial_weights_prove_nothing_of_predictions() -> None:
    logits, predictions = compare(compile(load_spec("tiny"), CompileOptions(target="cuda")), compile(load_spec("tiny")))
    assert (logits.note, predictions.note) == (None, "initial weights: proves nothing")


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("case", slim_cases("v2")[:3], ids=lambda case: case.label)
def test_a_model_is_held_to_what_the_original_made(case: SlimCase, layout: Any, tmp_path: Path) -> None:
    """TF-slim's own images and end points, channels last, to a model of either layout."""
    points = {name.partition("/")[2]: array for name, array in case.end_points.items() if name.count("/") == 1}
    points.pop("net", None)
    np.savez(tmp_path / "io.npz", input=case.x, **points)
    model = compile(case.spec, CompileOptions(outputs="all", layout=layout), weights=case.weights)
    found = compare_recorded(model, tmp_path / "io.npz")
    assert [each.output.partition("/")[2] for each in found] == [*points]
    assert {each.images for each in found} == {"recorded"}
    assert max(each.error for each in found) <= NETWORK
    require_agreement(found)
    moved = {**points, "block1": points["block1"] + 1}
    np.savez(tmp_path / "moved.npz", input=case.x, **moved)
    with pytest.raises(VerificationError, match=f"1 of {len(points)} outputs differ .* @ .*/block1"):
        require_agreement(compare_recorded(model, tmp_path / "moved.npz"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"logits": np.zeros((1, 10))},
            r"must hold an array 'input' and one for each output .* @ .*io\.npz \(np\.savez",
        ),
        ({"input": np.zeros((1, 3, 32, 32), np.float32)}, "and one for each output to compare"),
        (
            {"input": np.zeros((1, 5, 5, 5), np.float32), "logits": np.zeros((1, 10))},
            r"is \[1, 5, 5, 5\] and the model's",
        ),
        ({"input": np.zeros((1, 3, 32, 32), np.float32), "logits": np.zeros((1, 9))}, r"is \[1, 9\] and the model's"),
        ({"input": np.zeros((1, 3, 32, 32), np.float32), "block1": np.zeros(1)}, "compile it with --outputs block1"),
        ({"input": np.zeros((1, 3, 32, 32), np.float32), "block9": np.zeros(1)}, "'block9'"),
    ],
)
def test_what_is_no_recording(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "io.npz", **arrays)
    with pytest.raises(OptionError, match=message):
        compare_recorded(compile(load_spec("tiny")), tmp_path / "io.npz")


def test_the_command_holds_it_to_a_recording(tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32), np.float32)
    logits = run(compile(load_spec("tiny")).to_proto(), images)["tiny/logits"]
    np.savez(tmp_path / "io.npz", input=images, logits=logits)
    flags = ["--target", "cuda", "--batch", "2", "--reference", "io.npz", "--json"]
    done = command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 0
    (row,) = json.loads(done.out)["reference"]
    assert (row["output"], row["images"]) == ("tiny/logits", "recorded")
    np.savez(tmp_path / "io.npz", input=images, logits=-logits)
    failed = command("resnet-compile", "tiny", *flags, "-o", "other.onnx", cwd=tmp_path)
    assert (failed.code, (tmp_path / "other.onnx").exists()) == (3, False)


def test_no_number_is_no_agreement() -> None:
    with pytest.raises(VerificationError, match="nan"):
        require_agreement((OutputComparison("y", "random", float("nan"), float("nan"), 1e-4),))


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--target", "cuda", "--verify", "-o", "model.onnx", cwd=tmp_path)
    assert done.code == 0
    assert [line.split()[0] for line in done.err.splitlines()] == ["output", "tiny/logits", "predictions"]
    assert (tmp_path / "model.onnx").exists()


def test_the_command_puts_it_into_the_json_document(tmp_path: Path) -> None:
    flags = ["--dtype", "float16", "--verify", "--json"]
    done = command("resnet-compile", "tiny", *flags, "-o", "model.onnx", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)["verification"]
    assert [each["output"] for each in document] == ["tiny/logits", "predictions"]
    assert all(0 < each["error"] <= each["bound"] for each in document)


def test_a_model_that_fails_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Float32, "bound", 0.0)
    output = tmp_path / "model.onnx"
    output.write_bytes(b"before")
    done = CliRunner().invoke(cli, ["tiny", "--target", "cuda", "--verify", "-o", str(output)])
    assert isinstance(done.exception, VerificationError)
    assert done.exception.exit_code == 3
    assert output.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_v_tells_what_was_refused(tmp_path: Path) -> None:
    done = command("resnet-compile", "tiny", "--target", "portable", "-v", "-o", "model.onnx", cwd=tmp_path)
    assert "fold_batch_norm: 8 rewritten, 5 refused" in done.err
    assert "  tiny/postnorm/BatchNormalization: no convolution precedes it" in done.err

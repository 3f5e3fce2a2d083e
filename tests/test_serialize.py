"""Files: deterministic, the same as the model in memory, of the lowest IR version, whole or not there."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.models import run
from support.specs import parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.errors import OptionError, OutputError, WeightsError
from resnet_compile.serialize import NEWEST_OPSET, OLDEST_OPSET

SPEC = parsed(tiny_document())
X = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)


def test_the_file_is_the_model_in_memory(tmp_path: Path) -> None:
    model = compile(SPEC, CompileOptions(outputs="all"))
    model.save(tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == model.to_proto()
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        compile(parsed(tiny_document()), CompileOptions(seed=seed)).save(tmp_path / name)
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in "abc"]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset_is_valid_runs_and_has_the_lowest_ir_version(opset: int) -> None:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"onnx {onnx.__version__} knows opsets to {onnx.defs.onnx_opset_version()}")
    model = compile(SPEC, CompileOptions(opset=opset, outputs="all")).to_proto()
    assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import)
    onnx.checker.check_model(model, full_check=True)
    if opset > newest_opset_of_onnxruntime():
        pytest.skip(f"onnxruntime {onnxruntime.__version__} does not know opset {opset}")
    expected = run(compile(SPEC, CompileOptions(outputs="all")).to_proto(), X)
    actual = run(model, X)
    # An onnxruntime may fuse less of a newer opset, so the numbers agree and the bits need not.
    assert max(relative_error(actual[name], value) for name, value in expected.items()) <= NETWORK


def newest_opset_of_onnxruntime() -> int:
    """Found by trying: onnxruntime has no function that tells."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    for opset in range(onnx.defs.onnx_opset_version(), 0, -1):
        imports = [onnx.helper.make_opsetid("", opset)]
        ir_version = onnx.helper.find_min_ir_version_for(imports)
        model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
        with contextlib.suppress(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
            onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            return opset
    raise AssertionError("onnxruntime takes no opset")


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, NEWEST_OPSET + 1])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(OptionError, match=f"must be {OLDEST_OPSET} to {NEWEST_OPSET}, got {opset} @ opset"):
        compile(SPEC, CompileOptions(opset=opset))


def test_external_data_is_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    compile(SPEC, CompileOptions(external_data=True)).save(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    onnx.checker.check_model(path, full_check=True)
    expected = run(compile(SPEC).to_proto(), X)
    assert all(np.array_equal(value, expected[name]) for name, value in run(str(path), X).items())
    bare = onnx.load(path, load_external_data=False)
    for tensor in bare.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert entries["location"] == "model.onnx.data"
        assert int(entries["offset"]) % 4096 == 0


def test_a_model_too_large_for_protobuf_gets_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_compile.serialize._LARGEST_MODEL", 10_000)
    compile(SPEC).save(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").exists()
    with pytest.raises(OptionError, match="can only be saved as a file"):
        compile(SPEC).to_proto()


def test_metadata_says_what_the_model_is() -> None:
    entries = {prop.key: prop.value for prop in compile(SPEC, CompileOptions(seed=7)).to_proto().metadata_props}
    text = entries["resnet_compile.spec"]
    assert parsed(json.loads(text)) == SPEC
    assert entries["resnet_compile.spec_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert entries["resnet_compile.seed"] == "7"
    assert entries["resnet_compile.numpy_version"] == np.__version__
    assert "resnet_compile.version" in entries


def test_given_weights_have_no_seed() -> None:
    from resnet_compile import plan_network

    weights = {p.name: np.zeros(p.shape, np.float32) for p in plan_network(SPEC).parameters}
    keys = {prop.key for prop in compile(SPEC, weights=weights).to_proto().metadata_props}
    assert "resnet_compile.seed" not in keys


def test_a_failed_run_leaves_what_was_there(tmp_path: Path) -> None:
    from resnet_compile import plan_network

    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    weights = {p.name: np.full(p.shape, np.nan) for p in plan_network(SPEC).parameters}
    for external in (False, True):
        with pytest.raises(WeightsError):
            compile(SPEC, CompileOptions(external_data=external), weights=weights).save(path)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_compile.serialize._checked_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compile(SPEC).save(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    model = compile(SPEC)
    with pytest.raises(OptionError, match="is a directory"):
        model.save(tmp_path)
    with pytest.raises(OutputError, match="No such file or directory"):
        model.save(tmp_path / "none" / "model.onnx")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="Not a directory"):
        model.save(tmp_path / "file" / "model.onnx")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OptionError, match="not a regular file"):
        model.save(fifo)


def test_a_link_is_followed_and_permissions_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "target.onnx"
    target.write_bytes(b"")
    target.chmod(0o640)
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    compile(SPEC).save(link)
    assert link.is_symlink()
    assert target.stat().st_size > 10_000
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    compile(SPEC).save(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_catalogue_has_the_tiny_network_of_the_documentation() -> None:
    assert compile(load_spec("tiny")).outputs == ("tiny/logits", "predictions")

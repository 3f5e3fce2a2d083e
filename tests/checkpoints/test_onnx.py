"""ONNX models as checkpoints, against what the onnx package reads."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from support.onnx_files import model, tensors, write_external

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.formats import is_checkpoint, open_checkpoint
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, is_onnx
from resnet_compile.errors import CheckpointError


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model(tensors()).SerializeToString())
    return path


@pytest.mark.parametrize("external", [False, True])
def test_every_type_and_form_is_bit_equal(external: bool, tmp_path: Path) -> None:
    path = write_external(tmp_path) if external else tmp_path / "model.onnx"
    if not external:
        path.write_bytes(model(tensors()).SerializeToString())
    truth = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors()}
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == "ONNX"
        assert [name for name in checkpoint if name != "weights"] == list(truth)
        for name, expected in truth.items():
            info = checkpoint.info(name)
            assert (info.dtype, info.shape) == (expected.dtype.name, expected.shape), name
            found = checkpoint[name]
            assert (found.dtype, found.shape, found.tobytes()) == (
                expected.dtype,
                expected.shape,
                expected.tobytes(),
            ), name
        assert checkpoint["weights"].shape == (1, 1, 3, 3)
        assert len(checkpoint.files) == (2 if external else 1)


def test_types_that_are_not_read_are_listed(tmp_path: Path) -> None:
    made = model(tensors())
    made.graph.initializer.append(onnx.helper.make_tensor("labels", onnx.TensorProto.STRING, [2], [b"a", b"b"]))
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    checkpoint = OnnxCheckpoint(tmp_path / "model.onnx")
    assert checkpoint.unread == {"labels": Unread("of type string", (2,))}
    assert "labels" not in checkpoint


def test_nodes_tell_what_they_do(embedded: Path) -> None:
    checkpoint = OnnxCheckpoint(embedded)
    conv, relu = checkpoint.nodes
    assert (conv.operator, conv.inputs, conv.outputs) == ("Conv", ("x", "weights"), ("z",))
    assert conv.ints == {"strides": (2, 2), "pads": (1, 1, 1, 1), "group": (1,)}
    assert relu.floats == {"alpha": 0.25}
    assert checkpoint.inputs == ("x",)


def test_the_format_is_told_by_content(embedded: Path, tmp_path: Path) -> None:
    assert is_onnx(embedded)
    assert is_checkpoint(embedded.rename(tmp_path / "weights.ckpt"))
    for content in (b"", b"\x08", b"\x08\x08", b"\x08\x08\xff", b"PK\x03\x04", b'{"a": 1}'):
        (tmp_path / "other").write_bytes(content)
        assert not is_onnx(tmp_path / "other")


def broken(change: Callable[[onnx.ModelProto], object]) -> bytes:
    made = model(tensors())
    change(made)
    return made.SerializeToString()


def first(made: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in made.graph.initializer if tensor.name == name)


FAULTS: dict[str, tuple[bytes, str]] = {
    "raw data too short": (
        broken(lambda m: first(m, "raw/FLOAT").__setattr__("raw_data", b"\0" * 15)),
        "15 bytes are stored where the shape asks for 16",
    ),
    "typed data too short": (
        broken(lambda m: first(m, "typed/FLOAT").float_data.pop()),
        "3 values are stored where the shape asks for 4",
    ),
    "typed integers too many": (
        broken(lambda m: first(m, "typed/INT8").int32_data.append(1)),
        "5 values are stored where the shape asks for 4",
    ),
    "terabytes": (broken(lambda m: first(m, "raw/FLOAT").dims.extend([2**40])), "where the shape asks for"),
    "a negative size": (broken(lambda m: first(m, "raw/FLOAT").dims.append(-1)), "not a list of sizes"),
    "two tensors have the same name": (
        broken(lambda m: first(m, "raw/FLOAT").__setattr__("name", "scalar")),
        "two tensors have the same name",
    ),
    "a boolean of 2": (
        broken(lambda m: first(m, "raw/BOOL").__setattr__("raw_data", b"\2\0\0\0")),
        "a boolean is neither 0 nor 1",
    ),
    "no opset": (broken(lambda m: m.ClearField("opset_import")), "not an ONNX model"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_model_is_refused(fault: str, tmp_path: Path) -> None:
    wire, words = FAULTS[fault]
    path = tmp_path / "model.onnx"
    path.write_bytes(wire)
    with pytest.raises(CheckpointError, match=words):
        dict(OnnxCheckpoint(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [("offset", "-1"), ("offset", "99999999"), ("length", "1e3"), ("length", "9" * 30), ("offset", "1")],
)
def test_external_data_is_bounded(key: str, value: str, tmp_path: Path) -> None:
    path = write_external(tmp_path)
    made = onnx.load(path, load_external_data=False)
    entries = first(made, "raw/FLOAT").external_data
    del entries[:]
    for name, text in {"location": "external.data", "offset": "0", "length": "16", key: value}.items():
        entries.add(key=name, value=text)
    path.write_bytes(made.SerializeToString())
    if (key, value) == ("offset", "1"):  # inside the file: other bytes, as the model asks for
        assert OnnxCheckpoint(path)["raw/FLOAT"].shape == (2, 2)
        return
    with pytest.raises(CheckpointError):
        OnnxCheckpoint(path)


def test_missing_external_data_is_told(tmp_path: Path) -> None:
    path = write_external(tmp_path)
    (tmp_path / "external.data").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        OnnxCheckpoint(path)

"""Models of TensorFlow Lite: their constants against what its own interpreter reads."""

import json
import struct
from pathlib import Path

import pytest
from support.checkpoint_seeds import DATA
from support.specs import parsed, tiny_document
from support.truths import assert_equals

from resnet_compile import compile
from resnet_compile.checkpoints.base import QUANTISED
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.tensorflow.tflite import TensorFlowLiteCheckpoint, is_tflite
from resnet_compile.errors import CheckpointError, WeightsError

READERS = DATA / "readers"
TRUTHS = json.loads((READERS / "tflite.json").read_text())
WHOLE = (READERS / "float32.tflite").read_bytes()
SOURCE = "give the SavedModel, checkpoint or Keras file that it was made from"


@pytest.mark.parametrize("file", TRUTHS)
def test_constants_are_bit_equal_and_quantised_ones_are_listed(file: str) -> None:
    assert is_tflite(READERS / file)
    with open_checkpoint(READERS / file) as checkpoint:
        assert [*checkpoint, *checkpoint.unread] == list(TRUTHS[file])
        assert {each.kind for each in checkpoint.unread.values()} <= {QUANTISED}
        assert [*checkpoint.unread] == [name for name, truth in TRUTHS[file].items() if truth == "quantised"]
        assert_equals(checkpoint, {name: TRUTHS[file][name] for name in checkpoint})


def test_some_are_of_every_kind() -> None:
    kinds = {truth if isinstance(truth, str) else truth["dtype"] for file in TRUTHS.values() for truth in file.values()}
    assert kinds == {"float32", "float16", "int32", "quantised"}


def test_a_network_is_told_why_it_is_not_there() -> None:
    with pytest.raises(WeightsError, match="no name fits tiny") as caught:
        compile(parsed(tiny_document()), weights=READERS / "float32.tflite")
    assert str(caught.value.hint).endswith(f"own parameters are not in its file: {SOURCE}")
    with pytest.raises(CheckpointError, match="the tensor is quantised") as caught:
        compile(parsed(tiny_document()), weights=READERS / "int8.tflite")
    assert caught.value.hint == SOURCE


def read(data: bytes, folder: Path) -> dict[str, bytes]:
    (folder / "a.tflite").write_bytes(data)
    with TensorFlowLiteCheckpoint(folder / "a.tflite") as checkpoint:
        return {name: array.tobytes() for name, array in checkpoint.items()}


def changed(at: int, *numbers: int, kind: str = "I") -> bytes:
    data = bytearray(WHOLE)
    struct.pack_into(f"<{len(numbers)}{kind}", data, at, *numbers)
    return bytes(data)


NAME = WHOLE.index(b"\x17\0\0\0model/conv1_conv/Conv2D")  # its length stands before a string


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x1c\0\0\0TFL2" + bytes(9), "not a TensorFlow Lite model"),
        (b"\x1c\0\0\0TFL3" + bytes(9), "a table is outside the file"),
        (changed(0, len(WHOLE)), "a table is outside the file"),
        (changed(NAME, 5000), "a vector is outside the file"),
        (changed(NAME, 5000) + bytes(5000), "a string of 5000 bytes, more than the 4096"),
        (changed(NAME + 4, 0xFF, kind="B"), "a string that is not UTF-8"),
    ],
)
def test_damage_is_told(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(data, tmp_path)


def test_tensors_of_one_name_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    """Two names of one length made one."""
    there = list(TRUTHS["float32.tflite"])
    first, second = "model/conv1_bn/FusedBatchNormV3", "model/predictions/BiasAdd/ReadVariableOp"
    assert {first, second} <= set(there)
    at = WHOLE.index(second.encode()) - 4
    data = bytearray(WHOLE)
    data[at : at + 4 + len(first)] = len(first).to_bytes(4, "little") + first.encode()
    names = list(read(bytes(data), tmp_path))
    assert first in names
    assert [name for name in names if name.startswith(f"{first}:")]

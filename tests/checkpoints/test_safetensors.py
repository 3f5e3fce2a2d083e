import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from support.memory import memory_below
from support.truths import assert_equals

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.safetensors_file import (
    SafetensorsCheckpoint,
    ShardedSafetensorsCheckpoint,
    is_safetensors,
    is_safetensors_index,
)
from resnet_compile.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "readers"
TRUTHS: dict[str, dict[str, Any]] = {
    name: tensors
    for name, tensors in json.loads((DATA / "torch.json").read_text()).items()
    if name.endswith(".safetensors")
}
INDEX = DATA / "sharded.safetensors.index.json"


def write(path: Path, header: object, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("file", TRUTHS)
def test_equals_what_pytorch_reads(file: str) -> None:
    assert is_safetensors(DATA / file)
    with SafetensorsCheckpoint(DATA / file) as checkpoint:
        assert checkpoint.keys() == TRUTHS[file].keys()
        assert_equals(checkpoint, TRUTHS[file])


def test_every_dtype_is_in_the_fixtures() -> None:
    kinds = {tensor["dtype"] for tensor in TRUTHS["dtypes.safetensors"].values()}
    assert {"bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "bool", "uint64", "complex64"} <= kinds
    assert len(kinds) == 19


def test_four_bit_floats() -> None:
    """PyTorch packed the codes 0 to 15 in order."""
    array = SafetensorsCheckpoint(DATA / "float4.safetensors")["f4"]
    assert array.dtype == ml_dtypes.float4_e2m1fn
    assert array.shape == (2, 8)
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    np.testing.assert_array_equal(array.astype(float), [magnitudes, [-value for value in magnitudes]])
    assert np.signbit(array.astype(float)[1, 0])


@pytest.mark.parametrize("dtype", ["F6_E2M3", "F33"])
def test_types_of_which_the_layout_is_not_known_are_listed(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "a", {"w": entry(dtype, (4,), (0, 3)), "v": entry("U8", (1,), (3, 4))}, bytes(4))
    checkpoint = SafetensorsCheckpoint(path)
    assert (list(checkpoint), checkpoint.unread) == (["v"], {"w": Unread(f"of type {dtype}", (4,))})
    with pytest.raises(CheckpointError, match=f"the tensor is of type {dtype}, which is not supported"):
        checkpoint["w"]


def test_equals_what_the_package_reads(tmp_path: Path) -> None:
    tensors = {f"layer{index}/weights": np.arange(index, dtype=np.float16) for index in range(20)}
    tensors["scalar"] = np.array(2.5)
    path = tmp_path / "named.anything"
    safetensors.numpy.save_file(tensors, path, metadata={"made": "here"})
    checkpoint = SafetensorsCheckpoint(path)
    assert checkpoint.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(checkpoint[name], array)


def test_tensors_are_views() -> None:
    with SafetensorsCheckpoint(DATA / "dtypes.safetensors") as checkpoint:
        array = checkpoint["float32"]
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert array[0, 1] == 1


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"w": entry()}, bytes(9), "the file holds 9"),
        ({"w": entry()}, bytes(7), "the file is truncated: "),
        ({"w": entry(offsets=(4, 12))}, bytes(12), "gap"),
        ({"v": entry(), "w": entry(offsets=(12, 20))}, bytes(20), "gap"),
        ({"v": entry(), "w": entry(offsets=(4, 12))}, bytes(12), "overlaps"),
        ({"v": entry(), "w": entry()}, bytes(8), "overlaps"),
        ({"w": entry(offsets=(-8, 0))}, bytes(8), "overlaps"),
        ({"w": entry(offsets=(8, 0))}, bytes(8), "takes 8 bytes"),
        ({"w": entry(offsets=(0, 4))}, bytes(8), "takes 8 bytes"),
        ({"w": entry(shape=(1 << 40,))}, bytes(8), "takes"),
        ({"w": entry(shape=(1 << 40,), offsets=(0, 1 << 42))}, bytes(8), "the file is truncated: "),
        ({"w": entry(shape=(1 << 40, 1 << 40))}, bytes(8), "larger than any memory"),
        ({"w": entry(shape=(0, 1 << 62), offsets=(0, 0))}, b"", "larger than any memory"),
        ({"w": entry(shape=(1,) * 33, offsets=(0, 4))}, bytes(4), "33 axes"),
        ({"w": entry(shape=(-2,))}, bytes(8), "not a list of sizes"),
        ({"w": entry(shape=(2.0,))}, bytes(8), "not a list of sizes"),
        ({"w": entry(shape=(True, 2))}, bytes(8), "not a list of sizes"),
        ({"w": entry(shape=2)}, bytes(8), "not a list of sizes"),
        ({"w": entry(offsets=(0, 8, 8))}, bytes(8), "must be two integers"),
        ({"w": entry(offsets=(0, 8.0))}, bytes(8), "must be two integers"),
        ({"w": entry(offsets=None)}, bytes(8), "must be two integers"),
        ({"w": entry(["F32"])}, bytes(8), "the dtype is not a string"),
        ({"w": entry("F33", offsets=(8, 0))}, bytes(8), "the shape takes 0 bytes, data_offsets give -8"),
        ({"w": entry("F4", (3,), (0, 2))}, bytes(2), "do not fill whole bytes"),
        ({"w": {"dtype": "F32", "shape": [2]}}, bytes(8), "must have dtype, shape and data_offsets"),
        ({"w": {**entry(), "strides": [1]}}, bytes(8), "and nothing else"),
        ({"w": [1, 2]}, bytes(8), "must have dtype"),
        ([entry()], bytes(8), "not an object"),
        (b"{", b"", "cannot be parsed"),
        (b'{"w": \xff}', b"", "cannot be parsed"),
        (b"[" * 100_000, b"", "cannot be parsed"),
        (b'{"w": ' + b"9" * 10_000 + b"}", b"", "cannot be parsed"),
        (b'{"w": 1, "v": 2, "w": 3}', b"", "the JSON header has a name twice"),
        (b'{"w": {"dtype": "F32", "dtype": "F64"}}', b"", "the JSON header has a name twice"),
    ],
)
def test_damaged_headers(tmp_path: Path, header: object, data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        SafetensorsCheckpoint(write(tmp_path / "a", header, data))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("claim", [9, 1 << 24, (1 << 24) + 1, 1 << 40, (1 << 64) - 1])
def test_claims_about_the_header_take_no_memory(tmp_path: Path, claim: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(struct.pack("<Q", claim) + b'{"a":{}}')
    with memory_below(1 << 20), pytest.raises(CheckpointError, match=r"the file is truncated|are allowed"):
        SafetensorsCheckpoint(path)


def test_boolean_of_another_byte(tmp_path: Path) -> None:
    checkpoint = SafetensorsCheckpoint(write(tmp_path / "a", {"w": entry("BOOL", (3,), (0, 3))}, b"\0\1\2"))
    with pytest.raises(CheckpointError, match="neither 0 nor 1"):
        checkpoint["w"]


def test_names_cannot_break_the_line(tmp_path: Path) -> None:
    name = "w\n\x1b[31m" + "x" * 1000
    with pytest.raises(CheckpointError) as caught:
        SafetensorsCheckpoint(write(tmp_path / "a", {name: entry(1)}, bytes(8)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200 + len(str(tmp_path))


def test_shards() -> None:
    assert is_safetensors_index(INDEX)
    assert not is_safetensors_index(DATA / "torch.json")
    truths = TRUTHS["sharded-00001-of-00002.safetensors"] | TRUTHS["sharded-00002-of-00002.safetensors"]
    with ShardedSafetensorsCheckpoint(INDEX) as checkpoint:
        assert checkpoint.keys() == truths.keys()
        assert len(checkpoint) == 8
        assert_equals(checkpoint, truths)


def test_shards_list_what_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a.st", {"w": entry("F33")}, bytes(8))
    index = tmp_path / "a.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "a.st"}}))
    assert ShardedSafetensorsCheckpoint(index).unread == {"w": Unread("of type F33", (2,))}
    index.write_text(json.dumps({"weight_map": {"v": "a.st"}}))
    with pytest.raises(CheckpointError, match="lacks the tensor that the index puts there"):
        ShardedSafetensorsCheckpoint(index)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"w": "a.st"}, "does not put there"),
        ({"w": "a.st", "v": "a.st", "x": "a.st"}, "lacks the tensor that the index puts there"),
        ({"w": "a.st", "v": "b.st"}, "no such file"),
        ({"w": "../a.st"}, "plain file name"),
        ({"w": "/etc/passwd"}, "plain file name"),
        ({"w": "C:a.st"}, "plain file name"),
        ({"w": ".."}, "plain file name"),
        ({"w": "a.st\0"}, "plain file name"),
        ({"w": ["a.st"]}, "plain file name"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_damaged_indexes(tmp_path: Path, weight_map: object, message: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for place in (folder, tmp_path):  # the one outside could be read, and must not be
        write(place / "a.st", {"v": entry("U8", (1,), (0, 1)), "w": entry("U8", (1,), (1, 2))}, b"\1\2")
    index = folder / "index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        ShardedSafetensorsCheckpoint(index)


def test_one_tensor_in_two_shards(tmp_path: Path) -> None:
    for name in ("a.st", "b.st"):
        write(tmp_path / name, {"w": entry("U8", (1,), (0, 1)), name: entry("U8", (1,), (1, 2))}, b"\1\2")
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"weight_map": {"w": "a.st", "a.st": "a.st", "b.st": "b.st"}}))
    with pytest.raises(CheckpointError, match="does not put there"):
        ShardedSafetensorsCheckpoint(index)
    index.write_text('{"weight_map": {"w": "a.st", "a.st": "a.st", "w": "b.st"}}')
    with pytest.raises(CheckpointError, match="twice"):
        ShardedSafetensorsCheckpoint(index)

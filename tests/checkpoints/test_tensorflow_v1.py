"""V1 checkpoints: bit-equal to TensorFlow's own reading, and whatever is wrong with one is an error."""

import gzip
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.tensorflow_files import (
    BOOL,
    CHECKPOINTS,
    FLOAT,
    HALF,
    INT32,
    INT64,
    STRING,
    UINT8,
    Entry,
    Extents,
    field,
    fixture_truth,
    key_of,
    missed_flips,
    missed_truncations,
    number,
    shape_proto,
    slice_proto,
    table,
    v1_directory,
    v1_file,
    v1_floats,
    v1_meta,
    v1_record,
    varint,
    whole,
)
from support.truths import assert_equals

from resnet_compile.checkpoints.tensorflow import v1 as tensorflow_v1
from resnet_compile.checkpoints.tensorflow.v1 import TensorFlowV1Checkpoint
from resnet_compile.errors import CheckpointError

FIXTURES = ["dt1", "extra1", "part1", "shard1", "cross1", "blocks1"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.ckpt"


def read(path: Path) -> dict[str, np.ndarray]:
    """Open a checkpoint and read everything in it."""
    with TensorFlowV1Checkpoint(path) as checkpoint:
        return {name: checkpoint[name] for name in checkpoint}


def refused(path: Path, data: bytes, reason: str = ".", *, name: str | None = None) -> None:
    """Check that a file of these bytes gives an error, which names the file and the tensor."""
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert name is None or str(caught.value).endswith(f": {name}")


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_tensor_is_what_tensorflow_reads(fixture: str, tmp_path: Path) -> None:
    place = CHECKPOINTS / fixture
    if fixture == "blocks1":
        place = tmp_path / fixture
        place.write_bytes(gzip.decompress((CHECKPOINTS / "blocks1.gz").read_bytes()))
    truth = fixture_truth(fixture)
    checkpoint = TensorFlowV1Checkpoint(place)
    assert set(checkpoint) == set(truth)
    assert len(checkpoint) == len(truth)
    assert_equals(checkpoint, truth)


def test_asking_for_a_name_reads_no_values(path: Path) -> None:
    w = np.arange(5, dtype=np.float32)
    data = v1_file(("v", w), ("w", w), per_block=2)
    path.write_bytes(data.replace(w.tobytes(), w[::-1].tobytes()))  # which the checksums will not match
    with pytest.raises(CheckpointError, match="checksum"):
        TensorFlowV1Checkpoint(path)  # the first block holds the directory
    path.write_bytes(v1_file(("v", w), ("w", w), per_block=1).replace(w.tobytes(), w[::-1].tobytes()))
    checkpoint = TensorFlowV1Checkpoint(path)
    assert "w" in checkpoint
    with pytest.raises(CheckpointError, match="checksum"):
        checkpoint["w"]


def test_floats_are_views(path: Path) -> None:
    w = np.arange(12, dtype=np.float32).reshape(3, 4)
    path.write_bytes(v1_file(("w", w)))
    checkpoint = TensorFlowV1Checkpoint(path)
    view = checkpoint["w"]
    assert not view.flags.writeable
    assert not view.flags.owndata
    np.testing.assert_array_equal(view, w)


# Damage.


@pytest.mark.parametrize(("fixture", "step"), [("dt1", 1), ("extra1", 7)])
def test_every_flipped_bit_is_caught(fixture: str, step: int, path: Path) -> None:
    shutil.copyfile(CHECKPOINTS / fixture, path)
    assert missed_flips(path, range(0, 8 * path.stat().st_size, step), lambda: read(path)) == []


def test_every_flipped_bit_of_a_shard_is_caught(tmp_path: Path) -> None:
    for name in ("x-00000-of-00003", "x-00001-of-00003", "x-00002-of-00003"):
        shutil.copyfile(CHECKPOINTS / name.replace("x", "shard1"), tmp_path / name)
    damaged = tmp_path / "x-00001-of-00003"
    assert missed_flips(damaged, range(8 * damaged.stat().st_size), lambda: read(tmp_path / "x")) == []


@pytest.mark.parametrize("fixture", ["part1", "blocks1"])
def test_flipped_bits_of_larger_files_are_caught(fixture: str, path: Path) -> None:
    packed = CHECKPOINTS / f"{fixture}.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (CHECKPOINTS / fixture).read_bytes()
    path.write_bytes(data)
    # Everything after the values, and places among them.
    rng = random.Random(fixture)
    bits = [*range(8 * (len(data) - 300), 8 * len(data)), *(rng.randrange(8 * len(data)) for _ in range(300))]
    assert missed_flips(path, bits, lambda: read(path)) == []
    read(path)


def test_truncation_at_every_length_is_caught(path: Path) -> None:
    shutil.copyfile(CHECKPOINTS / "dt1", path)
    assert missed_truncations(path, lambda: read(path)) == []


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 48, b"x"])
def test_bytes_before_or_after_are_caught(path: Path, extra: bytes) -> None:
    data = (CHECKPOINTS / "dt1").read_bytes()
    refused(path, data + extra, r"magic|padding|never ends|starts")
    refused(path, extra + data)


# Files that are wrong in one place behind right checksums.

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def one(
    dtype: int,
    shape: list[int],
    values: bytes,
    *,
    slices: list[Extents] | None = None,
    records: list[Entry] | None = None,
    min_consumer: int = 0,
) -> bytes:
    """A checkpoint of the tensor `w`, by default with the one record that it takes."""
    slices = [whole(shape)] if slices is None else slices
    records = [v1_record("w", part, values) for part in slices] if records is None else records
    directory = v1_directory([v1_meta("w", dtype, shape, slices)], min_consumer=min_consumer)
    return table([directory, *sorted(records)])


def test_tensor_by_hand(path: Path) -> None:
    path.write_bytes(one(FLOAT, [2, 3], v1_floats(W)))
    np.testing.assert_array_equal(read(path)["w"], W)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (FLOAT, v1_floats(W[:1])),
        (FLOAT, field(5, W.tobytes() + b"\0")),
        (FLOAT, field(5, W.tobytes()) + field(5, b"")),
        (FLOAT, b""),
        (FLOAT, field(6, W.tobytes())),
        (FLOAT, field(4, W.tobytes())),
        (FLOAT, b"".join(varint(5 << 3 | 5) + value.tobytes() for value in W.ravel())),
        (INT32, field(7, b"\1" * 5)),
        (INT32, field(7, b"\1" * 7)),
        (INT32, field(7, b"\1" * 5 + varint(1 << 31))),
        (INT32, field(7, b"\1" * 5 + varint(-(1 << 31) - 1))),
        (INT32, field(7, b"\1" * 5 + b"\x81")),
        (INT32, field(7, b"\1" * 5 + b"\xff" * 12 + b"\1")),
        (INT64, field(7, b"\1" * 6)),
        (INT64, field(10, b"\1" * 5 + b"\xff" * 9 + b"\2")),
        (UINT8, field(7, b"\1" * 5 + varint(256))),
        (UINT8, field(7, b"\1" * 5 + varint(-1))),
        (BOOL, field(11, b"\1" * 5 + b"\2")),
        (HALF, field(13, b"\1" * 5 + varint(1 << 16))),
        (STRING, field(8, b"x") * 5),
        (STRING, field(8, b"x") * 7),
        (STRING, field(8, b"x" * 6)),
        (14, field(13, b"\1" * 6)),
        (21, field(8, b"x") * 6),
        (0, v1_floats(W)),
        (101, v1_floats(W)),
    ],
)
def test_values_that_do_not_fit_their_type(path: Path, dtype: int, values: bytes) -> None:
    refused(path, one(dtype, [2, 3], values), name="w")


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 20, 1 << 20], [1 << 59], [3, 1 << 61], [1000]])
@pytest.mark.parametrize("dtype", [FLOAT, INT32, STRING, HALF, BOOL])
def test_terabytes_are_refused_at_opening(path: Path, shape: list[int], dtype: int) -> None:
    path.write_bytes(one(dtype, shape, v1_floats(W)))
    with pytest.raises(CheckpointError, match=r"claim|larger than any memory"):
        TensorFlowV1Checkpoint(path)


def test_claims_add_up(path: Path) -> None:
    """Each of these tensors could be in the file, but not all of them."""
    names = [f"w{count}" for count in range(10)]
    metas = [v1_meta(name, UINT8, [300], [[(0, -1)]]) for name in names]
    records = [v1_record(name, [(0, -1)], field(7, b"\1")) for name in names]
    records[0] = v1_record("w0", [(0, -1)], field(7, b"\1" * 300))
    refused(path, table([v1_directory(metas), *records]), "the tensors claim 3000 bytes")


@pytest.mark.parametrize(
    ("shape", "slices", "reason"),
    [
        ([2, 3], [[(0, 1), (0, -1)]], "missing"),
        ([2, 3], [[(0, 1), (0, -1)], [(1, 1), (0, 2)]], "missing"),
        ([2, 3], [], "missing"),
        ([2, 3], [[(0, -1), (0, 2)], [(0, -1), (1, 2)]], "overlap"),
        ([2, 3], [[(0, -1), (0, -1)], [(0, 2), (0, 3)]], "overlap"),
        ([2, 3], [[(0, -1), (0, -1)], [(0, -1), (0, -1)]], "listed twice"),
        ([2, 3], [[(0, 3), (0, -1)]], "outside the shape"),
        ([2, 3], [[(0, -1)]], "has 1 axes"),
        ([2, 3], [[(0, -1)] * 3], "has 3 axes"),
        ([], [[], []], "listed twice"),
    ],
)
def test_slices_that_do_not_cover(path: Path, shape: list[int], slices: list[Extents], reason: str) -> None:
    keys = {key_of("w", part): part for part in slices or [whole(shape)]}
    records = [v1_record("w", part, v1_floats(W)) for part in keys.values()]
    refused(path, one(FLOAT, shape, b"", slices=slices, records=records), reason, name="w")


def test_slices_are_assembled(path: Path) -> None:
    parts: list[Extents] = [[(0, 1), (0, 2)], [(0, 1), (2, 1)], [(1, 1), (0, 3)]]
    values = [W[:1, :2], W[:1, 2:], W[1:]]
    records = [v1_record("w", part, v1_floats(value)) for part, value in zip(parts, values, strict=True)]
    path.write_bytes(one(FLOAT, [2, 3], b"", slices=parts, records=records))
    array = read(path)["w"]
    np.testing.assert_array_equal(array, W)
    assert not array.flags.writeable


def test_slice_with_the_values_of_another_shape(path: Path) -> None:
    parts: list[Extents] = [[(0, 1), (0, -1)], [(1, 1), (0, -1)]]
    records = [v1_record("w", parts[0], v1_floats(W)), v1_record("w", parts[1], b"")]
    refused(path, one(FLOAT, [2, 3], b"", slices=parts, records=records), "24 bytes where", name="w")


@pytest.mark.parametrize(
    "records",
    [
        [],
        [v1_record("v", whole([2, 3]), v1_floats(W))],
        [v1_record("w", whole([2, 3]), v1_floats(W)), v1_record("x", whole([2, 3]), v1_floats(W))],
        [v1_record("w", [(0, 2), (0, 3)], v1_floats(W))],
    ],
)
def test_records_are_those_of_the_directory(path: Path, records: list[Entry]) -> None:
    refused(path, one(FLOAT, [2, 3], b"", records=records), "missing|does not hold the slices")


def test_record_missing_from_a_later_block(path: Path) -> None:
    metas = [v1_meta(name, FLOAT, W.shape, [whole(W.shape)]) for name in "vwx"]
    v, w, x = (v1_record(name, whole(W.shape), v1_floats(W)) for name in "vwx")
    path.write_bytes(table([v1_directory(metas), v], [w, x]))
    assert set(read(path)) == set("vwx")
    refused(path, table([v1_directory(metas), v], [x]), "does not hold the slices")
    refused(path, table([v1_directory(metas), v], [w]), "missing", name="x")
    refused(path, table([v1_directory(metas[:1]), v], [w, x]), "block holds no tensor")


@pytest.mark.parametrize(
    "record",
    [
        field(2, field(1, b"v") + field(2, slice_proto(whole([2, 3]))) + field(3, v1_floats(W))),
        field(2, field(1, b"w") + field(2, slice_proto([(0, 2), (0, 3)])) + field(3, v1_floats(W))),
        field(2, field(2, slice_proto(whole([2, 3]))) + field(3, v1_floats(W))),
        field(2, b"\xff" * 20),
        field(1, b""),
        b"",
    ],
)
def test_record_is_the_one_that_its_key_says(path: Path, record: bytes) -> None:
    refused(path, one(FLOAT, [2, 3], b"", records=[(key_of("w", whole([2, 3])), record)]), name="w")


def test_name_listed_twice(path: Path) -> None:
    meta = v1_meta("w", FLOAT, W.shape, [whole(W.shape)])
    record = v1_record("w", whole(W.shape), v1_floats(W))
    refused(path, table([v1_directory([meta, meta]), record]), "tensor is listed twice", name="w")


def test_slices_of_a_name_listed_twice(path: Path) -> None:
    """Together they would cover it, but one file says everything about its slices of a tensor in one place."""
    parts: list[Extents] = [[(0, 1), (0, -1)], [(1, 1), (0, -1)]]
    metas = [v1_meta("w", FLOAT, W.shape, [part]) for part in parts]
    records = [v1_record("w", part, v1_floats(W[:1])) for part in parts]
    refused(path, table([v1_directory(metas), *records]), "tensor is listed twice", name="w")


def test_record_that_stands_twice(path: Path) -> None:
    refused(path, one(FLOAT, [2, 3], b"", records=[v1_record("w", whole([2, 3]), v1_floats(W))] * 2), "repeated")


@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        ((b"a", b"x"), "no directory"),
        ((b"", b""), "not the directory"),
        ((b"", number(1, 1)), "not the directory"),
        ((b"", field(1, field(1, b"\xff" * 20))), "never ends"),
        ((b"", field(1, field(1, number(3, FLOAT)))), "no name"),
        ((b"", field(1, field(1, field(1, b"\xff") + number(3, FLOAT)))), "UTF-8"),
        ((b"", field(1, field(1, field(1, b"w")))), "data type"),
        (
            (b"", field(1, field(1, field(1, b"w") + field(2, shape_proto([-4])) + number(3, FLOAT)))),
            "not a list of sizes",
        ),
    ],
)
def test_directory_that_is_none(path: Path, directory: Entry, reason: str) -> None:
    refused(path, table([directory]), reason)


def test_empty_table(path: Path) -> None:
    refused(path, table(), "empty")


def test_number_of_slices_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow_v1, "MAX_ENTRIES", 2)
    tensors = [(name, W) for name in "abc"]
    path.write_bytes(v1_file(*tensors[:2]))
    assert len(read(path)) == 2
    refused(path, v1_file(*tensors), "more than 2 slices")


def test_checkpoint_for_later_readers(path: Path) -> None:
    path.write_bytes(one(FLOAT, [2, 3], v1_floats(W), min_consumer=1))
    assert len(read(path)) == 1
    refused(path, one(FLOAT, [2, 3], v1_floats(W), min_consumer=2), "later version")


# Shards.


def write_shards(folder: Path, *shards: bytes) -> Path:
    for shard, data in enumerate(shards):
        (folder / f"x-{shard:05d}-of-{len(shards):05d}").write_bytes(data)
    return folder / "x"


def sliced(dtype: int, shape: list[int], part: Extents, values: bytes) -> bytes:
    return one(dtype, shape, values, slices=[part])


def test_slices_in_different_shards_are_assembled(tmp_path: Path) -> None:
    first = sliced(FLOAT, [2, 3], [(0, 1), (0, -1)], v1_floats(W[:1]))
    second = sliced(FLOAT, [2, 3], [(1, 1), (0, -1)], v1_floats(W[1:]))
    np.testing.assert_array_equal(read(write_shards(tmp_path, first, second))["w"], W)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (sliced(FLOAT, [2, 3], [(0, 1), (0, -1)], v1_floats(W[:1])), "overlap"),
        (sliced(FLOAT, [2, 3], [(0, -1), (0, -1)], v1_floats(W)), "overlap"),
        (sliced(FLOAT, [2, 3], [(1, 1), (0, 2)], v1_floats(W[1:, :2])), "missing"),
        (sliced(FLOAT, [3, 3], [(1, 1), (0, -1)], v1_floats(W[1:])), "different types"),
        (sliced(INT32, [2, 3], [(1, 1), (0, -1)], field(7, b"\1\1\1")), "different types"),
        (v1_file(("v", W)), "missing"),
        (b"", "magic"),
    ],
)
def test_shards_that_contradict_each_other(tmp_path: Path, second: bytes, reason: str) -> None:
    first = sliced(FLOAT, [2, 3], [(0, 1), (0, -1)], v1_floats(W[:1]))
    with pytest.raises(CheckpointError, match=reason):
        read(write_shards(tmp_path, first, second))

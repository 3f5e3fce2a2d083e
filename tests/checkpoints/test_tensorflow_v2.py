"""V2 bundles: bit-equal to TensorFlow's own reading, and whatever is wrong with one is an error."""

import gzip
import hashlib
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from support.tensorflow_files import (
    BOOL,
    CHECKPOINTS,
    FLOAT,
    INT32,
    STRING,
    UINT8,
    Entry,
    Extents,
    fixture_truth,
    key_of,
    masked,
    missed_flips,
    missed_truncations,
    table,
    v1_file,
    v2_entry,
    v2_header,
    v2_strings,
    varint,
    whole,
    write_v2,
)
from support.truths import assert_equals

from resnet_compile.checkpoints.tensorflow.v2 import TensorFlowV2Checkpoint
from resnet_compile.errors import CheckpointError

W = np.arange(6, dtype=np.float32).reshape(2, 3)
DATA = W.tobytes()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


def read(prefix: Path) -> dict[str, np.ndarray]:
    """Open a bundle and read everything in it."""
    with TensorFlowV2Checkpoint(prefix) as checkpoint:
        return {name: checkpoint[name] for name in checkpoint}


def refused(prefix: Path, reason: str = ".", *, name: str | None = None) -> None:
    """Check that a bundle gives an error, which names a file of it and the tensor."""
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(prefix)
    assert str(prefix) in str(caught.value)
    assert name is None or str(caught.value).endswith(f": {name}")


def copy_fixture(name: str, prefix: Path) -> list[Path]:
    """Copy a bundle; its files, the index first."""
    files = [CHECKPOINTS / f"{name}.index", *sorted(CHECKPOINTS.glob(f"{name}.data-*"))]
    copies = [prefix.with_name(file.name.replace(name, prefix.name, 1)) for file in files]
    for file, copied in zip(files, copies, strict=True):
        shutil.copyfile(file, copied)
    return copies


@pytest.mark.parametrize("fixture", ["dt2", "dt2sn", "extra2", "part2", "shard2"])
def test_every_tensor_is_what_tensorflow_reads(fixture: str) -> None:
    truth = fixture_truth("dt2" if fixture == "dt2sn" else fixture)
    checkpoint = TensorFlowV2Checkpoint(CHECKPOINTS / fixture)
    assert set(checkpoint) == set(truth)
    assert len(checkpoint) == len(truth)
    assert_equals(checkpoint, truth)


def test_thousands_of_variables() -> None:
    """The truth about these 6,000 is one hash, over a line for each."""
    checkpoint = TensorFlowV2Checkpoint(CHECKPOINTS / "many2")
    lines = hashlib.sha256()
    for name in sorted(checkpoint):
        array = checkpoint[name]
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        lines.update(f"{name} {array.dtype} {list(array.shape)} {digest}\n".encode())
    assert fixture_truth("many2") == {"tensors": len(checkpoint), "sha256": lines.hexdigest()}


def test_index_of_several_blocks(prefix: Path) -> None:
    for kind in ("index", "data-00000-of-00001"):
        packed = (CHECKPOINTS / f"blocks2.{kind}.gz").read_bytes()
        prefix.with_name(f"{prefix.name}.{kind}").write_bytes(gzip.decompress(packed))
    tensors = read(prefix)
    assert len(tensors) == 300
    assert all(array.tolist() == [int(name[:3])] for name, array in tensors.items())


def test_arrays_are_views(prefix: Path) -> None:
    checkpoint = TensorFlowV2Checkpoint(write_v2(prefix, [(b"w", v2_entry(FLOAT, W.shape, DATA))], DATA))
    view = checkpoint["w"]
    assert not view.flags.writeable
    assert not view.flags.owndata
    np.testing.assert_array_equal(view, W)


# Damage.


@pytest.mark.parametrize("fixture", ["dt2", "dt2sn", "part2", "shard2"])
def test_every_flipped_bit_of_the_index_is_caught(fixture: str, prefix: Path) -> None:
    index, *_ = copy_fixture(fixture, prefix)
    assert missed_flips(index, range(8 * index.stat().st_size), lambda: read(prefix)) == []


def test_flipped_bits_of_larger_indexes_are_caught(prefix: Path) -> None:
    index, *_ = copy_fixture("many2", prefix)
    size = 8 * index.stat().st_size
    rng = random.Random(2)
    bits = [*range(size - 8 * 150, size), *(rng.randrange(size) for _ in range(300))]
    assert missed_flips(index, bits, lambda: read(prefix)) == []


@pytest.mark.parametrize("fixture", ["dt2", "extra2", "shard2"])
def test_every_flipped_bit_of_the_data_is_caught(fixture: str, prefix: Path) -> None:
    """Flipped under an open checkpoint, which sees it through its map; opening reads no values."""
    _, *data = copy_fixture(fixture, prefix)
    with TensorFlowV2Checkpoint(prefix) as checkpoint:
        for file in data:
            bits = range(0, 8 * file.stat().st_size, 1 if fixture == "dt2" else 3)
            assert missed_flips(file, bits, lambda: [checkpoint[name] for name in checkpoint]) == []


def test_truncation_at_every_length_is_caught(prefix: Path) -> None:
    index, data = copy_fixture("dt2", prefix)
    assert missed_truncations(data, lambda: read(prefix)) == []
    index, data = copy_fixture("dt2", prefix)
    assert missed_truncations(index, lambda: read(prefix)) == []


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 64, b"x"])
def test_bytes_before_or_after_are_caught(prefix: Path, extra: bytes) -> None:
    for file in copy_fixture("dt2", prefix):
        data = file.read_bytes()
        for wrong in (data + extra, extra + data):
            file.write_bytes(wrong)
            refused(prefix)
        file.write_bytes(data)
    assert len(read(prefix)) == 18


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_missing_file(prefix: Path, missing: int) -> None:
    file = copy_fixture("shard2", prefix)[missing]
    file.unlink()
    with pytest.raises(CheckpointError, match="no such file") as caught:
        TensorFlowV2Checkpoint(prefix)
    assert str(file) in str(caught.value)


def test_shards_that_changed_places(prefix: Path) -> None:
    _, first, second, _ = copy_fixture("shard2", prefix)
    swap = first.with_name("swap")
    first.rename(swap)
    second.rename(first)
    swap.rename(second)
    refused(prefix, "checksum")


# Bundles that are wrong in one place behind right checksums.


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((b"", b""), "0 data files"),
        (v2_header(0), "0 data files"),
        (v2_header(100_000), "100000 data files"),
        (v2_header(1 << 40), "data files"),
        (v2_header(-1), "data files"),
        (v2_header(99_999), "no such file"),
        (v2_header(2), "no such file"),
        (v2_header(endianness=1), "big-endian"),
        (v2_header(min_consumer=2), "later version"),
        ((b"", b"\xff" * 20), "never ends"),
        ((b"a", b"\x08\x01"), "no header"),
    ],
)
def test_header(prefix: Path, header: Entry, reason: str) -> None:
    write_v2(prefix, [], DATA)
    prefix.with_name("bundle.index").write_bytes(table([header, (b"w", v2_entry(FLOAT, W.shape, DATA))]))
    refused(prefix, reason)


def test_header_that_is_accepted(prefix: Path) -> None:
    write_v2(prefix, [], DATA)
    index = table([v2_header(min_consumer=1), (b"w", v2_entry(FLOAT, W.shape, DATA))])
    prefix.with_name("bundle.index").write_bytes(index)
    np.testing.assert_array_equal(read(prefix)["w"], W)


def test_index_without_records(prefix: Path) -> None:
    write_v2(prefix, [], DATA)
    prefix.with_name("bundle.index").write_bytes(table())
    refused(prefix, "no header")


def test_v1_checkpoint_as_an_index(prefix: Path) -> None:
    write_v2(prefix, [], DATA)
    prefix.with_name("bundle.index").write_bytes(v1_file(("w", W)))
    refused(prefix, "0 data files")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (v2_entry(FLOAT, [2, 3], DATA, shard=1), "data file 1 of 1"),
        (v2_entry(FLOAT, [2, 3], DATA, shard=-1), "data file -1"),
        (v2_entry(FLOAT, [2, 3], DATA, shard=1 << 40), "data file"),
        (v2_entry(FLOAT, [2, 3], DATA, offset=1), "not within"),
        (v2_entry(FLOAT, [2, 3], DATA, offset=-1), "not within"),
        (v2_entry(FLOAT, [2, 3], DATA, offset=1 << 45), "not within"),
        (v2_entry(FLOAT, [2, 3], DATA, offset=1 << 63), "not within"),
        (v2_entry(FLOAT, [2, 3], DATA, size=25), "not within"),
        (v2_entry(FLOAT, [2, 3], DATA, size=-24), "not within"),
        (v2_entry(FLOAT, [1 << 40], DATA, size=1 << 42), "not within"),
        (v2_entry(FLOAT, [1 << 40], DATA), "24 bytes where"),
        (v2_entry(STRING, [1 << 40], DATA), "24 bytes where"),
        (v2_entry(UINT8, [1 << 61], DATA), "24 bytes where"),
        (v2_entry(FLOAT, [1 << 61], DATA), "larger than any memory"),
        (v2_entry(FLOAT, [0, 1 << 61], DATA, size=0), "larger than any memory"),
        (v2_entry(FLOAT, [2, 2], DATA), "24 bytes where"),
        (v2_entry(FLOAT, [7], DATA), "24 bytes where"),
        (v2_entry(FLOAT, [-2, -3], DATA), "not a list of sizes"),
        (v2_entry(FLOAT, [1] * 33, DATA), "33 axes"),
        (v2_entry(FLOAT, [2, 3], DATA, checksum=0), "checksum"),
        (v2_entry(20, [2, 3], DATA), "DT_RESOURCE"),
        (v2_entry(21, [2, 3], DATA), "DT_VARIANT"),
        (v2_entry(0, [2, 3], DATA), "DT_INVALID"),
        (v2_entry(99, [2, 3], DATA), "99"),
        (b"\xff" * 20, "never ends"),
        (b"", "DT_INVALID"),
    ],
)
def test_entry_that_does_not_fit_its_data(prefix: Path, entry: bytes, reason: str) -> None:
    refused(write_v2(prefix, [(b"w", entry)], DATA), reason, name="w")


@pytest.mark.parametrize("name", [b"\xff", b"n" * 5000])
def test_impossible_name(prefix: Path, name: bytes) -> None:
    refused(write_v2(prefix, [(name, v2_entry(FLOAT, [2, 3], DATA))], DATA), "name")


def test_name_that_stands_twice(prefix: Path) -> None:
    entry = v2_entry(FLOAT, [2, 3], DATA)
    refused(write_v2(prefix, [(b"w", entry), (b"w", entry)], DATA), "repeated")


def test_boolean_that_is_neither(prefix: Path) -> None:
    assert read(write_v2(prefix, [(b"w", v2_entry(BOOL, [2], b"\1\0"))], b"\1\0"))["w"].tolist() == [True, False]
    refused(write_v2(prefix, [(b"w", v2_entry(BOOL, [2], b"\1\2"))], b"\1\2"), "boolean", name="w")


# The layout of data files.


def floats(name: bytes, offset: int, data: bytes = DATA, *, shard: int = 0) -> Entry:
    return name, v2_entry(FLOAT, [len(data) // 4], data, offset=offset, shard=shard)


@pytest.mark.parametrize(
    ("entries", "data"),
    [
        ([floats(b"a", 0), floats(b"b", 24)], DATA * 2),
        ([floats(b"a", 24), floats(b"b", 0)], DATA * 2),
        ([floats(b"a", 0), floats(b"b", 32), floats(b"c", 64)], (DATA + bytes(8)) * 3),
        ([floats(b"a", 0), floats(b"b", 4096)], (DATA + bytes(4072)) * 2),
        ([floats(b"a", 0)], DATA + bytes(8)),
        ([floats(b"a", 0, b""), floats(b"b", 0), floats(b"c", 24, b"")], DATA),
        ([floats(b"a", 0, b"")], b""),
        ([], b""),
    ],
)
def test_layout_that_the_writer_makes(prefix: Path, entries: list[Entry], data: bytes) -> None:
    tensors = read(write_v2(prefix, entries, data))
    assert [array.size in (0, 6) for array in tensors.values()] == [True] * len(entries)


@pytest.mark.parametrize(
    ("entries", "data", "reason"),
    [
        ([floats(b"a", 0), floats(b"b", 0)], DATA, "overlap"),
        ([floats(b"a", 0), floats(b"b", 20)], DATA[:20] + DATA + DATA, "overlap"),
        ([floats(b"a", 0), floats(b"b", 32)], (DATA + b"\0\0\0\1\0\0\0\0") + DATA + bytes(8), "no tensor"),
        ([floats(b"a", 0), floats(b"b", 32)], DATA + bytes(8) + DATA + b"\0\0\0\0\0\0\0\1", "no tensor"),
        ([floats(b"a", 0), floats(b"b", 32), floats(b"c", 64)], (DATA + bytes(8)) * 2 + DATA + b"\0", "no tensor"),
        ([floats(b"a", 0), floats(b"b", 25)], DATA + b"\0" + DATA, "no tensor"),
        ([floats(b"a", 0), floats(b"b", 48)], DATA + bytes(24) + DATA, "no tensor"),
        ([floats(b"a", 0), floats(b"b", 8192)], DATA + bytes(8168) + DATA, "no tensor"),
        ([floats(b"a", 8)], bytes(8) + DATA, "no tensor"),
        ([floats(b"a", 0)], DATA + bytes(5000), "no tensor"),
        ([floats(b"a", 0)], DATA + b"\1", "no tensor"),
        ([], b"\1", "no tensor"),
    ],
)
def test_layout_that_no_writer_makes(prefix: Path, entries: list[Entry], data: bytes, reason: str) -> None:
    refused(write_v2(prefix, entries, data), reason)


def test_shard_without_tensors(prefix: Path) -> None:
    np.testing.assert_array_equal(read(write_v2(prefix, [floats(b"w", 0, shard=1)], b"", DATA))["w"], W.ravel())


# Strings.

STRINGS, STRINGS_CRC = v2_strings([2, 0, 3], b"abcde")


def strings(data: bytes, checksum: int, count: int = 3) -> Entry:
    return b"s", v2_entry(STRING, [count], data, checksum=checksum)


def test_strings_by_hand(prefix: Path) -> None:
    assert read(write_v2(prefix, [strings(STRINGS, STRINGS_CRC)], STRINGS))["s"].tolist() == [b"ab", b"", b"cde"]


def test_no_strings(prefix: Path) -> None:
    data, crc = v2_strings([], b"")
    assert read(write_v2(prefix, [strings(data, crc, 0)], data))["s"].tolist() == []


PADDED = b"\x82\x00" + STRINGS[1:]


@pytest.mark.parametrize(
    ("data", "checksum", "count", "reason"),
    [
        (STRINGS, STRINGS_CRC ^ 1, 3, "checksum"),
        (STRINGS[:-1] + b"x", STRINGS_CRC, 3, "checksum"),
        (STRINGS[:-1], STRINGS_CRC, 3, "add up"),
        (STRINGS + b"\0", STRINGS_CRC, 3, "add up"),
        (STRINGS[:3] + b"\0" + STRINGS[4:], STRINGS_CRC, 3, "lengths does not match"),
        (PADDED, STRINGS_CRC, 3, "padded"),
        (STRINGS, STRINGS_CRC, 4, "."),
        (STRINGS, STRINGS_CRC, 2, "."),
        (STRINGS, STRINGS_CRC, 1 << 40, "12 bytes where"),
        (*v2_strings([2, 0, 4], b"abcde"), 3, "add up"),
        (*v2_strings([1 << 31, 1 << 31, 3], b"abcde"), 3, "add up"),
        (varint(1 << 45) + STRINGS[1:], STRINGS_CRC, 3, "add up"),
        (b"\xff" * 20, 0, 3, "never ends"),
        (b"\x80" * 7, 0, 3, "cut off"),
    ],
)
def test_malformed_strings(prefix: Path, data: bytes, checksum: int, count: int, reason: str) -> None:
    refused(write_v2(prefix, [strings(data, checksum, count)], data), reason, name="s")


def test_checksum_of_lengths_is_over_32_bit_numbers() -> None:
    assert STRINGS[3:7] == struct.pack("<I", masked(struct.pack("<3I", 2, 0, 3)))


# Partitioned variables.

HALVES: list[Extents] = [[(0, 1), (0, -1)], [(1, 1), (0, -1)]]


def partitioned(slices: list[Extents], *, shape: tuple[int, ...] = (2, 3)) -> list[Entry]:
    """The variable `w`, and its slices one after the other in the data, each a row of W."""
    parts = []
    for at, part in enumerate({key_of("w", part): part for part in slices}.values()):
        values = W.ravel()[:3].tobytes()
        parts.append((key_of("w", part), v2_entry(FLOAT, [1, 3], values, offset=12 * at)))
    return [*sorted(parts), (b"w", v2_entry(FLOAT, shape, slices=slices, checksum=0))]


def test_slices_are_assembled(prefix: Path) -> None:
    array = read(write_v2(prefix, partitioned(HALVES), DATA[:12] * 2))["w"]
    np.testing.assert_array_equal(array, W[[0, 0]])
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (partitioned(HALVES[:1]), "slices of the tensor are missing"),
        (partitioned([*HALVES, HALVES[0]]), "listed twice"),
        (partitioned(HALVES)[1:], "record of a slice is missing"),
        (partitioned(HALVES, shape=(3, 3)), "slices of the tensor are missing"),
        (partitioned([HALVES[0], [(1, 1), (0, 2)]]), "type of a slice"),
        (partitioned([HALVES[0], [(2, 1), (0, -1)]]), "outside the shape"),
        (partitioned([HALVES[0], [(1, 1)]]), "has 1 axes"),
        (partitioned([HALVES[0], [(0, 1), (0, 3)]]), "overlap"),
        (partitioned(HALVES)[:-1], "belongs to no variable"),
        ([*partitioned(HALVES)[:-1], (b"w", v2_entry(FLOAT, W.shape, DATA))], "belongs to no variable"),
        ([*partitioned(HALVES)[:-1], (b"w", v2_entry(INT32, W.shape, slices=HALVES))], "type of a slice"),
        ([(b"\0junk", b""), *partitioned(HALVES)], "DT_INVALID"),
        ([(b"\0junk", v2_entry(FLOAT, [0])), *partitioned(HALVES)], "belongs to no variable"),
        (
            [
                (key_of("w", HALVES[0]), v2_entry(FLOAT, [1, 3], DATA[:12], slices=[whole([1, 3])])),
                *partitioned(HALVES)[1:],
            ],
            "type of a slice",
        ),
        (
            [(key_of("w", HALVES[0]), v2_entry(FLOAT, [1, 3], DATA[:12], shard=7)), *partitioned(HALVES)[1:]],
            "data file 7",
        ),
        (
            [(key_of("w", HALVES[0]), v2_entry(FLOAT, [1, 3], DATA[:12], checksum=5)), *partitioned(HALVES)[1:]],
            "checksum",
        ),
    ],
)
def test_slices_that_do_not_fit(prefix: Path, entries: list[Entry], reason: str) -> None:
    refused(write_v2(prefix, entries, DATA[:12] * 2), reason)

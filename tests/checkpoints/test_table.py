"""Tables: what a right one gives, and that each rule behind the checksums is kept."""

import gzip
import struct
from pathlib import Path

import pytest
from support.tensorflow_files import (
    CHECKPOINTS,
    FOOTER_SIZE,
    MAGIC,
    block,
    block_spans,
    footer,
    missed_flips,
    missed_truncations,
    raw_table,
    sealed,
    table,
    table_records,
    varint,
)

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.tensorflow import table as table_module
from resnet_compile.checkpoints.tensorflow.table import Table
from resnet_compile.errors import CheckpointError

RECORDS = [(b"", b"first"), *((f"key/{count:03d}".encode(), bytes([count]) * count) for count in range(50))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table"


def read(path: Path, data: bytes) -> list[tuple[bytes, bytes]]:
    path.write_bytes(data)
    return [(key, bytes(value)) for key, value in Table(CheckedFile(path)).records()]


def refused(path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(path, data)
    assert str(path) in str(caught.value)


def test_records_of_all_blocks_are_read(path: Path) -> None:
    assert read(path, table(RECORDS)) == RECORDS
    assert read(path, table(RECORDS[:1], RECORDS[1:20], RECORDS[20:])) == RECORDS
    assert read(path, table()) == []


def test_key_is_in_the_block_that_the_index_says(path: Path) -> None:
    path.write_bytes(table(RECORDS[:1], RECORDS[1:20], RECORDS[20:]))
    opened = Table(CheckedFile(path))
    for number, part in enumerate((RECORDS[:1], RECORDS[1:20], RECORDS[20:])):
        for key, value in part:
            assert opened.block_of(key) == number
            assert opened.block(number)[key] == value
    assert opened.block_of(b"key/999") is None


def test_values_of_raw_blocks_are_views_of_the_map(path: Path) -> None:
    path.write_bytes(table(RECORDS))
    opened = Table(CheckedFile(path))
    values = list(opened.block(0).values())
    assert all(isinstance(value, memoryview) and value.readonly for value in values)
    assert opened.block(0) is opened.block(0)


def test_snappy_blocks_are_decompressed(path: Path) -> None:
    compressed = (CHECKPOINTS / "dt2sn.index").read_bytes()
    assert read(path, compressed) == table_records((CHECKPOINTS / "dt2.index").read_bytes())


def test_several_snappy_blocks(path: Path) -> None:
    parts = RECORDS[:2], RECORDS[2:4]
    blocks = [sealed(varint(len(plain)) + bytes([len(plain) - 1 << 2]) + plain, 1) for plain in map(block, parts)]
    data = raw_table(blocks, [part[-1][0] for part in parts])
    assert read(path, data) == RECORDS[:4]
    opened = Table(CheckedFile(path))
    for number in (0, 1, 0):
        assert list(opened.block(number)) == [key for key, _ in parts[number]]
        assert opened.block(number) is opened.block(number)


def test_index_in_several_blocks(path: Path) -> None:
    path.write_bytes(gzip.decompress((CHECKPOINTS / "blocks2.index.gz").read_bytes()))
    opened = Table(CheckedFile(path))
    assert len(opened) == 3
    assert len(list(opened.records())) == 301


def test_truncated_table_is_refused(path: Path) -> None:
    path.write_bytes(table(RECORDS[:3]))
    assert missed_truncations(path, lambda: list(Table(CheckedFile(path)).records())) == []


@pytest.mark.parametrize("blocks", [(RECORDS[:3],), (RECORDS[:1], RECORDS[1:4])])
def test_every_flipped_bit_is_caught(path: Path, blocks: tuple[list, ...]) -> None:
    data = table(*blocks)
    path.write_bytes(data)
    assert missed_flips(path, range(8 * len(data)), lambda: list(Table(CheckedFile(path)).records())) == []


def test_wrong_magic(path: Path) -> None:
    refused(path, table(RECORDS)[:-1] + b"\0", "magic")
    refused(path, b"", "magic")
    refused(path, MAGIC, "magic")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        Table(CheckedFile(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="not a regular file"):
        Table(CheckedFile(tmp_path))


# Footers. The blocks before them stay right.

GOOD = table(RECORDS)
_, (META, META_END), (INDEX, INDEX_END) = block_spans(GOOD)
META_HANDLE = (META, META_END - META)
INDEX_HANDLE = (INDEX, INDEX_END - INDEX)


@pytest.mark.parametrize(
    ("metaindex", "index"),
    [
        (META_HANDLE, (INDEX, 1 << 45)),
        (META_HANDLE, (1 << 45, INDEX_HANDLE[1])),
        (META_HANDLE, ((1 << 64) - 1, (1 << 64) - 1)),
        ((META, 1 << 45), INDEX_HANDLE),
        ((1 << 45, META_HANDLE[1]), INDEX_HANDLE),
        (META_HANDLE, (INDEX, INDEX_HANDLE[1] + FOOTER_SIZE)),
        (META_HANDLE, (INDEX - 1, INDEX_HANDLE[1])),
        (INDEX_HANDLE, INDEX_HANDLE),
        (META_HANDLE, META_HANDLE),
    ],
)
def test_handle_in_the_footer_is_checked(path: Path, metaindex: tuple[int, int], index: tuple[int, int]) -> None:
    with pytest.raises(CheckpointError):
        read(path, GOOD[:-FOOTER_SIZE] + footer(metaindex, index))


def test_footer_padding_is_zero(path: Path) -> None:
    for at in range(len(GOOD) - 20, len(GOOD) - len(MAGIC)):
        refused(path, GOOD[:at] + b"\1" + GOOD[at + 1 :], "padding")


def test_endless_varint_in_the_footer(path: Path) -> None:
    refused(path, GOOD[:-FOOTER_SIZE] + b"\xff" * 40 + MAGIC, "never ends")


def test_padded_varint_in_the_footer(path: Path) -> None:
    """The number is the same, the bytes are not, and no checksum covers them."""
    assert varint(META_HANDLE[1]) == b"\x08"
    wrong = GOOD[-FOOTER_SIZE:].replace(varint(META) + b"\x08", varint(META) + b"\x88\x00", 1)
    refused(path, GOOD[:-FOOTER_SIZE] + wrong[:40] + MAGIC, "padded")


# The layout of blocks.


def test_bytes_between_blocks_are_refused(path: Path) -> None:
    for at in (0, *(end + 5 for _, end in block_spans(GOOD))):
        with pytest.raises(CheckpointError):
            read(path, GOOD[:at] + b"\0" + GOOD[at:])


def with_handles(blocks: list[bytes], handles: list[tuple[bytes, bytes]]) -> bytes:
    """A table whose index is `handles`, whatever its blocks are."""
    out = b"".join(blocks)
    meta = block([])
    index = block(handles, interval=1)
    places = (len(out), len(meta)), (len(out) + len(meta) + 5, len(index))
    return out + sealed(meta) + sealed(index) + footer(*places)


ONE = sealed(block(RECORDS))
SIZE = len(ONE) - 5


@pytest.mark.parametrize(
    "handles",
    [
        [(b"z", varint(0) + varint(1 << 45))],
        [(b"z", varint(1 << 45) + varint(SIZE))],
        [(b"z", varint(0) + varint(SIZE + 1))],
        [(b"z", varint(1) + varint(SIZE - 1))],
        [(b"z", varint(0) + varint(SIZE) + b"\0")],
        [(b"z", varint(0))],
        [(b"z", b"\xff" * 20)],
        [(b"y", varint(0) + varint(SIZE)), (b"z", varint(0) + varint(SIZE))],
        [],
    ],
)
def test_handle_in_the_index_is_checked(path: Path, handles: list[tuple[bytes, bytes]]) -> None:
    assert read(path, with_handles([ONE], [(b"z", varint(0) + varint(SIZE))])) == RECORDS
    with pytest.raises(CheckpointError):
        read(path, with_handles([ONE], handles))


def test_metaindex_has_no_entries(path: Path) -> None:
    meta = block([(b"filter", varint(0) + varint(5))])
    refused(path, raw_table([ONE], [b"z"], metaindex=meta), "metaindex block is not empty")


def test_metaindex_is_a_block(path: Path) -> None:
    refused(path, raw_table([ONE], [b"z"], metaindex=b""), "restart points")


# Blocks.


def one_block(contents: bytes, *, kind: int = 0) -> bytes:
    return raw_table([sealed(contents, kind)], [b"z"])


def restarts(*points: int) -> bytes:
    return struct.pack(f"<{len(points) + 1}I", *points, len(points))


def entry(shared: int, suffix: bytes, value: bytes = b"") -> bytes:
    return varint(shared) + varint(len(suffix)) + varint(len(value)) + suffix + value


def test_block_by_hand(path: Path) -> None:
    contents = entry(0, b"ab", b"x") + entry(1, b"c", b"y") + entry(0, b"ad")
    assert read(path, one_block(contents + restarts(0, 11))) == [(b"ab", b"x"), (b"ac", b"y"), (b"ad", b"")]


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "a block of 0 bytes"),
        (restarts(), "has 0 restart points"),
        (restarts(0), "is empty"),
        (entry(0, b"a") + struct.pack("<I", 1 << 31), "has 2147483648 restart points"),
        (entry(0, b"a") + restarts(0, 1), "has 2 restart points"),
        (entry(0, b"a") + restarts(1), "first restart point"),
        (entry(0, b"a") + entry(1, b"b") + restarts(0, 4), "no restart point"),
        (entry(0, b"a") + entry(0, b"b") + restarts(0, 3), "not where its entries start"),
        (entry(1, b"a") + restarts(0), "does not fit"),
        (entry(0, b"a") + entry(2, b"b") + restarts(0), "does not fit"),
        (varint(0) + varint(1 << 45) + varint(0) + restarts(0), "does not fit"),
        (varint(0) + varint(0) + varint(1 << 45) + restarts(0), "does not fit"),
        (varint(1 << 45) + varint(0) + varint(0) + restarts(0), "does not fit"),
        (b"\xff" * 30 + restarts(0), "never ends"),
        (b"\0\0\x80" + restarts(0), "cut off"),
        (entry(0, b"b") + entry(0, b"a") + restarts(0), "out of order or repeated"),
        (entry(0, b"b") + entry(0, b"b") + restarts(0), "out of order or repeated"),
        (entry(0, b"b") + entry(1, b"") + restarts(0), "out of order or repeated"),
        (entry(0, b"zz") + restarts(0), "elsewhere"),
    ],
)
def test_malformed_block_is_refused(path: Path, contents: bytes, reason: str) -> None:
    refused(path, one_block(contents), reason)


@pytest.mark.parametrize("kind", [2, 255])
def test_unknown_kind_of_block(path: Path, kind: int) -> None:
    refused(path, one_block(block(RECORDS), kind=kind), "unknown type")


def test_double_key_in_two_blocks(path: Path) -> None:
    first, second = block([(b"a", b"1"), (b"b", b"2")]), block([(b"b", b"3")])
    refused(path, raw_table([sealed(first), sealed(second)], [b"b", b"c"]), "elsewhere")
    refused(path, raw_table([sealed(first), sealed(second)], [b"b", b"b"]), "out of order or repeated")


def test_keys_that_expand_beyond_measure(path: Path) -> None:
    """A key of a kilobyte, and thousands that add one byte each to what they share with it."""
    long = b"a" * 1000
    bomb = entry(0, long) + b"".join(entry(1000 + count, b"a") for count in range(5000))
    refused(path, one_block(bomb + restarts(0)), "expand too much")


def test_number_of_entries_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "MAX_ENTRIES", 40)
    assert read(path, table(RECORDS[:20], RECORDS[20:40])) == RECORDS[:40]
    refused(path, table(RECORDS[:20], RECORDS[20:41]), "more than 40 records")
    refused(path, table(RECORDS[:41]), "expand too much")


@pytest.mark.parametrize(
    ("size", "reason"), [(1281, "is empty|restart"), (1000, "more than"), (1 << 45, "claim to hold")]
)
def test_snappy_bomb_is_refused(path: Path, size: int, reason: str) -> None:
    refused(path, one_block(varint(size) + b"\0a" + b"\xfe\1\0" * 20, kind=1), reason)

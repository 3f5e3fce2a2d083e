"""The sorted string table of LevelDB as TensorFlow writes it: a whole V1 checkpoint, or the index of a V2 bundle.

The file is its data blocks, an empty metaindex block, the index block and a footer, with nothing between them
(https://github.com/google/leveldb/blob/main/doc/table_format.md)::

    block:   contents; type byte (0 raw, 1 Snappy); u32 masked CRC-32C of contents and type
    contents: entries (varint shared, varint unshared, varint size, end of key, value); u32 restart offsets; u32 count
    footer:  metaindex handle, index handle (varint offset, varint size each), zeros up to 40 bytes; u64 magic

The index block has an entry per data block: a key not below the block's last, and the block's handle. Checksums cover
the blocks and nothing else, so that everything else is held to the one form that the writer makes: the blocks tile the
file, the handles have their shortest encoding, the padding is zero.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from resnet_compile.checkpoints.mapped import map_file, masked_crc32c
from resnet_compile.checkpoints.tensorflow.snappy import decompress
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Buffer, read_varint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_SIZE = 48

# Entries become Python objects of some hundred bytes. The largest network here has some thousand.
MAX_ENTRIES = 1 << 20
# Prefix compression lets a key cost three bytes and expand to any length: 16 entries share a prefix in what is written.
_MAX_KEY_EXPANSION = 64

_TRAILER_SIZE = 5  # type byte and checksum
_RAW, _SNAPPY = 0, 1


class Table:
    """One table file, memory-mapped. Opening it reads the footer, the metaindex and the index; blocks are read lazily.

    Args:
        path: The file.

    Raises:
        CheckpointError: The file is not a table, or what stands outside its data blocks is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = map_file(path)
        self.size = len(self._map)
        metaindex, index = self._read_footer()
        self._bounds: list[bytes] = []  # per block: a key not below its last and below the next one's first
        self._handles: list[tuple[int, int]] = []
        for bound, value in _entries(self._read_block(*index)[0], f"{path}, index block"):
            self._bounds.append(bound)
            where = f"{path}, index entry {len(self._handles)}"
            offset, at = read_varint(value, 0, len(value), partial(CheckpointError, where=where))
            size, at = read_varint(value, at, len(value), partial(CheckpointError, where=where))
            if at != len(value):
                raise CheckpointError("an index entry is not one block handle", where=where)
            self._handles.append((offset, size))
        self._check_tiling(metaindex, index)
        if _entries(self._read_block(*metaindex)[0], f"{path}, metaindex block"):
            raise CheckpointError("the metaindex block is not empty", where=str(path))
        self._raw: dict[int, dict[bytes, Buffer]] = {}
        self._unpacked: tuple[int, dict[bytes, Buffer]] | None = None

    def __len__(self) -> int:
        """The number of data blocks."""
        return len(self._handles)

    def block_of(self, key: bytes) -> int | None:
        """The number of the one data block that can hold `key`; None for a key past the last block."""
        block = bisect_left(self._bounds, key)
        return block if block < len(self._bounds) else None

    def block(self, number: int) -> dict[bytes, Buffer]:
        """The records of a data block in order, its checksum verified; values are views of the map where it is raw."""
        if number in self._raw:
            return self._raw[number]
        if self._unpacked and self._unpacked[0] == number:
            return self._unpacked[1]
        offset, size = self._handles[number]
        contents, is_raw = self._read_block(offset, size)
        where = f"{self.path}, block at byte {offset}"
        records = dict(_entries(contents, where))
        if not records:
            raise CheckpointError("a data block is empty", where=where)
        first, last = next(iter(records)), next(reversed(records))
        if last > self._bounds[number] or (number > 0 and first <= self._bounds[number - 1]):
            raise CheckpointError("a data block holds keys that the index places elsewhere", where=where)
        if is_raw:
            self._raw[number] = records  # a few objects per record: the values stay in the map
        else:
            self._unpacked = (number, records)  # only the latest: its values are in memory
        return records

    def records(self) -> Iterator[tuple[bytes, Buffer]]:
        """Every key and value in the order of keys, which are all different."""
        count = 0
        for number in range(len(self)):
            records = self.block(number)
            count += len(records)
            if count > MAX_ENTRIES:
                raise CheckpointError(f"more than {MAX_ENTRIES} records", where=str(self.path))
            yield from records.items()

    def _read_footer(self) -> tuple[tuple[int, int], tuple[int, int]]:
        start = self.size - FOOTER_SIZE
        if start < 0 or self._map[-len(MAGIC) :] != MAGIC:
            raise CheckpointError(
                "not a table file, or a truncated one: its last 8 bytes are not the magic number", where=str(self.path)
            )
        footer = bytes(self._map[start : -len(MAGIC)])
        where = f"{self.path}, footer at byte {start}"
        numbers = []
        at = 0
        for _ in range(4):
            number, at = read_varint(footer, at, len(footer), partial(CheckpointError, where=where))
            numbers.append(number)
        if any(footer[at:]):
            raise CheckpointError("the footer's padding is not zero", where=where)
        return (numbers[0], numbers[1]), (numbers[2], numbers[3])

    def _check_tiling(self, metaindex: tuple[int, int], index: tuple[int, int]) -> None:
        at = 0
        for offset, size in (*self._handles, metaindex, index):
            if offset != at:
                raise CheckpointError(
                    f"a block is said to start at byte {offset}, where the one before ends at {at}",
                    where=str(self.path),
                )
            at = offset + size + _TRAILER_SIZE
        if at != self.size - FOOTER_SIZE:
            raise CheckpointError(
                f"the blocks end at byte {at}, the footer starts at {self.size - FOOTER_SIZE}", where=str(self.path)
            )

    def _read_block(self, offset: int, size: int) -> tuple[Buffer, bool]:
        """The verified contents of a block, and whether they are a view of the map."""
        where = f"{self.path}, block at byte {offset}"
        end = offset + size
        if end + _TRAILER_SIZE > self.size - FOOTER_SIZE:
            raise CheckpointError(f"a block of {size} bytes ends past the end of the file", where=where)
        if masked_crc32c(self._map[offset : end + 1]) != int.from_bytes(self._map[end + 1 : end + 5], "little"):
            raise CheckpointError("a block's checksum does not match its contents", where=where)
        kind = self._map[end]
        if kind == _RAW:
            return self._map[offset:end], True
        if kind == _SNAPPY:
            return decompress(self._map[offset:end], where), False
        raise CheckpointError(f"a block has the unknown type {kind}", where=where)


def _entries(contents: Buffer, where: str) -> list[tuple[bytes, Buffer]]:
    """The keys and values of a block, whose keys rise strictly.

    Restart points are where a reader may start without the keys before; each must be an entry that shares nothing.
    """
    size = len(contents)
    restarts = int.from_bytes(contents[-4:], "little")
    end = size - 4 - 4 * restarts
    # An entry takes three bytes at least. A block without entries has the restart point 0 all the same.
    if size < 8 or end < 0 or not 1 <= restarts <= max(1, end // 3):
        raise CheckpointError(f"a block of {size} bytes has {restarts} restart points", where=where)
    points = struct.unpack(f"<{restarts}I", contents[end : size - 4])
    if points[0] != 0:
        raise CheckpointError("a block's first restart point is not its first entry", where=where)
    entries: list[tuple[bytes, Buffer]] = []
    key = b""
    at = met = expanded = 0
    fail = partial(CheckpointError, where=where)
    while at < end:
        start = at
        shared, at = read_varint(contents, at, end, fail)
        unshared, at = read_varint(contents, at, end, fail)
        length, at = read_varint(contents, at, end, fail)
        if shared > len(key) or unshared + length > end - at:
            raise CheckpointError(f"the entry at byte {start} of a block does not fit it", where=where)
        if met < restarts and points[met] == start:
            if shared:
                raise CheckpointError(f"the restart point at byte {start} of a block is none", where=where)
            met += 1
        expanded += shared + unshared
        if expanded > _MAX_KEY_EXPANSION * size or len(entries) == MAX_ENTRIES:
            raise CheckpointError("a block's keys expand beyond measure", where=where)
        value_at = at + unshared
        next_key = key[:shared] + bytes(contents[at:value_at])
        if entries and next_key <= key:
            raise CheckpointError(
                f"the key {next_key[:200]!r} is not above the one before: out of order or double", where=where
            )
        key = next_key
        entries.append((key, contents[value_at : value_at + length]))
        at = value_at + length
    if met != restarts and end > 0:
        raise CheckpointError("a block's restart points are not where its entries start", where=where)
    return entries

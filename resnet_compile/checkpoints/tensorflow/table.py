"""LevelDB's sorted string table as TensorFlow writes it: a V1 checkpoint, or the index of a V2 bundle.

The file consists of data blocks, an empty metaindex block, the index block and a footer, without gaps
(https://github.com/google/leveldb/blob/main/doc/table_format.md)::

    block:   contents; type byte (0 raw, 1 Snappy); u32 masked CRC-32C of contents and type
    contents: entries (varint shared, varint unshared, varint size, end of key, value); u32 restart offsets; u32 count
    footer:  metaindex handle, index handle (varint offset, varint size each), zeros up to 40 bytes; u64 magic

The index block has an entry per data block: a key not below the block's last, and the block's handle. Checksums cover
only the blocks, so everything else must have the one form that the writer makes: the blocks tile the file, the handles
have their shortest encoding, the padding is zero.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator

import google_crc32c
import numpy as np

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.tensorflow.snappy import decompress
from resnet_compile.wire import Buffer, Fail, read_varint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_SIZE = 48

# An entry is a Python object of some hundred bytes. The largest network here has a few thousand.
MAX_ENTRIES = 1 << 20
# With prefix compression a key of three bytes can expand to any length. Writers restart it every 16 entries.
_MAX_KEY_EXPANSION = 64

_TRAILER_SIZE = 5  # type byte and checksum
_RAW, _SNAPPY = 0, 1


class Table:
    """The table in a file. Opening it reads the footer, the metaindex and the index; blocks are read lazily.

    Raises:
        CheckpointError: The file is not a table, or is damaged outside its data blocks.
    """

    def __init__(self, file: CheckedFile) -> None:
        self.file = file
        metaindex, index = self._read_footer()
        self._bounds: list[bytes] = []  # per block: a key not below its last and below the next one's first
        self._handles: list[tuple[int, int]] = []
        for bound, value in _entries(self._read_block(*index)[0], file.at("index block")):
            self._bounds.append(bound)
            fail = file.at(f"index entry {len(self._handles)}")
            offset, at = read_varint(value, 0, len(value), fail)
            size, at = read_varint(value, at, len(value), fail)
            if at != len(value):
                raise fail("an index entry is not one block handle")
            self._handles.append((offset, size))
        self._check_tiling(metaindex, index)
        if _entries(self._read_block(*metaindex)[0], file.at("metaindex block")):
            raise file.error("the metaindex block is not empty")
        self._raw: dict[int, dict[bytes, Buffer]] = {}
        self._unpacked: tuple[int, dict[bytes, Buffer]] | None = None

    def __len__(self) -> int:
        return len(self._handles)

    def block_of(self, key: bytes) -> int | None:
        """The number of the data block that can hold `key`; None for a key past the last block."""
        block = bisect_left(self._bounds, key)
        return block if block < len(self._bounds) else None

    def block(self, number: int) -> dict[bytes, Buffer]:
        """The records of a data block in order, its checksum verified. Values in raw blocks are views of the map."""
        if number in self._raw:
            return self._raw[number]
        if self._unpacked and self._unpacked[0] == number:
            return self._unpacked[1]
        offset, size = self._handles[number]
        contents, is_raw = self._read_block(offset, size)
        fail = self._at_block(offset)
        records = dict(_entries(contents, fail))
        if not records:
            raise fail("a data block is empty")
        first, last = next(iter(records)), next(reversed(records))
        if last > self._bounds[number] or (number > 0 and first <= self._bounds[number - 1]):
            raise fail("a data block holds keys that the index places elsewhere")
        if is_raw:
            self._raw[number] = records  # small: the values are in the map
        else:
            self._unpacked = (number, records)  # the latest only: its values are in memory
        return records

    def records(self) -> Iterator[tuple[bytes, Buffer]]:
        """Every key and value, sorted by key; no key repeats."""
        count = 0
        for number in range(len(self)):
            records = self.block(number)
            count += len(records)
            if count > MAX_ENTRIES:
                raise self.file.error(f"more than {MAX_ENTRIES} records")
            yield from records.items()

    def _read_footer(self) -> tuple[tuple[int, int], tuple[int, int]]:
        start = self.file.size - FOOTER_SIZE
        if start < 0 or self.file.view[-len(MAGIC) :] != MAGIC:
            message = "not a table file, or a truncated one: its last 8 bytes are not the magic number"
            raise self.file.error(message)
        footer = self.file.copy(start, FOOTER_SIZE - len(MAGIC), "the footer")
        fail = self.file.at(f"footer at byte {start}")
        numbers = []
        at = 0
        for _ in range(4):
            number, at = read_varint(footer, at, len(footer), fail)
            numbers.append(number)
        if any(footer[at:]):
            raise fail("the footer's padding is not zero")
        return (numbers[0], numbers[1]), (numbers[2], numbers[3])

    def _check_tiling(self, metaindex: tuple[int, int], index: tuple[int, int]) -> None:
        at = 0
        for offset, size in (*self._handles, metaindex, index):
            if offset != at:
                raise self.file.error(f"the index has a block at byte {offset}, but the one before ends at byte {at}")
            at = offset + size + _TRAILER_SIZE
        if at != self.file.size - FOOTER_SIZE:
            footer = self.file.size - FOOTER_SIZE
            raise self.file.error(f"the blocks end at byte {at}, but the footer starts at byte {footer}")

    def _read_block(self, offset: int, size: int) -> tuple[Buffer, bool]:
        """The verified contents of a block, and whether they are a view of the map."""
        fail = self._at_block(offset)
        if offset + size + _TRAILER_SIZE > self.file.size - FOOTER_SIZE:
            raise fail(f"a block of {size} bytes ends past the end of the file")
        block = self.file.part(offset, size + _TRAILER_SIZE, "a block")
        if masked(crc32c(block[: size + 1])) != int.from_bytes(block[size + 1 :], "little"):
            raise fail("a block's checksum does not match its contents")
        kind = block[size]
        if kind == _RAW:
            return block[:size], True
        if kind == _SNAPPY:
            return decompress(block[:size], fail), False
        raise fail(f"a block has the unknown type {kind}")

    def _at_block(self, offset: int) -> Fail:
        return self.file.at(f"block at byte {offset}")


def _entries(contents: Buffer, fail: Fail) -> list[tuple[bytes, Buffer]]:
    """The keys and values of a block; the keys must be strictly increasing.

    A reader can start at a restart point without the keys before it: its entry shares no prefix.
    """
    size = len(contents)
    restarts = int.from_bytes(contents[-4:], "little")
    end = size - 4 - 4 * restarts
    # An entry takes at least three bytes. A block without entries has one restart point, 0.
    if size < 8 or end < 0 or not 1 <= restarts <= max(1, end // 3):
        raise fail(f"a block of {size} bytes has {restarts} restart points")
    points = struct.unpack(f"<{restarts}I", contents[end : size - 4])
    if points[0] != 0:
        raise fail("a block's first restart point is not its first entry")
    entries: list[tuple[bytes, Buffer]] = []
    key = b""
    at = met = expanded = 0
    while at < end:
        start = at
        shared, at = read_varint(contents, at, end, fail)
        unshared, at = read_varint(contents, at, end, fail)
        length, at = read_varint(contents, at, end, fail)
        if shared > len(key) or unshared + length > end - at:
            raise fail(f"the entry at byte {start} of a block does not fit it")
        if met < restarts and points[met] == start:
            if shared:
                raise fail(f"there is no restart point at byte {start} of a block")
            met += 1
        expanded += shared + unshared
        if expanded > _MAX_KEY_EXPANSION * size or len(entries) == MAX_ENTRIES:
            raise fail("a block's keys expand too much")
        value_at = at + unshared
        next_key = key[:shared] + bytes(contents[at:value_at])
        if entries and next_key <= key:
            raise fail(f"the key {next_key[:120]!r} is out of order or repeated")
        key = next_key
        entries.append((key, contents[value_at : value_at + length]))
        at = value_at + length
    if met != restarts and end > 0:
        raise fail("a block's restart points are not where its entries start")
    return entries


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from the checksum `crc` of the data before."""
    # google-crc32c takes no memoryview, but an array over one, without a copy.
    return int(google_crc32c.extend(crc, np.frombuffer(data, np.uint8))) if len(data) else crc


def masked(crc: int) -> int:
    """The stored form of a checksum: rotated right by 15 bits, plus 0xa282ead8 (LevelDB's ``util/crc32c.h``).

    Masking avoids checksums of data that contain checksums.
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

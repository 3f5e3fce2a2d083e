"""TensorFlow checkpoints written by hand, right or wrong in one place, always with the checksums that belong."""

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from resnet_compile.checkpoints.tensorflow.snappy import decompress
from resnet_compile.checkpoints.tensorflow.types import Extent, slice_key
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Message

CHECKPOINTS = Path(__file__).resolve().parents[1] / "data" / "checkpoints"

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_SIZE = 48
TRAILER_SIZE = 5

Entry = tuple[bytes, bytes]
Extents = Sequence[tuple[int, int]]  # start and length per axis; (0, -1) is the whole axis

# Numbers of DataType.
FLOAT, INT32, UINT8, STRING, INT64, BOOL, HALF = 1, 3, 4, 7, 9, 10, 19


def fixture_truth(name: str) -> dict[str, dict]:
    """What TensorFlow read from a fixture, by tensor: dtype, shape and either sha256 or the strings in hexadecimal."""
    return json.loads((CHECKPOINTS / f"{name}.json").read_text())


def masked(data: bytes) -> int:
    """The checksum of `data` as tables and bundles store it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def missed_flips(file: Path, bits: Iterable[int], read: Callable[[], object]) -> list[int]:
    """Those of a file's bits that `read` takes without `CheckpointError` when they are flipped, one at a time.

    The file is changed in place and is as before afterwards.
    """
    data = file.read_bytes()
    missed = []
    with file.open("r+b", buffering=0) as handle:
        for bit in bits:
            place = bit // 8
            os.pwrite(handle.fileno(), bytes([data[place] ^ 1 << bit % 8]), place)
            try:
                read()
                missed.append(bit)
            except CheckpointError:
                pass
            os.pwrite(handle.fileno(), data[place : place + 1], place)
    return missed


def missed_truncations(file: Path, read: Callable[[], object]) -> list[int]:
    """The lengths below the whole at which `read` takes a file without `CheckpointError`; it is empty afterwards."""
    missed = []
    for size in reversed(range(file.stat().st_size)):
        os.truncate(file, size)
        try:
            read()
            missed.append(size)
        except CheckpointError:
            pass
    return missed


# Protobuf.


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def field(number: int, payload: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def fixed32(field: int, value: int) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<I", value)


def shape_proto(shape: Iterable[int]) -> bytes:
    return b"".join(field(2, number(1, axis) if axis else b"") for axis in shape)


def slice_proto(extents: Extents) -> bytes:
    encoded = b""
    for start, length in extents:
        encoded += field(1, (number(1, start) if start else b"") + (number(2, length) if length != -1 else b""))
    return encoded


def whole(shape: Sequence[int]) -> Extents:
    return [(0, -1)] * len(shape)


def key_of(name: str, extents: Extents) -> bytes:
    return slice_key(name, tuple(Extent(*extent) for extent in extents))


# Tables.


def block(entries: Iterable[Entry], *, interval: int = 16) -> bytes:
    """The contents of a block; keys are compressed in the order given, whether it is right or not."""
    out = bytearray()
    restarts = []
    previous = b""
    for count, (key, value) in enumerate(entries):
        shared = 0
        if count % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(previous), len(key)) and previous[shared] == key[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def sealed(contents: bytes, kind: int = 0) -> bytes:
    """A block as it stands in the file."""
    data = contents + bytes([kind])
    return data + struct.pack("<I", masked(data))


def footer(metaindex: tuple[int, int], index: tuple[int, int]) -> bytes:
    handles = b"".join(varint(part) for part in (*metaindex, *index))
    return handles.ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC


def raw_table(blocks: Sequence[bytes], bounds: Sequence[bytes], *, metaindex: bytes | None = None) -> bytes:
    """A table of blocks that are already sealed; `bounds` are the keys of the index."""
    out = b"".join(blocks)
    at = 0
    entries = []
    for bound, data in zip(bounds, blocks, strict=True):
        entries.append((bound, varint(at) + varint(len(data) - TRAILER_SIZE)))
        at += len(data)
    handles = []
    for contents in (block([]) if metaindex is None else metaindex, block(entries, interval=1)):
        handles.append((len(out), len(contents)))
        out += sealed(contents)
    return out + footer(*handles)


def table(*blocks: Sequence[Entry]) -> bytes:
    """A table of these blocks of records."""
    return raw_table([sealed(block(entries)) for entries in blocks], [entries[-1][0] for entries in blocks])


def entries_of(contents: bytes) -> Iterator[Entry]:
    """The records of a block that is known to be right."""
    at, key = 0, b""
    end = len(contents) - 4 - 4 * int.from_bytes(contents[-4:], "little")
    while at < end:
        sizes = []
        for _ in range(3):
            size, at = read_varint(contents, at)
            sizes.append(size)
        shared, unshared, length = sizes
        key = key[:shared] + contents[at : at + unshared]
        yield key, contents[at + unshared : at + unshared + length]
        at += unshared + length


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def block_spans(data: bytes) -> list[tuple[int, int]]:
    """Where the contents of a right table's blocks start and end: the data blocks, the metaindex, the index."""
    numbers = []
    at = len(data) - FOOTER_SIZE
    for _ in range(4):
        value, at = read_varint(data, at)
        numbers.append(value)
    meta, meta_size, index, index_size = numbers
    spans = []
    for _, handle in entries_of(block_contents(data, index, index + index_size)):
        offset, at = read_varint(handle, 0)
        spans.append((offset, offset + read_varint(handle, at)[0]))
    return [*spans, (meta, meta + meta_size), (index, index + index_size)]


def table_records(data: bytes) -> list[Entry]:
    """Every record of a right table."""
    return [entry for span in block_spans(data)[:-2] for entry in entries_of(block_contents(data, *span))]


def block_contents(data: bytes, start: int, end: int) -> bytes:
    """What is in a right block, decompressed if it has to be."""
    return decompress(data[start:end], AssertionError) if data[end] else data[start:end]


def resealed(data: bytes, spans: Iterable[tuple[int, int]]) -> bytes:
    """A table of which blocks were changed, with their checksums made right again."""
    out = bytearray(data)
    for start, end in spans:
        out[end + 1 : end + TRAILER_SIZE] = struct.pack("<I", masked(bytes(out[start : end + 1])))
    return bytes(out)


# V1 checkpoints.


def v1_meta(name: str, dtype: int, shape: Sequence[int], slices: Iterable[Extents]) -> bytes:
    """What the directory says about one tensor."""
    parts = b"".join(field(4, slice_proto(part)) for part in slices)
    return field(1, name.encode()) + field(2, shape_proto(shape)) + number(3, dtype) + parts


def v1_directory(metas: Iterable[bytes], *, min_consumer: int = 0) -> Entry:
    versions = number(1, 1) + (number(2, min_consumer) if min_consumer else b"")
    return b"", field(1, b"".join(field(1, meta) for meta in metas) + field(2, versions))


def v1_record(name: str, extents: Extents, values: bytes) -> Entry:
    """The record of a slice; `values` is a ``TensorProto``."""
    saved = field(1, name.encode()) + field(2, slice_proto(extents)) + field(3, values)
    return key_of(name, extents), field(2, saved)


def v1_floats(array: np.ndarray) -> bytes:
    """A ``TensorProto`` of float values."""
    return field(5, array.astype("<f4").tobytes())


def v1_file(*tensors: tuple[str, np.ndarray], per_block: int = 1 << 20) -> bytes:
    """A right checkpoint of float tensors, with so many records in a block."""
    metas = [v1_meta(name, FLOAT, array.shape, [whole(array.shape)]) for name, array in tensors]
    records = sorted(v1_record(name, whole(array.shape), v1_floats(array)) for name, array in tensors)
    records.insert(0, v1_directory(metas))
    return table(*(records[at : at + per_block] for at in range(0, len(records), per_block)))


# V2 bundles.


def v2_header(shards: int = 1, *, endianness: int = 0, min_consumer: int = 0) -> Entry:
    version = number(1, 1) + (number(2, min_consumer) if min_consumer else b"")
    return b"", number(1, shards) + (number(2, endianness) if endianness else b"") + field(3, version)


def v2_entry(
    dtype: int,
    shape: Sequence[int],
    data: bytes = b"",
    *,
    offset: int = 0,
    size: int | None = None,
    shard: int = 0,
    checksum: int | None = None,
    slices: Iterable[Extents] = (),
) -> bytes:
    """The value of an entry; size and checksum are those of `data` unless they are given."""
    crc = masked(data) if checksum is None else checksum
    length = len(data) if size is None else size
    parts = b"".join(field(7, slice_proto(part)) for part in slices)
    numbers = number(3, shard) + number(4, offset) + number(5, length)
    return number(1, dtype) + field(2, shape_proto(shape)) + numbers + fixed32(6, crc) + parts


@dataclass(frozen=True)
class V2Entry:
    """What a right entry says."""

    dtype: int
    count: int
    shard: int
    offset: int
    size: int
    checksum: int


def read_entry(value: bytes) -> V2Entry:
    message = Message(value, AssertionError)
    dtype, shard, offset, size = (message.int64(number) for number in (1, 3, 4, 5))
    count = math.prod(dim.int64(1) for dim in message.message(2).messages(2))
    return V2Entry(dtype, count, shard, offset, size, message.fixed32(6))


def v2_strings(lengths: Sequence[int], payload: bytes) -> tuple[bytes, int]:
    """The data of a string tensor and its checksum, which runs over the lengths as 32-bit numbers."""
    numbers = struct.pack(f"<{len(lengths)}I", *lengths)
    check = struct.pack("<I", masked(numbers))
    return b"".join(map(varint, lengths)) + check + payload, masked(numbers + check + payload)


def write_v2(prefix: Path, entries: Iterable[Entry], *data: bytes) -> Path:
    """Write a bundle: a header for its data files, the entries as they are, and the files. Returns `prefix`."""
    prefix.with_name(prefix.name + ".index").write_bytes(table([v2_header(len(data)), *entries]))
    for shard, contents in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{len(data):05d}").write_bytes(contents)
    return prefix

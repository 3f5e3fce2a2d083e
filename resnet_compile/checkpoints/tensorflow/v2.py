"""TensorFlow V2 checkpoints, the "tensor bundles" of every TensorFlow since 0.12, SavedModel variables included.

``PREFIX.index`` is a table (``tensor_bundle.proto``). The record with the empty key is the header { num_shards = 1,
endianness = 2, version = 3 }. Every other record is an entry { dtype = 1, shape = 2, shard_id = 3, offset = 4, size =
5, crc32c = 6, slices = 7 }: the place of the raw values in ``PREFIX.data-00000-of-00001`` and so on. A partitioned
variable has an entry with its full shape and its slices, and one per slice under a key that encodes name and extents.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, type_name
from resnet_compile.checkpoints.checked_file import CheckedFile, is_file
from resnet_compile.checkpoints.tensorflow.objects import OBJECT_GRAPH, object_names
from resnet_compile.checkpoints.tensorflow.paths import table_kind, v2_data, v2_index, v2_prefix
from resnet_compile.checkpoints.tensorflow.table import Table, crc32c, masked
from resnet_compile.checkpoints.tensorflow.types import (
    Box,
    TensorSlice,
    assemble,
    box,
    box_shape,
    check_cover,
    check_version,
    data_type,
    read_shape,
    read_slice,
    read_text,
    slice_key,
)
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Buffer, Fail, Message, read_varint

# The largest accepted alignment of tensors (the writer's `data_alignment`, a power of two, mostly 1).
_MAX_ALIGNMENT = 4096


class _Entry(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[TensorSlice, ...]


def is_tensorflow_v2(path: Path) -> bool:
    """Whether `path` stands for a V2 bundle, by the content of its index; never raises."""
    try:
        index = v2_index(v2_prefix(path))
    except CheckpointError:
        return False
    return is_file(index) and table_kind(index) != "v1"


class TensorFlowV2Checkpoint(Checkpoint):
    """A V2 bundle, opened by a path as for `v2_prefix`.

    The tensors of an object-based one have the names of their variables (`objects`). Arrays are views of the map,
    possibly unaligned; partitioned variables and strings are copies.
    """

    format: ClassVar[str] = "TensorFlow V2 checkpoint"

    def __init__(self, path: Path) -> None:
        prefix = v2_prefix(path)
        index = CheckedFile(v2_index(prefix))
        self._entries, slices, shards = _read_index(index)
        self._data = [CheckedFile(v2_data(prefix, shard, shards)) for shard in range(shards)]
        super().__init__(index, *self._data)
        self._parts = {key: self._find_parts(key, entry, slices) for key, entry in self._entries.items()}
        if slices:
            raise index.error("a slice belongs to no variable", _shown(next(iter(slices))))
        self._keys = {name: key for key, name in self._names().items()}
        places: list[list[tuple[int, int]]] = [[] for _ in self._data]
        for name, key in self._keys.items():
            parts = self._parts[key]
            self._add(name, self._entries[key].shape, self._entries[key].dtype)
            for _, entry in parts:
                places[entry.shard].append((entry.offset, entry.size))
        for file, stored in zip(self._data, places, strict=True):
            _check_layout(stored, file)

    def _names(self) -> dict[str, str]:
        """The tensors' names by key; the keys of an object-based checkpoint are paths through objects."""
        graph = self._entries.get(OBJECT_GRAPH)
        if graph is None or not graph.dtype.hasobject or graph.shape or graph.slices:
            return {key: key for key in self._entries}
        record = self._values(OBJECT_GRAPH, graph)
        contents = {key: (e.dtype, e.shape, e.checksum, e.slices) for key, e in self._entries.items()}
        scalars = frozenset(key for key, entry in self._entries.items() if not entry.shape)
        return object_names(record.item(), contents, scalars, self._file.at(OBJECT_GRAPH))

    def _find_parts(self, name: str, entry: _Entry, slices: dict[bytes, _Entry]) -> list[tuple[Box, _Entry]]:
        """The entries with a tensor's values, each with its index in the tensor; removes its slices from `slices`."""
        fail = self._file.at(name)
        if not entry.slices:
            self._check_place(entry, fail)
            return [((), entry)]
        parts = []
        for extents in entry.slices:
            index = box(extents, entry.shape, fail)
            part = slices.pop(slice_key(name, extents), None)
            if part is None:
                raise fail("the record of a slice is missing, or the slice is listed twice")
            if part.slices or part.dtype != entry.dtype or part.shape != box_shape(index):
                raise fail("the type of a slice is not that of its tensor")
            self._check_place(part, fail)
            parts.append((index, part))
        check_cover([index for index, _ in parts], entry.shape, fail)
        return parts

    def _check_place(self, entry: _Entry, fail: Fail) -> None:
        """Checks that the values are inside their file, and as many as in the shape."""
        if not 0 <= entry.shard < len(self._data):
            raise fail(f"the tensor is in data file {entry.shard} of {len(self._data)}")
        held = self._data[entry.shard].size
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > held:
            place = f"{entry.size} bytes at byte {entry.offset}"
            raise fail(f"the tensor's {place} are not within the {held} bytes of its data file")
        count = math.prod(entry.shape)
        # Each string has at least one byte of length, and all lengths together have a checksum.
        least = count + 4 if entry.dtype.hasobject else count * entry.dtype.itemsize
        if entry.size < least or (entry.size > least and not entry.dtype.hasobject):
            raise fail(f"{entry.size} bytes where {type_name(entry.dtype)} {list(entry.shape)} takes {least}")

    def _read(self, name: str) -> NDArray[Any]:
        key = self._keys[name]
        entry = self._entries[key]
        parts = ((index, self._values(name, part)) for index, part in self._parts[key])
        return assemble(parts, entry.shape, entry.dtype) if entry.slices else next(parts)[1]

    def _values(self, name: str, entry: _Entry) -> NDArray[Any]:
        file = self._data[entry.shard]
        data = file.part(entry.offset, entry.size, "a tensor")
        if entry.dtype.hasobject:
            return _strings(data, entry, file.at(name))
        if masked(crc32c(data)) != entry.checksum:
            raise file.error("the tensor's checksum does not match its values", name)
        return np.frombuffer(data, entry.dtype).reshape(entry.shape)


def _read_index(file: CheckedFile) -> tuple[dict[str, _Entry], dict[bytes, _Entry], int]:
    """The tensors' entries by name, the slices' entries by key, and the number of data files."""
    records = Table(file).records()
    key, value = next(records, (None, b""))
    if key != b"":
        raise file.error("the table has no header: not the index of a V2 checkpoint")
    header = Message(value, file.at("header"))
    shards = header.int64(1)
    if not 1 <= shards <= 99_999:  # the names of data files have five digits
        raise file.error(f"the header claims {shards} data files")
    if header.int64(2) != 0:
        raise file.error("the values are big-endian, which is not supported")
    check_version(header.message(3), file.error)
    entries: dict[str, _Entry] = {}
    slices: dict[bytes, _Entry] = {}
    for key, value in records:
        if key.startswith(b"\0"):
            slices[key] = _entry(file, _shown(key), value)
        else:
            name = read_text(key, file.at(_shown(key)))
            entries[name] = _entry(file, name, value)
    return entries, slices, shards


def _shown(key: bytes) -> str:
    return f"key {key[:120]!r}"


def _entry(file: CheckedFile, name: str, value: Buffer) -> _Entry:
    fail = file.at(name)
    message = Message(bytes(value), fail)
    dtype = data_type(message.int64(1), fail)
    shape = read_shape(message.message(2), fail)
    file.tensor_bytes(shape, dtype, name)
    shard, offset, size = (message.int64(number) for number in (3, 4, 5))
    slices = tuple(read_slice(part) for part in message.messages(7))
    return _Entry(dtype, shape, shard, offset, size, message.fixed32(6), slices)


def _check_layout(places: list[tuple[int, int]], file: CheckedFile) -> None:
    """Checks that tensors, in pairs of offset and size, do not overlap and cover all of their file.

    The writer puts one after the other. With an alignment it pads with zeros, which no checksum covers: then all
    offsets and the file's size are multiples of the alignment, and each gap is shorter than it.
    """
    alignment = math.gcd(_MAX_ALIGNMENT, file.size, *(offset for offset, _ in places))
    at = 0
    for offset, size in (*sorted(places), (file.size, 0)):
        gap = offset - at
        if gap < 0:
            raise file.error(f"tensors overlap at byte {offset}")
        if gap >= alignment or any(file.view[at:offset]):
            raise file.error(f"{gap} bytes at byte {at} belong to no tensor")
        at = offset + size


def _strings(data: memoryview, entry: _Entry, fail: Fail) -> NDArray[Any]:
    """Strings: varint lengths, the checksum of the lengths, then the bytes of all strings.

    Checksums cover the lengths as 32-bit numbers (64-bit for longer ones), not as varints.
    """
    count = math.prod(entry.shape)
    lengths = []
    at = 0
    for _ in range(count):
        length, at = read_varint(data, at, len(data), fail)
        lengths.append(length)
    start = at + 4
    if sum(lengths) != len(data) - start:
        raise fail("the strings' lengths do not add up to their size")
    crc = crc32c(b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths))
    stored = data[at:start]
    if masked(crc) != int.from_bytes(stored, "little"):
        raise fail("the checksum of the strings' lengths does not match them")
    if masked(crc32c(data[start:], crc32c(stored, crc))) != entry.checksum:
        raise fail("the tensor's checksum does not match its values")
    array = np.empty(count, object)
    for number, length in enumerate(lengths):
        array[number] = bytes(data[start : start + length])
        start += length
    return array.reshape(entry.shape)

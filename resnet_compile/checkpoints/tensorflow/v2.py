"""TensorFlow V2 checkpoints, the "tensor bundles" of every TensorFlow since 0.12, SavedModel variables included.

``PREFIX.index`` is a table (``tensor_bundle.proto``). The record with the empty key is the header { num_shards = 1,
endianness = 2, version = 3 }; each other one is an entry { dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5,
crc32c = 6, slices = 7 }, which says where in ``PREFIX.data-00000-of-00001`` and so on the raw values are. A partitioned
variable has an entry with its full shape and its slices, and one per slice under a key that encodes name and extents.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, TensorInfo
from resnet_compile.checkpoints.mapped import crc32c, is_file, map_file, mask_crc32c, masked_crc32c
from resnet_compile.checkpoints.tensorflow.paths import table_kind, v2_data, v2_index, v2_prefix
from resnet_compile.checkpoints.tensorflow.table import Table
from resnet_compile.checkpoints.tensorflow.types import (
    Box,
    DataType,
    TensorSlice,
    assemble,
    box,
    box_shape,
    check_bools,
    check_cover,
    data_type,
    read_shape,
    read_slice,
    read_text,
    slice_key,
)
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Buffer, Message, read_varint

_VERSION = 1  # kTensorBundleVersion
# The largest alignment of tensors that is taken for one (the writer's `data_alignment`, a power of two, mostly 1).
_MAX_ALIGNMENT = 4096


class _Entry(NamedTuple):
    dtype: DataType
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[TensorSlice, ...]


class _Variable(NamedTuple):
    entry: _Entry
    parts: tuple[tuple[Box, _Entry], ...]  # none where the variable is not partitioned


def sniff(path: str | os.PathLike[str]) -> bool:
    """Whether `path` means a V2 bundle, by the content of its index; never raises."""
    try:
        index = v2_index(v2_prefix(Path(path)))
    except CheckpointError:
        return False
    return is_file(index) and table_kind(index) != "v1"


def open_tensorflow_v2(path: str | os.PathLike[str]) -> TensorFlowV2Checkpoint:
    """Open a V2 bundle.

    Args:
        path: Its prefix, its index, one of its data files, or a training folder whose state file names one of these.

    Raises:
        CheckpointError: There is none, or its index is damaged. Values are checked when they are looked up.
    """
    return TensorFlowV2Checkpoint(v2_prefix(Path(path)))


class TensorFlowV2Checkpoint(Checkpoint):
    """A V2 bundle; `open_tensorflow_v2` takes the other ways to name it.

    Arrays are views of the map, at whatever alignment they have in the file; partitioned variables and strings are not.

    Args:
        prefix: The path without ``.index``.
    """

    format: ClassVar[str] = "TensorFlow V2 checkpoint"

    def __init__(self, prefix: Path) -> None:
        index = v2_index(prefix)
        entries, slices, shards = _read_index(index)
        data: list[Path] = []
        self._maps: list[memoryview] = []
        for shard in range(shards):
            data.append(v2_data(prefix, shard, shards))
            self._maps.append(map_file(data[-1]))
        self.files = (index, *data)
        self._variables = {name: self._variable(name, entry, slices) for name, entry in entries.items()}
        if slices:
            raise CheckpointError("a slice belongs to no variable", where=f"{index}, key {_shown(next(iter(slices)))}")
        places: list[list[tuple[int, int]]] = [[] for _ in data]
        for variable in self._variables.values():
            for entry in [part for _, part in variable.parts] or [variable.entry]:
                places[entry.shard].append((entry.offset, entry.size))
        for file, contents, stored in zip(data, self._maps, places, strict=True):
            _check_layout(stored, contents, file)

    def _variable(self, name: str, entry: _Entry, slices: dict[bytes, _Entry]) -> _Variable:
        where = self._where(name)
        if not entry.slices:
            self._check_place(entry, where)
            return _Variable(entry, ())
        parts = []
        for extents in entry.slices:
            index = box(extents, entry.shape, where)
            part = slices.pop(slice_key(name, extents), None)
            if part is None:
                raise CheckpointError("the record of a slice is missing, or the slice is listed twice", where=where)
            if part.slices or part.dtype != entry.dtype or part.shape != box_shape(index):
                raise CheckpointError("the type of a slice is not that of its tensor", where=where)
            self._check_place(part, where)
            parts.append((index, part))
        check_cover([index for index, _ in parts], entry.shape, where)
        return _Variable(entry, tuple(parts))

    def _check_place(self, entry: _Entry, where: str) -> None:
        """Check that the values are inside their file, and as many as the shape asks for."""
        if not 0 <= entry.shard < len(self._maps):
            raise CheckpointError(f"the tensor is in data file {entry.shard} of {len(self._maps)}", where=where)
        file_size = len(self._maps[entry.shard])
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > file_size:
            raise CheckpointError(
                f"the tensor's {entry.size} bytes at byte {entry.offset} are not within the "
                f"{file_size} bytes of its data file",
                where=where,
            )
        count = math.prod(entry.shape)
        # A string takes a byte for its length, at least, and all lengths together a checksum.
        least = count + 4 if entry.dtype.is_string else count * entry.dtype.numpy.itemsize
        if entry.size < least or (entry.size > least and not entry.dtype.is_string):
            message = f"{entry.size} bytes where {entry.dtype.name} {list(entry.shape)} takes {least}"
            raise CheckpointError(message, where=where)

    def __getitem__(self, name: str) -> NDArray[Any]:
        variable = self._variables[name]
        if not self._maps:
            raise CheckpointError("the checkpoint is closed", where=self._where(name))
        if not variable.parts:
            return self._read(name, variable.entry)
        parts = ((index, self._read(name, entry)) for index, entry in variable.parts)
        return assemble(parts, self.info(name), variable.entry.dtype)

    def _read(self, name: str, entry: _Entry) -> NDArray[Any]:
        where = f"{self.files[1 + entry.shard]}, tensor {name!r}"
        data = self._maps[entry.shard][entry.offset : entry.offset + entry.size]
        if entry.dtype.is_string:
            return _strings(data, entry, where)
        if masked_crc32c(data) != entry.checksum:
            raise CheckpointError("the tensor's checksum does not match its values", where=where)
        array = np.frombuffer(data, entry.dtype.numpy) if entry.size else np.empty(0, entry.dtype.numpy)
        if array.dtype == np.bool_:
            check_bools(array, where)
        return array.reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def info(self, name: str) -> TensorInfo:
        """The dtype and shape of a tensor; `KeyError` where there is none."""
        entry = self._variables[name].entry
        return TensorInfo(entry.dtype.name, entry.shape)

    def close(self) -> None:
        """Release the files; arrays handed out stay valid."""
        self._maps = []

    def _where(self, name: str) -> str:
        return f"{self.files[0]}, tensor {name!r}"


def _read_index(path: Path) -> tuple[dict[str, _Entry], dict[bytes, _Entry], int]:
    """The entries of tensors by name, those of slices by key, and the number of data files."""
    records = Table(path).records()
    key, value = next(records, (None, b""))
    if key != b"":
        raise CheckpointError("the table has no header: not the index of a V2 checkpoint", where=str(path))
    header = Message(value, partial(CheckpointError, where=f"{path}, header"))
    shards = header.int64(1)
    if not 1 <= shards <= 99_999:  # the names of data files have five digits
        raise CheckpointError(f"the header speaks of {shards} data files", where=str(path))
    if header.int64(2) != 0:
        raise CheckpointError("the values are big-endian, which is not supported", where=str(path))
    # VersionDef: producer = 1, min_consumer = 2, which says what a reader must be to understand the file.
    if header.message(3).int64(2) > _VERSION:
        raise CheckpointError("the checkpoint is for readers of a later version", where=str(path))
    entries: dict[str, _Entry] = {}
    slices: dict[bytes, _Entry] = {}
    for key, value in records:
        if key.startswith(b"\0"):
            slices[key] = _entry(value, f"{path}, slice {_shown(key)}")
        else:
            name = read_text(key, f"{path}, key {_shown(key)}")
            entries[name] = _entry(value, f"{path}, tensor {name!r}")
    return entries, slices, shards


def _shown(key: bytes) -> str:
    return repr(key[:200])


def _entry(value: Buffer, where: str) -> _Entry:
    message = Message(bytes(value), partial(CheckpointError, where=where))
    dtype = data_type(message.int64(1), where)
    return _Entry(
        dtype=dtype,
        shape=read_shape(message.message(2), dtype, where),
        shard=message.int64(3),
        offset=message.int64(4),
        size=message.int64(5),
        checksum=message.fixed32(6),
        slices=tuple(read_slice(part) for part in message.messages(7)),
    )


def _check_layout(places: list[tuple[int, int]], contents: memoryview, path: Path) -> None:
    """Check that tensors, in pairs of offset and size, do not overlap and leave no byte of their file unexplained.

    The writer puts one after the other. Told to align them, it fills up with zeros, which no checksum covers: then
    every offset, and the file's size, is a multiple of the alignment, and each gap is shorter than it.
    """
    alignment = math.gcd(_MAX_ALIGNMENT, len(contents), *(offset for offset, _ in places))
    at = 0
    for offset, size in (*sorted(places), (len(contents), 0)):
        gap = offset - at
        if gap < 0:
            raise CheckpointError(f"tensors overlap at byte {offset}", where=str(path))
        if gap >= alignment or any(contents[at:offset]):
            raise CheckpointError(f"{gap} bytes at byte {at} belong to no tensor", where=str(path))
        at = offset + size


def _strings(data: memoryview, entry: _Entry, where: str) -> NDArray[Any]:
    """Strings: varint lengths, the checksum of the lengths, then the bytes of one after the other.

    Checksums run over the lengths as 32-bit numbers (64 where one needs it), not over their varints.
    """
    count = math.prod(entry.shape)
    lengths = []
    at = 0
    for _ in range(count):
        length, at = read_varint(data, at, len(data), partial(CheckpointError, where=where))
        lengths.append(length)
    start = at + 4
    if sum(lengths) != len(data) - start:
        raise CheckpointError("the strings' lengths do not add up to their size", where=where)
    crc = crc32c(b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths))
    stored = data[at:start]
    if mask_crc32c(crc) != int.from_bytes(stored, "little"):
        raise CheckpointError("the checksum of the strings' lengths does not match them", where=where)
    if masked_crc32c(data[start:], crc32c(stored, crc)) != entry.checksum:
        raise CheckpointError("the tensor's checksum does not match its values", where=where)
    array = np.empty(count, object)
    for number, length in enumerate(lengths):
        array[number] = bytes(data[start : start + length])
        start += length
    return array.reshape(entry.shape)

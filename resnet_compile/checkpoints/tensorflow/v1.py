"""TensorFlow V1 checkpoints (``Saver`` with ``SaverDef.V1``, the only format before TensorFlow 0.12).

One table file, or one per device, holds everything (``saved_tensor_slice.proto``). The record with the empty key is the
directory: ``SavedTensorSlices.meta`` = 1 { tensor = 1 { name = 1, shape = 2, type = 3, slice = 4 }, versions = 2 }.
Every other record is a slice: ``SavedTensorSlices.data`` = 2 { name = 1, slice = 2, data = 3 }. Its key encodes name
and extents; data is a ``TensorProto`` with only the packed field of its type. A variable that is not partitioned is one
slice. Slices of one variable may be in different files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.tensorflow.paths import table_kind, v1_files
from resnet_compile.checkpoints.tensorflow.table import MAX_ENTRIES, Table
from resnet_compile.checkpoints.tensorflow.tensor_proto import FIXED_WIDTH, field_of, typed_values
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
from resnet_compile.wire import Message


class _Part(NamedTuple):
    """A slice of a variable: its index in the whole, and the file and block that hold it."""

    shard: _Shard
    block: int
    extents: TensorSlice
    box: Box


@dataclass(slots=True)
class _Variable:
    dtype: np.dtype[Any]
    parts: list[_Part]


def is_tensorflow_v1(path: Path) -> bool:
    """Whether `path` stands for a V1 checkpoint, by content; never raises."""
    try:
        files = v1_files(path)
    except CheckpointError:
        return False
    kind = table_kind(files[0])
    return kind == "v1" or (kind == "damaged" and files[0].suffix != ".index")


class TensorFlowV1Checkpoint(Checkpoint):
    """A V1 checkpoint, opened by a path as for `v1_files`.

    Floating-point values of variables in one slice are views of the map, possibly unaligned.
    """

    format: ClassVar[str] = "TensorFlow V1 checkpoint"

    def __init__(self, path: Path) -> None:
        shards = [_Shard(CheckedFile(file)) for file in v1_files(path)]
        super().__init__(*(shard.file for shard in shards))
        self._variables: dict[str, _Variable] = {}
        for shard in shards:
            self._add_shard(shard)
        # Every value takes at least this many bytes, so a false claim is refused before reading.
        size = sum(shard.file.size for shard in shards)
        claimed = 0
        for name, variable in self._variables.items():
            shape = self._infos[name].shape
            check_cover([part.box for part in variable.parts], shape, self._file.at(name))
            claimed += math.prod(shape) * _least_size(variable.dtype)
        if claimed > size:
            raise self._file.error(f"the tensors claim {claimed} bytes, the files have {size}")

    def _add_shard(self, shard: _Shard) -> None:
        for name, dtype, shape, slices in shard.directory():
            fail = shard.file.at(name)
            if name not in self._variables:
                self._add(name, shape, dtype)
                self._variables[name] = _Variable(dtype, [])
            variable = self._variables[name]
            if (variable.dtype, self._infos[name].shape) != (dtype, shape):
                raise fail("the tensor has different types in different shards")
            for extents in slices:
                place = box(extents, shape, fail)
                variable.parts.append(_Part(shard, shard.expect(name, extents), extents, place))
        if not all(shard.expected):  # so that reading all tensors checks all blocks
            raise shard.file.error("a block holds no tensor that the directory lists")

    def _read(self, name: str) -> NDArray[Any]:
        variable = self._variables[name]
        parts = ((part.box, part.shard.values(name, part, variable.dtype)) for part in variable.parts)
        if len(variable.parts) == 1:
            return next(parts)[1]
        return assemble(parts, self._infos[name].shape, variable.dtype)


class _Shard:
    """One file: its directory, and the records of its slices, each in a known block."""

    def __init__(self, file: CheckedFile) -> None:
        self.file = file
        self._table = Table(file)
        self.expected: list[set[bytes]] = [set() for _ in range(len(self._table))]
        self._checked: set[int] = set()
        if not self.expected:
            raise file.error("the table is empty")
        self.expected[0].add(b"")

    def directory(self) -> Iterator[tuple[str, np.dtype[Any], tuple[int, ...], list[TensorSlice]]]:
        """Name, type, shape and slices of every tensor with slices in this file."""
        fail = self.file.at("directory of tensors")
        record = self._table.block(0).get(b"")
        if record is None:
            raise self.file.error("the table has no directory of tensors: not a V1 checkpoint")
        meta = Message(record, fail).bytes(1)
        if meta is None:
            raise self.file.error("the first record is not the directory of a V1 checkpoint")
        directory = Message(meta, fail)
        check_version(directory.message(2), self.file.error)
        seen: set[str] = set()
        slices_left = MAX_ENTRIES
        for tensor in directory.messages(1):
            name = read_text(tensor.bytes(1), fail)
            if name in seen:
                raise self.file.error("the tensor is listed twice", name)
            seen.add(name)
            dtype = data_type(tensor.int64(3), self.file.at(name))
            if not field_of(dtype) or dtype.name == "bfloat16":  # which is younger than the format
                raise self.file.error(f"a V1 checkpoint cannot hold {dtype.name}", name)
            shape = read_shape(tensor.message(2), self.file.at(name))
            self.file.tensor_bytes(shape, dtype, name)
            slices = [read_slice(part) for part in tensor.messages(4)]
            slices_left -= len(slices)
            if slices_left < 0:
                raise self.file.error(f"more than {MAX_ENTRIES} slices")
            yield name, dtype, shape, slices

    def expect(self, name: str, extents: TensorSlice) -> int:
        """Notes that the directory lists a slice, and returns the number of its block."""
        key = slice_key(name, extents)
        block = self._table.block_of(key)
        if block is None or key in self.expected[block]:
            reason = "is missing" if block is None else "is listed twice"
            raise self.file.error(f"a slice of the tensor {reason}", name)
        self.expected[block].add(key)
        return block

    def values(self, name: str, part: _Part, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The values of a slice, with its block's checksum, its name, its extents and their number checked."""
        fail = self.file.at(name)
        block = self._table.block(part.block)
        if part.block not in self._checked:
            if block.keys() != self.expected[part.block]:
                raise fail("a block does not hold the slices that the directory lists")
            self._checked.add(part.block)
        saved = Message(block[slice_key(name, part.extents)], fail).message(2)
        if read_text(saved.bytes(1), fail) != name or read_slice(saved.message(2)) != part.extents:
            raise fail("a slice's record belongs to another tensor")
        shape = box_shape(part.box)
        return typed_values(saved.message(3), dtype, math.prod(shape), fail).reshape(shape)


def _least_size(dtype: np.dtype[Any]) -> int:
    """The fewest bytes of one value in a ``TensorProto``."""
    if field_of(dtype) in FIXED_WIDTH:
        return dtype.itemsize
    return 2 if dtype.hasobject else 1

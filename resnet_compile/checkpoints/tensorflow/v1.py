"""TensorFlow V1 checkpoints (``Saver`` with ``SaverDef.V1``, the only format before TensorFlow 0.12).

One table file, or one per device, holds everything (``saved_tensor_slice.proto``). The record with the empty key is
the directory: ``SavedTensorSlices.meta`` = 1 { tensor = 1 { name = 1, shape = 2, type = 3, slice = 4 }, versions = 2 }.
Each other one is a slice, whose key encodes name and extents: ``SavedTensorSlices.data`` = 2 { name = 1, slice = 2,
data = 3 }, where data is a ``TensorProto`` with the values in the packed field of their type and nothing else. A
variable that is not partitioned is one slice. Slices of one variable may be in different files.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, TensorInfo
from resnet_compile.checkpoints.tensorflow.paths import table_kind, v1_files
from resnet_compile.checkpoints.tensorflow.table import MAX_ENTRIES, Table
from resnet_compile.checkpoints.tensorflow.types import (
    Box,
    DataType,
    TensorSlice,
    assemble,
    box,
    box_shape,
    check_cover,
    data_type,
    read_shape,
    read_slice,
    read_text,
    slice_key,
)
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Buffer, Message, unpack_varints

_VERSION = 1  # TF_CHECKPOINT_VERSION

_STRINGS = 8
# The fields of TensorProto whose packed values are little-endian numbers: float, double and their complex pairs. The
# others hold varints.
_FIXED_WIDTH = frozenset({5, 6, 9, 12})
_HALF = 13


class _Part(NamedTuple):
    shard: int
    extents: TensorSlice
    box: Box


@dataclass(slots=True)
class _Variable:
    info: TensorInfo
    dtype: DataType
    parts: list[_Part]


def sniff(path: str | os.PathLike[str]) -> bool:
    """Whether `path` means files that are V1 checkpoints by their content; never raises."""
    try:
        files = v1_files(Path(path))
    except CheckpointError:
        return False
    kind = table_kind(files[0])
    return kind == "v1" or (kind == "damaged" and files[0].suffix != ".index")


def open_tensorflow_v1(path: str | os.PathLike[str]) -> TensorFlowV1Checkpoint:
    """Open a V1 checkpoint.

    Args:
        path: The file; or, for a sharded one, its prefix, any of its shards or a pattern like ``x-?????-of-00003``; or
            a training folder whose state file names one of these.

    Raises:
        CheckpointError: There is none, or its directory is damaged. Values are checked when they are looked up.
    """
    return TensorFlowV1Checkpoint(v1_files(Path(path)))


class TensorFlowV1Checkpoint(Checkpoint):
    """A V1 checkpoint; `open_tensorflow_v1` finds its files.

    Floating-point values of variables in one slice are views of the map, at whatever alignment they have in the file.

    Args:
        files: Every shard, in order.
    """

    format: ClassVar[str] = "TensorFlow V1 checkpoint"

    def __init__(self, files: tuple[Path, ...]) -> None:
        self.files = files
        self._shards = [_Shard(file) for file in files]
        self._variables: dict[str, _Variable] = {}
        for number, shard in enumerate(self._shards):
            self._add(number, shard)
        # A value takes at least as many bytes as this in its file, so that what claims more is refused before reading.
        size = sum(shard.size for shard in self._shards)
        claimed = 0
        for name, variable in self._variables.items():
            check_cover([part.box for part in variable.parts], variable.info.shape, self._where(name))
            claimed += math.prod(variable.info.shape) * _least_size(variable.dtype)
        if claimed > size:
            raise CheckpointError(f"the tensors claim {claimed} bytes, the files have {size}", where=str(files[0]))

    def _add(self, number: int, shard: _Shard) -> None:
        for name, info, dtype, slices in shard.directory():
            where = f"{shard.path}, tensor {name!r}"
            variable = self._variables.setdefault(name, _Variable(info, dtype, []))
            if (variable.info, variable.dtype.numpy) != (info, dtype.numpy):
                raise CheckpointError("the tensor has different types in different shards", where=where)
            for extents in slices:
                variable.parts.append(_Part(number, extents, box(extents, info.shape, where)))
                shard.expect(name, extents)
        shard.check_expected()

    def __getitem__(self, name: str) -> NDArray[Any]:
        variable = self._variables[name]
        if not self._shards:
            raise CheckpointError("the checkpoint is closed", where=self._where(name))
        if len(variable.parts) == 1:
            return self._read(name, variable, variable.parts[0])
        parts = ((part.box, self._read(name, variable, part)) for part in variable.parts)
        return assemble(parts, variable.info, variable.dtype)

    def _read(self, name: str, variable: _Variable, part: _Part) -> NDArray[Any]:
        shard = self._shards[part.shard]
        values = shard.values(name, part.extents)
        return _array(values, variable.dtype, box_shape(part.box), f"{shard.path}, tensor {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def info(self, name: str) -> TensorInfo:
        """The dtype and shape of a tensor; `KeyError` where there is none."""
        return self._variables[name].info

    def close(self) -> None:
        """Release the files; arrays handed out stay valid."""
        self._shards = []

    def _where(self, name: str) -> str:
        return f"{self.files[0]}, tensor {name!r}"


class _Shard:
    """One file: its directory, and the records of its slices, each of which is in one known block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table = Table(path)
        self.size = self._table.size
        self._expected: list[set[bytes]] = [set() for _ in range(len(self._table))]
        self._checked: set[int] = set()
        if not self._expected:
            raise CheckpointError("the table is empty", where=str(path))
        self._expected[0].add(b"")

    def directory(self) -> Iterator[tuple[str, TensorInfo, DataType, list[TensorSlice]]]:
        """Name, type and slices of every tensor of which this file has slices."""
        where = f"{self.path}, directory of tensors"
        record = self._table.block(0).get(b"")
        if record is None:
            raise CheckpointError("the table has no directory of tensors: no V1 checkpoint", where=str(self.path))
        meta = Message(record, partial(CheckpointError, where=where)).bytes(1)
        if meta is None:
            raise CheckpointError("the first record is not the directory of a V1 checkpoint", where=str(self.path))
        directory = Message(meta, partial(CheckpointError, where=where))
        # VersionDef: producer = 1, min_consumer = 2, which says what a reader must be to understand the file.
        if directory.message(2).int64(2) > _VERSION:
            raise CheckpointError("the checkpoint is for readers of a later version", where=str(self.path))
        seen: set[str] = set()
        slices_left = MAX_ENTRIES
        for tensor in directory.messages(1):
            name = read_text(tensor.bytes(1), where)
            if name in seen:
                raise CheckpointError("the tensor is listed twice", where=f"{self.path}, tensor {name!r}")
            seen.add(name)
            tensor_where = f"{self.path}, tensor {name!r}"
            dtype = data_type(tensor.int64(3), tensor_where)
            if dtype.field is None:
                raise CheckpointError(f"no V1 checkpoint holds {dtype.name}", where=tensor_where)
            shape = read_shape(tensor.message(2), dtype, tensor_where)
            slices = [read_slice(part) for part in tensor.messages(4)]
            slices_left -= len(slices)
            if slices_left < 0:
                raise CheckpointError(f"more than {MAX_ENTRIES} slices", where=str(self.path))
            yield name, TensorInfo(dtype.name, shape), dtype, slices

    def expect(self, name: str, extents: TensorSlice) -> None:
        """Note that the directory lists a slice."""
        key = slice_key(name, extents)
        block = self._table.block_of(key)
        if block is None or key in self._expected[block]:
            reason = "is missing" if block is None else "is listed twice"
            raise CheckpointError(f"a slice of the tensor {reason}", where=f"{self.path}, tensor {name!r}")
        self._expected[block].add(key)

    def check_expected(self) -> None:
        """Check that every block has a slice in the directory, so that reading all tensors checks all blocks."""
        if not all(self._expected):
            raise CheckpointError("a block holds no tensor that the directory lists", where=str(self.path))

    def values(self, name: str, extents: TensorSlice) -> Message:
        """The ``TensorProto`` of a slice, after the checksum of its block and its name and extents were checked."""
        where = f"{self.path}, tensor {name!r}"
        key = slice_key(name, extents)
        number = self._table.block_of(key)
        assert number is not None, "the directory was checked"
        block = self._table.block(number)
        if number not in self._checked:
            if block.keys() != self._expected[number]:
                raise CheckpointError("a block does not hold the slices that the directory lists", where=where)
            self._checked.add(number)
        saved = Message(block[key], partial(CheckpointError, where=where)).message(2)
        if read_text(saved.bytes(1), where) != name or read_slice(saved.message(2)) != extents:
            raise CheckpointError("the record of a slice is another's", where=where)
        return saved.message(3)


def _least_size(dtype: DataType) -> int:
    """The fewest bytes that one value takes in a ``TensorProto``."""
    if dtype.field in _FIXED_WIDTH:
        return dtype.numpy.itemsize
    return 2 if dtype.field == _STRINGS else 1


def _array(values: Message, dtype: DataType, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """The values of a ``TensorProto``, whose typed field holds exactly as many as the shape asks for."""
    assert dtype.field is not None, "the directory was checked"
    count = math.prod(shape)
    if dtype.is_string:
        return _strings(values.all_bytes(dtype.field), shape, where)
    packed = values.bytes(dtype.field) or b""
    if dtype.field not in _FIXED_WIDTH:
        return _varints(packed, dtype, count, where).reshape(shape)
    if len(packed) != count * dtype.numpy.itemsize:
        raise CheckpointError(
            f"{len(packed)} bytes where {dtype.name} {list(shape)} takes {count * dtype.numpy.itemsize}", where=where
        )
    array = np.frombuffer(packed, dtype.numpy) if count else np.empty(0, dtype.numpy)
    return array.reshape(shape)


def _strings(values: list[Buffer], shape: tuple[int, ...], where: str) -> NDArray[Any]:
    if len(values) != math.prod(shape):
        raise CheckpointError(f"{len(values)} strings where the shape is {list(shape)}", where=where)
    array = np.empty(len(values), object)
    array[:] = [bytes(value) for value in values]
    return array.reshape(shape)


def _varints(packed: Buffer, dtype: DataType, count: int, where: str) -> NDArray[Any]:
    """Packed varints as the type that they stand for; CheckpointError for a value out of its range."""
    # Of half precision the field holds the bits.
    array = np.empty(count, np.dtype("<u2") if dtype.field == _HALF else dtype.numpy)
    done = 0
    for values in unpack_varints(packed, count, partial(CheckpointError, where=where)):
        narrow = values.astype(array.dtype)
        if np.any(narrow.astype(np.uint64) != values):
            raise CheckpointError(f"a value is out of the range of {dtype.name}", where=where)
        array[done : done + len(narrow)] = narrow
        done += len(narrow)
    return array.view(dtype.numpy)

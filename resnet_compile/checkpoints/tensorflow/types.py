"""What both TensorFlow checkpoint formats share: data types, shapes, and the slices of partitioned variables.

The messages are TensorFlow's ``types.proto``, ``tensor_shape.proto`` and ``tensor_slice.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import TensorInfo
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Buffer, Message

# numpy's limit before version 2. TensorFlow's own operators stop at 8.
MAX_RANK = 32
# Slices are compared with each other; partitioners make tens, at most hundreds.
MAX_SLICES = 1 << 14
# numpy counts the bytes of an array in a signed 64-bit number, those of an empty one by its nonzero axes.
_MAX_BYTES = 1 << 62
# Names stand in error messages, too. TensorFlow's scopes make some hundred bytes.
_MAX_NAME = 4096


@dataclass(frozen=True, slots=True)
class DataType:
    """One row of ``DataType`` in ``types.proto``, as numpy has it.

    Attributes:
        name: The name in `TensorInfo`.
        numpy: The array's dtype, little-endian; object for strings, whose elements are `bytes`.
        field: Which field of ``TensorProto`` holds its values in a V1 checkpoint; None where V1 has no such type.
    """

    name: str
    numpy: np.dtype[Any]
    field: int | None

    @property
    def is_string(self) -> bool:
        """Whether the elements are byte strings of any length."""
        return self.numpy.hasobject


def _plain(code: str, field: int | None) -> DataType:
    dtype = np.dtype(code)
    return DataType(dtype.name, dtype, field)


def _extended(scalar: type[Any], field: int | None) -> DataType:
    dtype = np.dtype(scalar)
    return DataType(dtype.name, dtype, field)


# Quantized integers are stored as the plain ones. Resources (20) and variants (21) are no arrays.
DATA_TYPES = {
    1: _plain("<f4", 5),
    2: _plain("<f8", 6),
    3: _plain("<i4", 7),
    4: _plain("u1", 7),
    5: _plain("<i2", 7),
    6: _plain("i1", 7),
    7: DataType("string", np.dtype(object), 8),
    8: _plain("<c8", 9),
    9: _plain("<i8", 10),
    10: _plain("?", 11),
    11: _plain("i1", 7),
    12: _plain("u1", 7),
    13: _plain("<i4", 7),
    14: _extended(ml_dtypes.bfloat16, None),
    15: _plain("<i2", 7),
    16: _plain("<u2", 7),
    17: _plain("<u2", 7),
    18: _plain("<c16", 12),
    19: _plain("<f2", 13),
    22: _plain("<u4", 16),
    23: _plain("<u8", 17),
    24: _extended(ml_dtypes.float8_e5m2, None),
    25: _extended(ml_dtypes.float8_e4m3fn, None),
    29: _extended(ml_dtypes.int4, None),
    30: _extended(ml_dtypes.uint4, None),
}

_UNSUPPORTED = {0: "DT_INVALID", 20: "DT_RESOURCE", 21: "DT_VARIANT"}


def data_type(number: int, where: str) -> DataType:
    """The row of a ``DataType`` number; CheckpointError for one that names no array."""
    found = DATA_TYPES.get(number)
    if found is None:
        raise CheckpointError(f"the tensor's data type, {_UNSUPPORTED.get(number, number)}, is no array's", where=where)
    return found


def read_shape(message: Message, dtype: DataType, where: str) -> tuple[int, ...]:
    """A ``TensorShapeProto`` (dim = 2 { size = 1 }, unknown_rank = 3) as a shape that numpy can hold."""
    if message.int64(3):
        raise CheckpointError("the tensor's rank is unknown", where=where)
    shape = tuple(dim.int64(1) for dim in message.messages(2))
    if len(shape) > MAX_RANK:
        raise CheckpointError(f"the tensor has {len(shape)} axes, more than {MAX_RANK}", where=where)
    if min(shape, default=0) < 0:
        raise CheckpointError(f"the shape {list(shape)} has a negative axis", where=where)
    if math.prod(axis or 1 for axis in shape) * dtype.numpy.itemsize > _MAX_BYTES:
        raise CheckpointError(f"no array has the shape {list(shape)}", where=where)
    return shape


def check_bools(array: NDArray[Any], where: str) -> None:
    """Refuse a boolean array whose bytes are not 0 and 1: numpy takes any byte, and then ``True == True`` fails."""
    if array.size and array.view(np.uint8).max() > 1:
        raise CheckpointError("a boolean tensor has bytes other than 0 and 1", where=where)


class Extent(NamedTuple):
    """A slice along one axis; a length of -1 is the whole axis, as ``TensorSlice::kFullExtent``."""

    start: int
    length: int


TensorSlice: TypeAlias = tuple[Extent, ...]
Box: TypeAlias = tuple[slice, ...]


def read_slice(message: Message) -> TensorSlice:
    """A ``TensorSliceProto`` (extent = 1 { start = 1, length = 2 })."""
    return tuple(Extent(extent.int64(1), extent.int64(2, default=-1)) for extent in message.messages(1))


def box(part: TensorSlice, shape: tuple[int, ...], where: str) -> Box:
    """The part of an array of `shape` that a slice names, as an index for it; CheckpointError where there is none."""
    if len(part) != len(shape):
        raise CheckpointError(f"a slice has {len(part)} axes, its tensor {len(shape)}", where=where)
    for extent, axis in zip(part, shape, strict=True):
        whole = extent == (0, -1)
        if not whole and not (extent.start >= 0 and 0 < extent.length <= axis - extent.start):
            raise CheckpointError(
                f"the slice {[tuple(e) for e in part]} is outside the shape {list(shape)}", where=where
            )
    return tuple(
        slice(extent.start, axis if extent.length < 0 else extent.start + extent.length)
        for extent, axis in zip(part, shape, strict=True)
    )


def box_shape(index: Box) -> tuple[int, ...]:
    """The shape of the part that a box cuts out."""
    return tuple(axis.stop - axis.start for axis in index)


def check_cover(boxes: Sequence[Box], shape: tuple[int, ...], where: str) -> None:
    """Check that boxes within `shape` cover every element of it exactly once.

    Boxes that are pairwise disjoint cover it if and only if their volumes add up to its own.

    Raises:
        CheckpointError: Two of them overlap, or some element is in none.
    """
    if len(boxes) > MAX_SLICES:
        raise CheckpointError(f"the tensor is in {len(boxes)} slices, more than {MAX_SLICES}", where=where)
    if len(boxes) > 1 and _overlap(boxes, shape):
        raise CheckpointError("slices of the tensor overlap", where=where)
    if not boxes or sum(math.prod(box_shape(index)) for index in boxes) != math.prod(shape):
        raise CheckpointError("slices of the tensor are missing", where=where)


def _overlap(boxes: Sequence[Box], shape: tuple[int, ...]) -> bool:
    if not shape or 0 in shape:
        return True  # a scalar or an empty tensor has only one slice, itself
    starts = np.array([[axis.start for axis in index] for index in boxes])
    stops = np.array([[axis.stop for axis in index] for index in boxes])
    # In order along the axis that tells most of them apart, a box can overlap only those that start before it stops.
    sweep = int(np.argmax([len(np.unique(starts[:, axis])) for axis in range(len(shape))]))
    order = np.argsort(starts[:, sweep], kind="stable")
    starts, stops = starts[order], stops[order]
    lasts = np.searchsorted(starts[:, sweep], stops[:, sweep], side="left")
    for first, last in enumerate(lasts.tolist()):
        others = slice(first + 1, last)
        meets = (starts[others] < stops[first]) & (starts[first] < stops[others])
        if np.any(np.all(meets, axis=1)):
            return True
    return False


def assemble(parts: Iterable[tuple[Box, NDArray[Any]]], info: TensorInfo, dtype: DataType) -> NDArray[Any]:
    """A tensor put together from parts that cover it, one part at a time; read-only, as views of a map are."""
    whole = np.empty(info.shape, dtype.numpy)
    for index, part in parts:
        whole[index] = part
    whole.flags.writeable = False
    return whole


def slice_key(name: str, part: TensorSlice) -> bytes:
    """The key of a slice's record, in TensorFlow's order-preserving code (``EncodeTensorNameSlice``).

    The number 0, the name with ``00`` as ``00 ff`` and ended by ``00 01``, the rank, then start and length per axis.
    (``ff`` would be ``ff 00``, but is in no UTF-8 name.)
    """
    rank = bytes([1, len(part)]) if part else b"\0"
    numbers = b"".join(_ordered(number) for extent in part for number in extent)
    return b"\0" + name.encode().replace(b"\0", b"\0\xff") + b"\0\1" + rank + numbers


def _ordered(number: int) -> bytes:
    """A signed number in ``OrderedCode``: n bytes hold 7n bits of two's complement under n leading ones.

    The ones are XORed in, so that negative numbers start with zeros and sort first.
    """
    magnitude = number if number >= 0 else ~number
    size = magnitude.bit_length() // 7 + 1
    ones = (1 << size) - 1
    bits = number & ((1 << 8 * size) - 1)
    return (bits ^ ones << 7 * size).to_bytes(size, "big")


def read_text(data: Buffer | None, where: str) -> str:
    """A tensor's name; CheckpointError for one that is absent, beyond measure or not UTF-8."""
    if len(data or b"") > _MAX_NAME:
        raise CheckpointError(f"a tensor's name has more than {_MAX_NAME} bytes", where=where)
    try:
        name = bytes(data or b"").decode()
    except UnicodeDecodeError as error:
        raise CheckpointError("a tensor's name is not UTF-8", where=where) from error
    if not name:
        raise CheckpointError("a tensor has no name", where=where)
    return name

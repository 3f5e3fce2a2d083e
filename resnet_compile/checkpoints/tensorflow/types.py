"""Data types, shapes and slices of partitioned variables, for both TensorFlow checkpoint formats.

The messages are TensorFlow's ``types.proto``, ``tensor_shape.proto`` and ``tensor_slice.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import numbered
from resnet_compile.wire import Buffer, Fail, Message

# Slices are compared with each other. Partitioners make tens, at most hundreds.
MAX_SLICES = 1 << 14
# Names appear in error messages. TensorFlow's are a few hundred bytes.
_MAX_NAME = 4096

# Quantized integers (11 to 13, 15 and 16) are stored like plain ones. Resources (20) and variants (21) are not arrays.
DATA_TYPES = {
    **numbered("float32 float64 int32 uint8 int16 int8 object complex64 int64 bool int8 uint8 int32", first=1),
    **numbered("bfloat16 int16 uint16 uint16 complex128 float16 - - uint32 uint64", first=14),
    **numbered("float8_e5m2 float8_e4m3fn - - - int4 uint4", first=24),
}
"""The dtypes by ``DataType`` of ``types.proto``; that of strings is `object`, with elements of type `bytes`."""

_UNSUPPORTED = {0: "DT_INVALID", 20: "DT_RESOURCE", 21: "DT_VARIANT"}


def other_type(number: int) -> str:
    """The name of a ``DataType`` without a dtype."""
    return _UNSUPPORTED.get(number, f"DataType {number}")


def data_type(number: int, fail: Fail) -> np.dtype[Any]:
    """The dtype of a ``DataType`` number; raises for a type that is not an array's."""
    found = DATA_TYPES.get(number)
    if found is None:
        raise fail(f"the tensor's data type {other_type(number)} is not an array's")
    return found


def check_version(versions: Message, fail: Fail) -> None:
    """Checks a ``VersionDef`` (min_consumer = 2); both checkpoint formats have been at version 1 since they began."""
    if versions.int64(2) > 1:
        raise fail("the checkpoint needs a reader of a later version")


def read_shape(message: Message, fail: Fail) -> tuple[int, ...]:
    """The unchecked sizes in a ``TensorShapeProto`` (dim = 2 { size = 1 }, unknown_rank = 3)."""
    if message.int64(3):
        raise fail("the tensor's rank is unknown")
    return tuple(dim.int64(1) for dim in message.messages(2))


class Extent(NamedTuple):
    """A slice along one axis; a length of -1 (``TensorSlice::kFullExtent``) is the whole axis."""

    start: int
    length: int


TensorSlice: TypeAlias = tuple[Extent, ...]
Box: TypeAlias = tuple[slice, ...]


def read_slice(message: Message) -> TensorSlice:
    """A ``TensorSliceProto`` (extent = 1 { start = 1, length = 2 })."""
    return tuple(Extent(extent.int64(1), extent.int64(2, default=-1)) for extent in message.messages(1))


def box(part: TensorSlice, shape: tuple[int, ...], fail: Fail) -> Box:
    """The index of a slice in an array of `shape`; raises if it does not fit."""
    if len(part) != len(shape):
        raise fail(f"a slice has {len(part)} axes, its tensor {len(shape)}")
    for extent, axis in zip(part, shape, strict=True):
        whole = extent == (0, -1)
        if not whole and not (extent.start >= 0 and 0 < extent.length <= axis - extent.start):
            raise fail(f"the slice {[tuple(e) for e in part]} is outside the shape {list(shape)}")
    return tuple(
        slice(extent.start, axis if extent.length < 0 else extent.start + extent.length)
        for extent, axis in zip(part, shape, strict=True)
    )


def box_shape(index: Box) -> tuple[int, ...]:
    return tuple(axis.stop - axis.start for axis in index)


def check_cover(boxes: Sequence[Box], shape: tuple[int, ...], fail: Fail) -> None:
    """Checks that boxes within `shape` cover every element exactly once.

    Disjoint boxes do so if and only if their volumes add up to that of the shape.
    """
    if len(boxes) > MAX_SLICES:
        raise fail(f"the tensor is in {len(boxes)} slices, more than {MAX_SLICES}")
    if len(boxes) > 1 and _overlap(boxes, shape):
        raise fail("slices of the tensor overlap")
    if not boxes or sum(math.prod(box_shape(index)) for index in boxes) != math.prod(shape):
        raise fail("slices of the tensor are missing")


def _overlap(boxes: Sequence[Box], shape: tuple[int, ...]) -> bool:
    if not shape or 0 in shape:
        return True  # a scalar or an empty tensor has only one slice, itself
    starts = np.array([[axis.start for axis in index] for index in boxes])
    stops = np.array([[axis.stop for axis in index] for index in boxes])
    # Sorted along the axis with the most starts, a box can overlap only those that start before it stops.
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


def assemble(parts: Iterable[tuple[Box, NDArray[Any]]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A tensor assembled from the parts that cover it; read-only, like views of a map."""
    whole = np.empty(shape, dtype)
    for index, part in parts:
        whole[index] = part
    whole.flags.writeable = False
    return whole


def slice_key(name: str, part: TensorSlice) -> bytes:
    """The key of a slice's record, in TensorFlow's order-preserving code (``EncodeTensorNameSlice``).

    It has the number 0, the name, the rank, then start and length per axis. In the name ``00`` is written ``00 ff``,
    and ``00 01`` ends it. (``ff`` would be ``ff 00``, but UTF-8 has no such byte.)
    """
    rank = bytes([1, len(part)]) if part else b"\0"
    numbers = b"".join(_ordered(number) for extent in part for number in extent)
    return b"\0" + name.encode().replace(b"\0", b"\0\xff") + b"\0\1" + rank + numbers


def _ordered(number: int) -> bytes:
    """A signed number in ``OrderedCode``: two's complement in n bytes, 7n bits of it significant, the others inverted.

    So negative numbers start with zeros and sort first, and n, the number of leading ones or zeros, is the length.
    """
    magnitude = number if number >= 0 else ~number
    size = magnitude.bit_length() // 7 + 1
    ones = (1 << size) - 1
    bits = number & ((1 << 8 * size) - 1)
    return (bits ^ ones << 7 * size).to_bytes(size, "big")


def read_text(data: Buffer | None, fail: Fail) -> str:
    """A tensor's name; raises if it is absent, too long or not UTF-8."""
    if len(data or b"") > _MAX_NAME:
        raise fail(f"a tensor's name has more than {_MAX_NAME} bytes")
    try:
        name = bytes(data or b"").decode()
    except UnicodeDecodeError as error:
        raise fail("a tensor's name is not UTF-8") from error
    if not name:
        raise fail("a tensor has no name")
    return name

"""``TensorProto`` (``tensor.proto``): the values in the field of their type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.wire import Buffer, Fail, Message, unpack_varints

# The field of each type, by numpy's name.
_FIELDS = {
    "float32": 5,
    "float64": 6,
    "object": 8,
    "complex64": 9,
    "int64": 10,
    "bool": 11,
    "complex128": 12,
    "float16": 13,
    "bfloat16": 13,
    "uint32": 16,
    "uint64": 17,
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32"), 7),
}
STRINGS = 8
# Fields of little-endian numbers: float, double and their complex pairs. The others hold varints.
FIXED_WIDTH = frozenset({5, 6, 9, 12})
_HALF = 13


def field_of(dtype: np.dtype[Any]) -> int:
    """The field with the values of a type; 0 if there is none."""
    return _FIELDS.get(dtype.name, 0)


def typed_values(values: Message, dtype: np.dtype[Any], count: int, fail: Fail) -> NDArray[Any]:
    """The flat values of a message; the field of their type must hold exactly `count`."""
    if dtype.hasobject:
        return _strings(values.all_bytes(STRINGS), count, fail)
    packed = values.bytes(field_of(dtype)) or b""
    if field_of(dtype) not in FIXED_WIDTH:
        return _varints(packed, dtype, count, fail)
    size = count * dtype.itemsize
    if len(packed) != size:
        raise fail(f"{len(packed)} bytes where {count} {dtype.name} take {size}")
    return np.frombuffer(packed, dtype)


def _strings(values: list[Buffer], count: int, fail: Fail) -> NDArray[Any]:
    if len(values) != count:
        raise fail(f"{len(values)} strings are stored where the shape asks for {count}")
    array = np.empty(len(values), object)
    array[:] = [bytes(value) for value in values]
    return array


def _varints(packed: Buffer, dtype: np.dtype[Any], count: int, fail: Fail) -> NDArray[Any]:
    """Packed varints as numbers of a type; raises for a value out of its range."""
    # The field of half precision holds the bits, of bfloat16 too.
    array = np.empty(count, np.dtype("<u2") if field_of(dtype) == _HALF else dtype)
    done = 0
    for values in unpack_varints(packed, count, fail):
        narrow = values.astype(array.dtype)
        if np.any(narrow.astype(np.uint64) != values):
            raise fail(f"a value is out of the range of {dtype.name}")
        array[done : done + len(narrow)] = narrow
        done += len(narrow)
    return array.view(dtype)

"""``TensorProto`` (``tensor.proto``): the values in the field of their type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.tensorflow.types import DataType
from resnet_compile.wire import Buffer, Fail, Message, unpack_varints

STRINGS = 8
# Fields of little-endian numbers: float, double and their complex pairs. The others hold varints.
FIXED_WIDTH = frozenset({5, 6, 9, 12})
_HALF = 13


def typed_values(values: Message, dtype: DataType, count: int, fail: Fail) -> NDArray[Any]:
    """The flat values of a message; the field of their type must hold exactly `count`."""
    if dtype.is_string:
        return _strings(values.all_bytes(STRINGS), count, fail)
    packed = values.bytes(dtype.field) or b""
    if dtype.field not in FIXED_WIDTH:
        return _varints(packed, dtype, count, fail)
    size = count * dtype.numpy.itemsize
    if len(packed) != size:
        raise fail(f"{len(packed)} bytes where {count} {dtype.name} take {size}")
    return np.frombuffer(packed, dtype.numpy)


def _strings(values: list[Buffer], count: int, fail: Fail) -> NDArray[Any]:
    if len(values) != count:
        raise fail(f"{len(values)} strings are stored where the shape asks for {count}")
    array = np.empty(len(values), object)
    array[:] = [bytes(value) for value in values]
    return array


def _varints(packed: Buffer, dtype: DataType, count: int, fail: Fail) -> NDArray[Any]:
    """Packed varints as numbers of a type; raises for a value out of its range."""
    # The field of half precision holds the bits.
    array = np.empty(count, np.dtype("<u2") if dtype.field == _HALF else dtype.numpy)
    done = 0
    for values in unpack_varints(packed, count, fail):
        narrow = values.astype(array.dtype)
        if np.any(narrow.astype(np.uint64) != values):
            raise fail(f"a value is out of the range of {dtype.name}")
        array[done : done + len(narrow)] = narrow
        done += len(narrow)
    return array.view(dtype.numpy)

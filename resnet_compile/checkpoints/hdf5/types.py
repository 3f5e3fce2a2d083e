"""The messages that describe HDF5 data: shape, number type, layout, filters.

Source: the HDF5 File Format Specification 3.0, section IV.A.2. Supported are the message versions of the classic layout
and numpy's number types.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.hdf5.file import Cursor

CONTIGUOUS, CHUNKED = 1, 2

_CLASSES = (
    *("integer", "float", "time", "string", "bitfield", "opaque"),
    *("compound", "reference", "enumeration", "variable length", "array"),
)
# A float's sign position, then offset and precision in bits, exponent position and size, mantissa position and size,
# exponent bias.
_FLOATS = {
    2: (15, struct.pack("<2H4BI", 0, 16, 10, 5, 0, 10, 15)),
    4: (31, struct.pack("<2H4BI", 0, 32, 23, 8, 0, 23, 127)),
    8: (63, struct.pack("<2H4BI", 0, 64, 52, 11, 0, 52, 1023)),
}


def shape_of(file: CheckedFile, message: bytes) -> tuple[int, ...] | None:
    """The shape in a dataspace message; None for a dataspace without values."""
    space = Cursor(file, message, "a dataspace")
    version, rank, _ = space.uint(1), space.uint(1), space.uint(1)
    if version == 1:
        space.take(5)
    elif version != 2:
        raise file.error(f"HDF5 dataspace version {version}")
    elif space.uint(1) == 2:
        return None
    return tuple(space.uint(8) for _ in range(rank))


def _number_types() -> dict[bytes, np.dtype[Any]]:
    """The datatype messages of numpy's numbers: class and version, bit field, size, properties."""
    types: dict[bytes, np.dtype[Any]] = {}
    for order, mark in ((0, "<"), (1, ">")):
        for size in (1, 2, 4, 8):
            for signed, kind in ((0, "u"), (8, "i")):
                head = struct.pack("<4BI2H", 0x10, order | signed, 0, 0, size, 0, 8 * size)
                types[head] = np.dtype(f"{mark}{kind}{size}")
        for size, (sign, properties) in _FLOATS.items():
            # 0x20: the mantissa's highest bit is implied.
            types[struct.pack("<4BI", 0x11, order | 0x20, sign, 0, size) + properties] = np.dtype(f"{mark}f{size}")
    return types


_NUMBERS = _number_types()


def number_type(message: bytes) -> np.dtype[Any] | None:
    """The numpy dtype of a datatype message; None if it is not one of numpy's integers or floats."""
    return next((dtype for known, dtype in _NUMBERS.items() if message.startswith(known)), None)


def type_words(message: bytes) -> str:
    kind = message[0] & 15 if message else len(_CLASSES)
    return _CLASSES[kind] if kind < len(_CLASSES) else "unknown"


@dataclass(frozen=True, slots=True)
class DataLayout:
    """The place of a dataset: at `address` are its bytes (`CONTIGUOUS`), or the B-tree of its chunks (`CHUNKED`)."""

    kind: int
    address: int
    size: int
    chunk_shape: tuple[int, ...]
    itemsize: int


def layout_of(file: CheckedFile, message: bytes, name: str) -> DataLayout:
    """The layout in a data layout message of version 3; other kinds, such as virtual datasets, are refused."""
    layout = Cursor(file, message, "a data layout")
    version, kind = layout.uint(1), layout.uint(1)
    if version != 3 or kind not in (CONTIGUOUS, CHUNKED):
        raise file.error("the dataset is neither contiguous nor chunked in the classic layout", name)
    if kind == CONTIGUOUS:
        return DataLayout(kind, layout.uint(8), layout.uint(8), (), 0)
    rank = layout.uint(1) - 1
    address = layout.uint(8)
    steps = tuple(layout.uint(4) for _ in range(rank))
    if rank < 1 or 0 in steps:
        raise file.error("the chunked dataset has no chunk shape", name)
    return DataLayout(kind, address, 0, steps, layout.uint(4))


def filters_of(file: CheckedFile, message: bytes) -> tuple[int, ...]:
    """The filters' numbers in a filter pipeline message, in order of application."""
    pipeline = Cursor(file, message, "a filter pipeline")
    if pipeline.uint(1) != 1:
        raise file.error("a filter pipeline has the newer layout")
    count = pipeline.uint(1)
    pipeline.take(6)
    filters = []
    for _ in range(count):
        filters.append(pipeline.uint(2))
        name_size, _, values = pipeline.uint(2), pipeline.uint(2), pipeline.uint(2)
        pipeline.take((name_size + 7) // 8 * 8 + (values + values % 2) * 4)
    return tuple(filters)

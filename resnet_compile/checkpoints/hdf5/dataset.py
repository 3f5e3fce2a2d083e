"""Datasets of an HDF5 file: the place of their bytes, and their values.

Datasets in other files (external storage, virtual datasets) and filters that HDF5 would load as plug-ins are refused.
Plain bytes, and chunks with the filters gzip and shuffle, are decoded here: every size is checked against the file, and
the memory for a chunk is bounded.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.checked_file import CheckedFile, contiguous
from resnet_compile.checkpoints.hdf5.attributes import text_attribute
from resnet_compile.checkpoints.hdf5.file import (
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    LAYOUT,
    Cursor,
    Hdf5File,
)
from resnet_compile.checkpoints.hdf5.types import (
    CONTIGUOUS,
    DataLayout,
    filters_of,
    layout_of,
    number_type,
    shape_of,
    type_words,
)

_DEFLATE, _SHUFFLE = 1, 2
_OPAQUE_2 = b"\x15\0\0\0\2\0\0\0"  # the datatype of two opaque bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a dataset: the index of its first element, and the place of its bytes."""

    corner: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Hdf5Dataset:
    """A tensor in the file: at most one contiguous piece, or chunks of `chunk_shape` with `filters` (HDF5 ids)."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    chunk_shape: tuple[int, ...] | None
    filters: tuple[int, ...]


def locate(hdf5: Hdf5File, address: int, name: str) -> Hdf5Dataset | Unread:
    """The dataset at `address`, its claims checked against the file's size; an `Unread` for one without plain numbers.

    Raises:
        CheckpointError: It is not a plain array within this file, or is damaged.
    """
    file = hdf5.file
    messages = dict(hdf5.messages(address))
    if EXTERNAL_FILES in messages:
        raise file.error("the dataset is in other files: refused", name)
    if not {DATASPACE, DATATYPE, LAYOUT} <= messages.keys():
        raise file.error("no dataset at the tensor's path", name)
    shape, dtype = shape_of(file, messages[DATASPACE]), number_type(messages[DATATYPE])
    # HDF5 has no type for bfloat16: Keras says so in an attribute.
    if messages[DATATYPE].startswith(_OPAQUE_2) and text_attribute(hdf5, address, "dtype") == "bfloat16":
        dtype = np.dtype(ml_dtypes.bfloat16)
    if dtype is None:
        return Unread(f"of type {type_words(messages[DATATYPE])}", shape or ())
    if shape is None:
        raise file.error("the dataset holds no plain numbers", name)
    size = file.tensor_bytes(shape, dtype, name)
    filters = filters_of(file, messages[FILTERS]) if FILTERS in messages else ()
    if filters not in ((), (_DEFLATE,), (_SHUFFLE,), (_SHUFFLE, _DEFLATE)):
        raise file.error("the dataset has other filters than shuffle and gzip", name, "h5repack -f NONE undoes them")
    layout = layout_of(file, messages[LAYOUT], name)
    if layout.kind == CONTIGUOUS:
        if size != layout.size:
            raise file.error(f"the shape takes {size} bytes, the dataset has {layout.size}", name)
        whole = (Chunk((0,) * len(shape), layout.address, size),) if size else ()
        return Hdf5Dataset(dtype, shape, whole, None, ())
    if len(layout.chunk_shape) != len(shape) or layout.itemsize != dtype.itemsize:
        raise file.error("the dataset's chunks have another rank or dtype", name)
    chunks = _chunks(hdf5, layout, shape, name) if size else ()
    file.check_expansion(sum(chunk.size for chunk in chunks), size, name)
    return Hdf5Dataset(dtype, shape, chunks, layout.chunk_shape, filters)


def check_overlap(file: CheckedFile, datasets: Mapping[str, Hdf5Dataset]) -> None:
    """Refuses datasets that share bytes or are outside the file."""
    pieces = sorted((chunk.start, chunk.size, name) for name, data in datasets.items() for chunk in data.chunks)
    stop = 0
    for start, size, name in pieces:
        if start < stop:
            raise file.error("the tensor shares its bytes with another", name)
        stop = start + size
        if stop > file.size:
            raise file.error("the dataset is outside the file", name)


def read_dataset(file: CheckedFile, dataset: Hdf5Dataset, name: str) -> NDArray[Any]:
    """The values of a dataset; a view of the file's map if it is contiguous."""
    if dataset.chunk_shape is None:
        pieces = [file.array(chunk.start, chunk.size, "a dataset") for chunk in dataset.chunks]
        return contiguous(pieces[0] if pieces else np.empty(0, np.uint8), dataset.dtype, dataset.shape)
    whole = np.empty(dataset.shape, dataset.dtype)
    for chunk in dataset.chunks:
        block = _decode(file, chunk, dataset, dataset.chunk_shape, name)
        place = tuple(slice(at, at + step) for at, step in zip(chunk.corner, dataset.chunk_shape, strict=True))
        target = whole[place]  # cropped at the tensor's edges, which the chunk may overlap
        target[...] = block[tuple(slice(size) for size in target.shape)]
    return whole if dataset.dtype.isnative else whole.astype(dataset.dtype.newbyteorder("="))


def _chunks(hdf5: Hdf5File, layout: DataLayout, shape: tuple[int, ...], name: str) -> tuple[Chunk, ...]:
    """All chunks, one for every corner of the grid. HDF5 allows missing chunks; a checkpoint has none."""
    chunks: list[Chunk] = []
    for raw_key, start in hdf5.tree(layout.address, kind=1, key_size=16 + 8 * len(shape)):
        key = Cursor(hdf5.file, raw_key, "a chunk's key")
        size, filter_mask = key.uint(4), key.uint(4)
        corner = tuple(key.uint(8) for _ in shape)
        if filter_mask or key.uint(8):
            raise hdf5.file.error("a chunk skips its filters or begins within an element", name)
        chunks.append(Chunk(corner, start, size))
    expected = math.prod(-(-size // step) for size, step in zip(shape, layout.chunk_shape, strict=True))
    corners = {chunk.corner for chunk in chunks}
    grid = (zip(corner, layout.chunk_shape, shape, strict=True) for corner in corners)
    on_grid = all(at % step == 0 and at < size for axes in grid for at, step, size in axes)
    if not on_grid or len(chunks) != expected or len(corners) != expected:
        raise hdf5.file.error("the dataset's chunks do not tile its shape", name)
    return tuple(chunks)


def _decode(file: CheckedFile, chunk: Chunk, dataset: Hdf5Dataset, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """One chunk, its filters undone: gzip, then shuffle, which stores all first bytes, all second bytes, ..."""
    size = file.tensor_bytes(shape, dataset.dtype, name)
    data = file.array(chunk.start, chunk.size, "a chunk")
    if _DEFLATE in dataset.filters:
        data = np.frombuffer(file.inflate(data, size, name, wbits=zlib.MAX_WBITS), np.uint8)
    if len(data) != size:
        raise file.error("a chunk's size does not match its shape", name)
    if _SHUFFLE in dataset.filters:
        data = np.ascontiguousarray(data.reshape(dataset.dtype.itemsize, -1).T).reshape(-1)
    return data.view(dataset.dtype).reshape(shape)

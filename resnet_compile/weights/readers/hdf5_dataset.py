"""Datasets of an HDF5 file: h5py tells where their bytes lie, a map of the file gives the bytes.

HDF5 can lead to other files (external storage, virtual datasets) and can load plug-ins for filters that it does not
know; both are refused before HDF5 would follow them. It never reads or decompresses a dataset here, so that sizes are
checked against the file and the memory for a chunk is bounded.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.weights.readers.checked_file import CheckedFile, contiguous

_DEFLATE, _SHUFFLE = 1, 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a dataset: its first element's index on every axis, and where its bytes lie."""

    corner: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A tensor in the file: at most one contiguous piece, or chunks of `chunk_shape` through `filters` (HDF5 ids)."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    chunk_shape: tuple[int, ...] | None
    filters: tuple[int, ...]


def locate(file: CheckedFile, h5py: Any, node: Any, name: str) -> Dataset:
    """Where the bytes of an open dataset lie, its claims checked against the file's size.

    Raises:
        CheckpointError: What it holds is not a plain array of numbers within this file. What h5py raises itself about
            a damaged file passes through.
    """
    if not isinstance(node, h5py.Dataset):
        raise file.error("no dataset at the tensor's path", name)
    properties = node.id.get_create_plist()
    layout = properties.get_layout()
    # Before the shape is asked for, which can depend on the files of a virtual dataset.
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise file.error("a dataset that lies in other files: refused", name)
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise file.error("a dataset that is neither contiguous nor chunked", name)
    filters = tuple(int(properties.get_filter(index)[0]) for index in range(properties.get_nfilters()))
    if filters not in ((), (_DEFLATE,), (_SHUFFLE,), (_SHUFFLE, _DEFLATE)):
        raise file.error("a dataset through other filters than shuffle and gzip", name, "h5repack -f NONE undoes them")
    dtype = node.dtype
    if dtype.kind not in "biuf" or h5py.h5t.py_create(dtype, logical=True) != node.id.get_type():
        raise file.error("a dtype that is no plain number", name)
    if node.shape is None:
        raise file.error("a dataset without values", name)
    shape = tuple(int(size) for size in node.shape)
    size, stored = file.tensor_bytes(shape, dtype, name), int(node.id.get_storage_size())
    if stored > file.size:
        raise file.error(f"the dataset claims {stored} bytes of a file of {file.size}", name)
    if layout == h5py.h5d.CONTIGUOUS:
        start = node.id.get_offset()
        if size != stored or (size and start is None):
            raise file.error(f"the shape takes {size} bytes, the dataset has {stored}", name)
        whole = (Chunk((0,) * len(shape), int(start), size),) if size else ()
        return Dataset(dtype, shape, whole, None, ())
    file.check_expansion(stored, size, name)
    steps = tuple(int(step) for step in node.chunks)
    return Dataset(dtype, shape, _chunks(file, node, shape, steps, name), steps, filters)


def check_overlap(file: CheckedFile, datasets: Mapping[str, Dataset]) -> None:
    """Refuse datasets that share bytes or lie outside the file."""
    pieces = sorted((chunk.start, chunk.size, name) for name, data in datasets.items() for chunk in data.chunks)
    stop = 0
    for start, size, name in pieces:
        if start < stop:
            raise file.error("the tensor's bytes are also those of another", name)
        stop = start + size
        if stop > file.size:
            raise file.error("the dataset lies outside the file", name)


def read_dataset(file: CheckedFile, dataset: Dataset, name: str) -> NDArray[Any]:
    """The values of a dataset; a view of the file's map where it is contiguous."""
    if dataset.chunk_shape is None:
        pieces = [file.array(chunk.start, chunk.size, "a dataset") for chunk in dataset.chunks]
        return contiguous(pieces[0] if pieces else np.empty(0, np.uint8), dataset.dtype, dataset.shape)
    whole = np.empty(dataset.shape, dataset.dtype)
    for chunk in dataset.chunks:
        block = _decode(file, chunk, dataset, dataset.chunk_shape, name)
        place = tuple(slice(at, at + step) for at, step in zip(chunk.corner, dataset.chunk_shape, strict=True))
        target = whole[place]  # cut off at the tensor's edges, which the chunk may overhang
        target[...] = block[tuple(slice(size) for size in target.shape)]
    return whole if dataset.dtype.isnative else whole.astype(dataset.dtype.newbyteorder("="))


def _chunks(
    file: CheckedFile, node: Any, shape: tuple[int, ...], steps: tuple[int, ...], name: str
) -> tuple[Chunk, ...]:
    """All chunks, one at every corner of the grid; HDF5 fills in for missing ones, a checkpoint has none."""
    infos: list[Any] = []
    node.id.chunk_iter(infos.append)
    if any(info.filter_mask for info in infos):
        raise file.error("a chunk that skips its filters", name)
    chunks = tuple(Chunk(tuple(map(int, info.chunk_offset)), int(info.byte_offset), int(info.size)) for info in infos)
    expected = math.prod(-(-size // step) for size, step in zip(shape, steps, strict=True))
    corners = {chunk.corner for chunk in chunks}
    on_grid = all(
        at % step == 0 and at < size for corner in corners for at, step, size in zip(corner, steps, shape, strict=True)
    )
    if not on_grid or len(chunks) != expected or len(corners) != expected:
        raise file.error("the dataset's chunks do not tile its shape", name)
    return chunks


def _decode(file: CheckedFile, chunk: Chunk, dataset: Dataset, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """One chunk, its filters undone: gzip, then shuffle, which stores all first bytes, all second bytes, ..."""
    size = file.tensor_bytes(shape, dataset.dtype, name)
    data = file.array(chunk.start, chunk.size, "a chunk")
    if _DEFLATE in dataset.filters:
        data = np.frombuffer(file.inflate(data, size, name, wbits=zlib.MAX_WBITS), np.uint8)
    if len(data) != size:
        raise file.error("a chunk is not of the size that its shape takes", name)
    if _SHUFFLE in dataset.filters:
        data = np.ascontiguousarray(data.reshape(dataset.dtype.itemsize, -1).T).reshape(-1)
    array: NDArray[Any] = data.view(dataset.dtype).reshape(shape)
    return array

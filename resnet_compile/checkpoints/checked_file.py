"""A mapped file in which every read is checked against the file's size, and the checks that its readers share."""

from __future__ import annotations

import math
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, TensorInfo
from resnet_compile.checkpoints.mapped import is_file, map_file
from resnet_compile.errors import CheckpointError

HEAD_BYTES = 4096
"""How much of a file's start the `is_...` functions look at."""

MAX_RANK = 32  # numpy 1's limit; numpy 2 allows 64

# A deflate stream cannot expand more than 1032 times (258 bytes from 2 bits), so a larger claim is a lie. Within that,
# trained weights barely compress and only constant tensors come near it; a large one of those is taken for a zip bomb.
_DEFLATE_LIMIT = 1032
_BOMB_RATIO = 100
_BOMB_BYTES = 64 << 20


def printable(text: str) -> str:
    """A name out of a file, made safe for a one-line message: control characters escaped, shortened to 120."""
    escaped = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:121])
    return escaped if len(escaped) <= 120 else escaped[:117] + "..."


def read_head(path: Path) -> bytes:
    """The first `HEAD_BYTES` of a regular file; empty for anything else, a missing file included."""
    if not is_file(path):
        return b""
    try:
        with path.open("rb") as handle:
            return handle.read(HEAD_BYTES)
    except OSError:
        return b""


class CheckedFile:
    """A regular file as a read-only memory map. Arrays viewing it stay valid after `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._view: memoryview | None = map_file(path)
        self.size = len(self._view)
        if self.size == 0:
            raise self.error("the file is empty")

    def error(self, message: str, name: str | None = None, hint: str | None = None) -> CheckpointError:
        """The error to raise about this file, or about the tensor or record `name` in it."""
        where = str(self.path) if name is None else f"{self.path}: {printable(name)}"
        return CheckpointError(message, where=where, hint=hint)

    @property
    def view(self) -> memoryview:
        """All bytes of the file; an error after `close`."""
        if self._view is None:
            raise self.error("the checkpoint is closed")
        return self._view

    def copy(self, start: int, size: int, what: str) -> bytes:
        """A copy of `size` bytes at `start`; `what` names them where they do not lie within the file."""
        self._check(start, size, what)
        return bytes(self.view[start : start + size])

    def array(self, start: int, size: int, what: str) -> NDArray[np.uint8]:
        """A view of `size` bytes at `start`; `what` names them where they do not lie within the file."""
        self._check(start, size, what)
        return np.frombuffer(self.view, np.uint8)[start : start + size]

    def _check(self, start: int, size: int, what: str) -> None:
        if start < 0 or size < 0 or start + size > self.size:
            raise self.error(f"{what} lies outside the file: {size} bytes at {start} of {self.size}")

    def tensor_bytes(self, shape: Sequence[object], dtype: np.dtype[Any], name: str) -> int:
        """Bytes of a tensor of a claimed shape, once that is a list of sizes that numpy can address."""
        if len(shape) > MAX_RANK:
            raise self.error(f"a tensor of {len(shape)} axes", name)
        size = addressable = dtype.itemsize
        for axis in shape:
            if type(axis) is not int or axis < 0:  # bool is an int, and no size
                raise self.error("the shape is not a list of sizes", name)
            size *= axis
            addressable *= max(axis, 1)  # numpy applies its limit with the empty axes left out
        if addressable >= 1 << 63:
            raise self.error("the shape is larger than any memory", name)
        return size

    def check_expansion(self, stored: int, claimed: int, name: str) -> None:
        """Refuse a deflate stream of `stored` bytes that claims more than it can hold, or is a zip bomb."""
        if claimed > _DEFLATE_LIMIT * stored:
            raise self.error(f"{stored} compressed bytes cannot hold the {claimed} that are claimed", name)
        if claimed > _BOMB_BYTES and claimed > _BOMB_RATIO * stored:
            raise self.error(f"{stored} compressed bytes expand to {claimed}: refused as a zip bomb", name)

    def inflate(self, data: NDArray[np.uint8], size: int, name: str, *, wbits: int = -zlib.MAX_WBITS) -> bytes:
        """Decompress a deflate stream that must hold exactly `size` bytes; never allocates more than one byte more."""
        self.check_expansion(len(data), size, name)
        stream = zlib.decompressobj(wbits)
        try:
            plain = stream.decompress(data.data, size + 1)
        except zlib.error as error:
            raise self.error("the compressed data is damaged", name) from error
        if len(plain) != size or not stream.eof or stream.unused_data:
            raise self.error(f"the compressed data does not hold the {size} bytes that are claimed", name)
        return plain

    def close(self) -> None:
        """Let go of the map; it is unmapped with the last array that views it."""
        self._view = None


class MappedCheckpoint(Checkpoint):
    """What the readers of mapped files share: the directory `_infos`, which the subclass fills on opening."""

    def __init__(self, file: CheckedFile) -> None:
        self._file = file
        self._infos: dict[str, TensorInfo] = {}
        self.files = (file.path,)

    @abstractmethod
    def _read(self, name: str) -> NDArray[Any]:
        """The values of a tensor that is in `_infos`."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._infos:
            raise KeyError(name)
        array = self._read(name)
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():  # numpy takes other bytes for undefined
            raise self._file.error("a boolean that is neither 0 nor 1", name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def info(self, name: str) -> TensorInfo:
        """The dtype and shape of a tensor; `KeyError` where there is none."""
        return self._infos[name]

    def close(self) -> None:
        """Let go of the file; arrays handed out stay valid."""
        self._file.close()

    def _add(self, name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        if name in self._infos:
            raise self._file.error("two tensors of one name", name)
        kind = "string" if dtype.kind in "SU" else dtype.name
        self._infos[name] = TensorInfo(kind, tuple(shape))


def contiguous(
    data: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...], *, order: str = "C"
) -> NDArray[Any]:
    """The bytes of a tensor as an array of the machine's own byte order; `data` must hold exactly `shape`."""
    if math.prod(shape) == 0:
        return np.zeros(shape, dtype.newbyteorder("="))
    array: NDArray[Any] = data.view(dtype).reshape(shape, order="F" if order == "F" else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))

"""A memory-mapped file whose every read is checked against its size, and checks that the readers share."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import CheckpointError
from resnet_compile.files import map_file
from resnet_compile.wire import Fail

# Unlike those of `Path`, these are False for an invalid path, and raise nothing.
is_file, is_folder = os.path.isfile, os.path.isdir

HEAD_BYTES = 4096
"""The number of first bytes that the `is_...` functions read."""

AGAIN = "download or copy it again"
"""The hint for a truncated file."""

MAX_JSON = 16 << 20  # a tensor takes about 120 bytes; the bound keeps a file from filling memory with JSON
MAX_RANK = 32  # numpy 1's limit; numpy 2 allows 64

# A deflate stream expands at most 1032 times (258 bytes from 2 bits), so a larger claim is false. Trained weights
# barely compress; a large member that expands by the ratio below is taken for a zip bomb.
_DEFLATE_LIMIT = 1032
_BOMB_RATIO = 100
_BOMB_BYTES = 64 << 20


def fault(path: Path, message: str, name: str | None = None, hint: str | None = None) -> CheckpointError:
    """The error about a file or folder, or about the tensor or record `name` in it."""
    where = _escaped(str(path))
    where = where if name is None else f"{where}: {printable(name)}"
    return CheckpointError(_escaped(message), where=where, hint=hint and _escaped(hint))


def printable(text: str) -> str:
    """Text from a file, made safe for a message: control characters escaped, cut to 120 characters."""
    escaped = _escaped(text[:121])
    return escaped if len(escaped) <= 120 else escaped[:117] + "..."


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


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
    """A regular file, or the bytes `data` of a file within it, as a read-only memory map.

    Arrays that view it stay valid after `close`.

    Raises:
        CheckpointError: The file cannot be read, or is a pipe, a device or a folder.
    """

    def __init__(self, path: Path, data: memoryview | None = None) -> None:
        self.path = path
        self._view: memoryview | None = self._map() if data is None else data
        self.size = len(self._view)

    def _map(self) -> memoryview:
        try:
            return map_file(self.path)
        except FileNotFoundError as error:
            raise self.error("no such file") from error
        except OSError as error:
            raise self.error(f"the file cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise self.error(f"the file cannot be mapped: {error}") from error

    def error(self, message: str, name: str | None = None, hint: str | None = None) -> CheckpointError:
        """The error about this file, or about the tensor or record `name` in it."""
        return fault(self.path, message, name, hint)

    def cut_off(self, whole: str) -> CheckpointError:
        """The error about a truncated file; `whole` is the right size in words."""
        return self.error(f"the file is truncated: {self.size} of {whole} bytes", hint=AGAIN)

    def at(self, name: str) -> Fail:
        """A maker of errors about the tensor or record `name`, for code that does not know the file."""
        return partial(self.error, name=name)

    @property
    def view(self) -> memoryview:
        """All bytes of the file; raises after `close`."""
        if self._view is None:
            raise self.error("the checkpoint is closed")
        return self._view

    def part(self, start: int, size: int, what: str) -> memoryview:
        """A view of `size` bytes at `start`; raises an error about `what` if they are not within the file."""
        if start < 0 or size < 0 or start + size > self.size:
            raise self.error(f"{what} is outside the file: {size} bytes at {start} of {self.size}")
        return self.view[start : start + size]

    def copy(self, start: int, size: int, what: str) -> bytes:
        """A copy of the bytes; errors as for `part`."""
        return bytes(self.part(start, size, what))

    def array(self, start: int, size: int, what: str) -> NDArray[np.uint8]:
        """The bytes as an array over the map; errors as for `part`."""
        return np.frombuffer(self.part(start, size, what), np.uint8)

    def tensor_bytes(self, shape: Sequence[object], dtype: np.dtype[Any], name: str) -> int:
        """Bytes of a tensor of a claimed shape; raises if that is not a list of sizes that numpy can address."""
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

    def json(self, text: bytes) -> dict[str, Any]:
        """The JSON object in a text of the file. A duplicate key is an error; `json` would take the last."""

        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            values = dict(pairs)
            if len(values) != len(pairs):
                twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
                raise self.error("the JSON header has a name twice", twice)
            return values

        try:
            value = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
            raise self.error("the JSON header cannot be parsed") from error
        if not isinstance(value, dict):
            raise self.error("the JSON header is not an object")
        return value

    def check_expansion(self, stored: int, claimed: int, name: str) -> None:
        """Refuses a deflate stream of `stored` bytes that claims more than it can hold, or is a zip bomb."""
        if claimed > _DEFLATE_LIMIT * stored:
            raise self.error(f"{stored} compressed bytes cannot hold the claimed {claimed}", name)
        if claimed > _BOMB_BYTES and claimed > _BOMB_RATIO * stored:
            raise self.error(f"{stored} compressed bytes expand to {claimed}: refused as a zip bomb", name)

    def inflate(self, data: NDArray[np.uint8], size: int, name: str, *, wbits: int = -zlib.MAX_WBITS) -> bytes:
        """Decompresses a deflate stream that must hold exactly `size` bytes; allocates at most one byte more."""
        self.check_expansion(len(data), size, name)
        stream = zlib.decompressobj(wbits)
        try:
            plain = stream.decompress(data.data, size + 1)
        except zlib.error as error:
            raise self.error("the compressed data is damaged", name) from error
        if len(plain) != size or not stream.eof or stream.unused_data:
            raise self.error(f"the compressed data does not hold the claimed {size} bytes", name)
        return plain

    def close(self) -> None:
        """Releases the map; it is unmapped with the last array that views it."""
        self._view = None


def contiguous(
    data: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...], *, order: str = "C"
) -> NDArray[Any]:
    """The bytes of a tensor as an array in native byte order; `data` must hold exactly `shape`."""
    if math.prod(shape) == 0:
        return np.zeros(shape, dtype.newbyteorder("="))
    array: NDArray[Any] = data.view(dtype).reshape(shape, order="F" if order == "F" else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))

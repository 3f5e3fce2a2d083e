"""The base of all checkpoint readers: a read-only mapping from tensor names to arrays, read lazily."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.checked_file import CheckedFile


@dataclass(frozen=True, slots=True)
class StoredInfo:
    """The type of one stored tensor.

    Attributes:
        dtype: numpy's name, ``bfloat16`` (by ml_dtypes) or ``string``.
        place: Equal for tensors that share their values in the file; None if unknown.
    """

    dtype: str
    shape: tuple[int, ...]
    place: object = None

    @property
    def nbytes(self) -> int | None:
        """Bytes of the values as an array; None for strings, whose lengths are unknown before reading."""
        if self.dtype == "string":
            return None
        return math.prod(self.shape) * dtype_of(self.dtype).itemsize


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a name of numpy or ml_dtypes, little-endian as all formats store numbers."""
    return np.dtype(getattr(ml_dtypes, name, None) or np.dtype(name).newbyteorder("<").str)


def numbered(names: str, first: int = 0) -> dict[int, np.dtype[Any]]:
    """The dtypes of a format's enumeration by number, from their names in its order; ``-`` has no dtype."""
    return {number: dtype_of(name) for number, name in enumerate(names.split(), first) if name != "-"}


AVERAGE = "/ExponentialMovingAverage"
"""The end of a moving average's name, after the variable's, as TensorFlow's own class names them."""

QUANTISED = "quantised"
"""The kind of an unread tensor of quantised weights, which need a scale."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A tensor that is listed but not read.

    Attributes:
        kind: What it is, as in "the tensor is sparse".
        advice: How to save it so that it can be read; None for a kind that no weights have.
    """

    kind: str
    shape: tuple[int, ...] = ()
    advice: str | None = None


class Checkpoint(Mapping[str, NDArray[Any]]):
    """A checkpoint of one or more files, as a mapping from tensor name to array.

    Opening it reads and checks the directory of tensors. Looking up a name reads the tensor's values, and verifies
    their checksum if the format has one. Arrays may be read-only views of a memory map; they outlive the checkpoint.
    Names iterate in the file's order. Damage raises `CheckpointError`, at opening or at look-up; an unknown name raises
    `KeyError`. Nothing else is raised.

    A reader opens its files, adds each tensor with `_add`, and returns the values from `_read`.

    Args:
        files: The files; the first is the one that was named, or stands for all.

    Attributes:
        format: The format's name, as `resnet-inspect` prints it.
        is_graph: Whether it is a graph, in which integers are arguments of operators, such as axes and paddings.
        config: The `config.json` beside it, in a hub's folder; else None.
        preprocessor: The `preprocessor_config.json` beside it, in a hub's folder; else None.
        objects: Classes and functions of other programs that the file names.
        warnings: Warnings for users who give the file to another program.
        unread: The tensors that are listed but not read, by name. They are not in the mapping; looking one up raises a
            `CheckpointError` that says what to do.
        class_names: The names of the classes in order, if the file has them.
        facts: Facts about the file by title, such as the version of its writer.
        notes: Notes on the names: that they are guessed, or missing.
    """

    format: ClassVar[str]
    is_graph: ClassVar[bool] = False
    config: Mapping[str, Any] | None = None
    preprocessor: Mapping[str, Any] | None = None
    objects: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    def __init__(self, *files: CheckedFile) -> None:
        self._file = files[0]
        self._files = list(files)
        self._infos: dict[str, StoredInfo] = {}
        self.unread: dict[str, Unread] = {}
        self.facts: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files read, in the order of opening."""
        return tuple(file.path for file in self._files)

    @abstractmethod
    def _read(self, name: str) -> NDArray[Any]:
        """The values of an added tensor."""

    def _add(self, name: str, shape: Sequence[int], dtype: np.dtype[Any], place: object = None) -> None:
        self._require_new(name)
        self._infos[name] = StoredInfo(type_name(dtype), tuple(shape), place)

    def _list(self, name: str, unread: Unread) -> None:
        self._require_new(name)
        self.unread[name] = unread

    def _require_new(self, name: str) -> None:
        if name in self._infos or name in self.unread:
            raise self._file.error("two tensors have the same name", name)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if unread := self.unread.get(name):
            raise self._file.error(f"the tensor is {unread.kind}, which is not supported", name, unread.advice)
        if name not in self._infos:
            raise KeyError(name)
        _ = self._file.view  # raises after `close`, even if the reader still holds the values
        array = self._read(name)
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():  # numpy takes other bytes for undefined
            raise self._file.error("a boolean is neither 0 nor 1", name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __contains__(self, name: object) -> bool:
        return name in self._infos  # `Mapping` would read the values

    def info(self, name: str) -> StoredInfo:
        """The dtype and shape of a tensor, without reading its values; raises `KeyError` for an unknown name."""
        return self._infos[name]

    def digests(self) -> str:
        """The SHA-256 of the file; for several files, a JSON object of digests by file name."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            sums = pool.map(lambda file: hashlib.sha256(file.view).hexdigest(), self._files)
            digests = dict(zip((path.name for path in self.files), sums, strict=True))
        return next(iter(digests.values())) if len(digests) == 1 else json.dumps(digests)

    def close(self) -> None:
        """Release the files; arrays handed out stay valid."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@functools.cache
def type_name(dtype: np.dtype[Any]) -> str:
    """The name of a dtype in `StoredInfo`."""
    return "string" if dtype.kind in "OSU" else dtype.name

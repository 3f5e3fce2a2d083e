"""What the value of a pickle is made of, beside dicts, lists, tuples, strings and numbers: data that cannot act."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Unread

_MAX_AXES = 64  # PyTorch's own limit
_MAX_TEXT = 1024  # of a byte string that is read as text, again wherever the pickle refers to it


class PickleError(Exception):
    """The pickle is damaged or asks for too much. Becomes a `CheckpointError`."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function in the pickle that is not in `names.GLOBALS`: only its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Record:
    """An object of a class that is not known, as what its pickle says of it.

    Attributes:
        function: What would be called for it.
        arguments: With what.
        states: What its attributes would be set from.
        items: What it holds as a mapping.
        elements: What it holds as a list or set.
    """

    function: Name | Record
    arguments: tuple[Any, ...]
    states: list[Any] = field(default_factory=list)
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    @property
    def called(self) -> str:
        """The function's name; empty where that is itself an object."""
        return str(self.function) if isinstance(self.function, Name) else ""


@dataclass(frozen=True, slots=True)
class StorageType:
    """A storage class: `itemsize` of its elements, and their dtype, None for bytes and for what numpy has not."""

    dtype: np.dtype[Any] | None
    itemsize: int = 1


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage by its key, with `count` elements from `start` on; unchecked."""

    key: str
    kind: StorageType
    count: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class TensorView:
    """A view of a storage as the pickle claims it, unchecked; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True, eq=False)
class ArrayType:
    """A dtype of numpy, as its pickle makes it: a code such as ``f4``, then the byte order."""

    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype; None for one that is no plain number."""
        return np.dtype(f"{'>' if self.order == '>' else '<'}{self.code}") if self.code in _PLAIN else None

    def build(self, state: object) -> None:
        """Take in the rest of it: a version, the byte order, and what only other dtypes have."""
        if not isinstance(state, tuple) or len(state) < 2:
            raise PickleError("a numpy dtype is not described as numpy describes one")
        self.order = text(state[1])


_PLAIN = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])


@dataclass(slots=True, eq=False)
class Array:
    """An array of numpy, whose bytes are in the pickle; its dtype is None until it is built, or for objects."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    order: Literal["C", "F"] = "C"
    raw: Any = None

    def build(self, state: object) -> None:
        """Take in what it holds: a version, the shape, the dtype, whether in Fortran's order, and the bytes."""
        match state:
            case (int(), tuple() as shape, ArrayType() as kind, fortran, raw):
                self.shape, self.dtype = naturals(shape), kind.dtype
                self.order, self.raw = ("F" if fortran else "C"), raw
            case _:
                raise PickleError("a numpy array is not described as numpy describes one")

    @property
    def held(self) -> int:
        """The number of bytes that are there."""
        raw = _plain(self.raw)
        return -1 if raw is None else len(raw)

    def values(self) -> NDArray[np.uint8]:
        raw = _plain(self.raw)
        try:
            return np.frombuffer(raw.encode("latin-1") if isinstance(raw, str) else raw or b"", np.uint8)
        except UnicodeEncodeError as error:
            raise PickleError("the data of a numpy array is not bytes") from error


def _plain(raw: object) -> memoryview | str | None:
    """The bytes of a byte string, or the text of Latin-1 characters as which protocols before 3 write one."""
    if isinstance(raw, Record) and raw.called == "_codecs.encode" and raw.arguments[1:] == ("latin1",):
        raw = raw.arguments[0]
    elif isinstance(raw, Record) and raw.called in ("__builtin__.bytes", "builtins.bytes") and not raw.arguments:
        raw = ""
    return raw if isinstance(raw, memoryview | str) else None


def text(value: object) -> str:
    """A string, which Python 2 writes as bytes."""
    if isinstance(value, memoryview) and len(value) <= _MAX_TEXT:
        return str(value, "latin-1")
    if not isinstance(value, str):
        raise PickleError("the pickle has no string where one is required")
    return value


def naturals(values: object) -> tuple[int, ...]:
    """Offset, shape or strides."""
    if isinstance(values, tuple | list) and len(values) > _MAX_AXES:  # one of millions could be given again and again
        raise PickleError(f"a tensor of {len(values)} axes")
    if not isinstance(values, tuple | list) or not {int}.issuperset(map(type, values)) or min(values, default=0) < 0:
        raise PickleError("a tensor's offset, shape or strides are not natural numbers")
    return tuple(values)


def place(tensor: TensorView | Array | Unread) -> object:
    """What is equal for tensors that are the same elements of a file; None where that is not known."""
    if isinstance(tensor, TensorView) and 0 not in tensor.shape:
        return tensor.storage.key, tensor.offset, tensor.dtype, tensor.shape, tensor.strides
    return None

"""The parts of a pickle's value beside dicts, lists, tuples, strings and numbers; they are data, and run no code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Unread, numbered

SCALAR_TYPES = {
    **numbered("uint8 int8 int16 int32 int64 float16 float32 float64 - complex64 complex128 bool bfloat16", first=1),
    **numbered("uint16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu", first=28),
    **numbered("uint32 uint64", first=34),
}
"""The dtypes by PyTorch's ``ScalarType`` in `torch.export`; PyTorch and numpy have the same names for them."""

_PLAIN = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])
_OBJECTS = np.dtype(object)
_MAX_AXES = 64  # PyTorch's own limit
_MAX_TEXT = 1024  # of a byte string that is read as text, once for each reference to it


class PickleError(Exception):
    """The pickle is damaged or asks for too much. Becomes a `CheckpointError`."""


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a class or function in the pickle that `names` does not know."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Record:
    """An object of an unknown class: the function that an unpickler would call for it, and that call's arguments.

    It would set the attributes from `states`, and has `items` as a mapping and `elements` as a list or set.
    """

    function: Name | Record
    arguments: tuple[Any, ...]
    states: list[Any] = field(default_factory=list)
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    @property
    def called(self) -> str:
        """The function's name; empty if the function is an object itself."""
        return str(self.function) if isinstance(self.function, Name) else ""


@dataclass(frozen=True, slots=True)
class StorageType:
    """A storage class: the `itemsize` of its elements, and their dtype; None for bytes and types that numpy lacks."""

    dtype: np.dtype[Any] | None
    itemsize: int = 1


@dataclass(frozen=True, slots=True)
class Storage:
    """An unchecked storage: its key, and `count` elements from `start` on."""

    key: str
    kind: StorageType
    count: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class TensorView:
    """An unchecked view of a storage; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True, eq=False)
class ArrayType:
    """A dtype of numpy in a pickle: a code such as ``f4``, and the byte order."""

    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype; that of objects for any that is not of plain numbers."""
        return np.dtype(f"{'>' if self.order == '>' else '<'}{self.code}" if self.code in _PLAIN else _OBJECTS)

    def build(self, state: object) -> None:
        """Sets the state of the pickled dtype: a version, the byte order, and fields of other dtypes."""
        if not isinstance(state, tuple) or len(state) < 2:
            raise PickleError("a numpy dtype is not described as numpy describes one")
        self.order = text(state[1])


@dataclass(slots=True, eq=False)
class Array:
    """An array of numpy with its bytes in the pickle; one of objects before `build`."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = _OBJECTS
    order: Literal["C", "F"] = "C"
    raw: Any = None

    def build(self, state: object) -> None:
        """Sets the state of the pickled array: a version, the shape, the dtype, whether in Fortran order, the bytes."""
        match state:
            case (int(), tuple() as shape, ArrayType() as kind, fortran, raw):
                self.shape, self.dtype = naturals(shape), kind.dtype
                self.order, self.raw = ("F" if fortran else "C"), raw
            case _:
                raise PickleError("a numpy array is not described as numpy describes one")

    @property
    def held(self) -> int:
        """The number of stored bytes; -1 for other data."""
        raw = _plain(self.raw)
        return -1 if raw is None else len(raw)

    def values(self) -> NDArray[np.uint8]:
        raw = _plain(self.raw)
        try:
            return np.frombuffer(raw.encode("latin-1") if isinstance(raw, str) else raw or b"", np.uint8)
        except UnicodeEncodeError as error:
            raise PickleError("the data of a numpy array is not bytes") from error


def _plain(raw: object) -> memoryview | str | None:
    """The bytes of a byte string, or the Latin-1 text in which protocols before 3 write it; None for other data."""
    if isinstance(raw, Record) and raw.called == "_codecs.encode" and raw.arguments[1:] == ("latin1",):
        raw = raw.arguments[0]
    elif isinstance(raw, Record) and raw.called in ("__builtin__.bytes", "builtins.bytes") and not raw.arguments:
        raw = ""
    return raw if isinstance(raw, memoryview | str) else None


def text(value: object) -> str:
    """A string; Python 2 writes it as bytes."""
    if isinstance(value, memoryview) and len(value) <= _MAX_TEXT:
        return str(value, "latin-1")
    if not isinstance(value, str):
        raise PickleError("the pickle has no string where one is required")
    return value


def naturals(values: object) -> tuple[int, ...]:
    """An offset, shape or strides; raises unless all are natural numbers."""
    if isinstance(values, tuple | list) and len(values) > _MAX_AXES:  # a shape of millions could be referred to often
        raise PickleError(f"a tensor of {len(values)} axes")
    if not isinstance(values, tuple | list) or not {int}.issuperset(map(type, values)) or min(values, default=0) < 0:
        raise PickleError("a tensor's offset, shape or strides are not natural numbers")
    return tuple(values)


def place(tensor: TensorView | Array | Unread) -> object:
    """A value that is equal for tensors of the same elements in a file; None if that is unknown."""
    if isinstance(tensor, TensorView) and 0 not in tensor.shape:
        return tensor.storage.key, tensor.offset, tensor.dtype, tensor.shape, tensor.strides
    return None

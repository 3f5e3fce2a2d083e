"""The closed list of names that the pickle of a PyTorch file may use, each with our own description or code for it.

Sources: PyTorch's `torch/_utils.py` (the `_rebuild_...` functions and their arguments), `torch/storage.py` and
`torch/serialization.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np

from resnet_compile.checkpoints.checked_file import printable


class PickleError(Exception):
    """The pickle is damaged, or asks for something outside the closed list. Becomes a `CheckpointError`."""


@dataclass(frozen=True, slots=True)
class StorageType:
    """A storage class: `dtype` of its elements, None for one counted in bytes."""

    dtype: np.dtype[Any] | None


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage by the key of its record, with `count` elements of `dtype` (bytes where that is None)."""

    key: str
    dtype: np.dtype[Any] | None
    count: int


@dataclass(frozen=True, slots=True)
class TensorView:
    """A view of a storage as the pickle claims it, unchecked; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Constructor:
    """One callable of the closed list: `build` is our own code for it."""

    build: Callable[[tuple[Any, ...]], object]


def _tensor(args: tuple[Any, ...], dtype: np.dtype[Any] | None, metadata: object) -> TensorView:
    storage, offset, shape, strides = args
    if not isinstance(storage, Storage):
        raise PickleError("a tensor without a storage")
    dtype = storage.dtype if dtype is None else dtype
    if dtype is None:
        raise PickleError("a tensor without a dtype")
    if metadata:  # its only content that is known: the view is conjugated or negated when read
        raise PickleError("a tensor that is a conjugated or negated view")
    (start,) = _naturals((offset,))
    return TensorView(storage, dtype, start, _naturals(shape), _naturals(strides))


def _naturals(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or any(type(value) is not int or value < 0 for value in values):
        raise PickleError("a tensor's offset, shape or strides are not natural numbers")
    return tuple(values)


def _rebuild_tensor(args: tuple[Any, ...]) -> TensorView:
    if len(args) != 4:
        raise PickleError("_rebuild_tensor takes 4 arguments")
    return _tensor(args, None, None)


def _rebuild_tensor_v2(args: tuple[Any, ...]) -> TensorView:
    if len(args) not in (6, 7):  # storage, offset, shape, strides, requires_grad, hooks, metadata
        raise PickleError("_rebuild_tensor_v2 takes 6 or 7 arguments")
    return _tensor(args[:4], None, args[6] if len(args) == 7 else None)


def _rebuild_tensor_v3(args: tuple[Any, ...]) -> TensorView:
    if len(args) not in (7, 8) or not isinstance(args[6], np.dtype):  # as v2, with the dtype before the metadata
        raise PickleError("_rebuild_tensor_v3 takes 7 or 8 arguments, the seventh a dtype")
    return _tensor(args[:4], args[6], args[7] if len(args) == 8 else None)


def _rebuild_parameter(args: tuple[Any, ...]) -> TensorView:
    if len(args) not in (3, 4) or not isinstance(args[0], TensorView):  # tensor, requires_grad, hooks, attributes
        raise PickleError("a parameter that wraps no tensor")
    return args[0]


def _ordered_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    if args:
        raise PickleError("an OrderedDict built from arguments")
    return {}


def _size(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) != 1 or not isinstance(args[0], tuple):
        raise PickleError("a torch.Size that is no tuple")
    return args[0]


def _device(args: tuple[Any, ...]) -> None:
    """A device means nothing here."""


_ELEMENTS: dict[str, tuple[str, np.dtype[Any]]] = {  # storage class, dtype name, the numpy dtype; all little-endian
    "DoubleStorage": ("float64", np.dtype("<f8")),
    "FloatStorage": ("float32", np.dtype("<f4")),
    "HalfStorage": ("float16", np.dtype("<f2")),
    "BFloat16Storage": ("bfloat16", np.dtype(ml_dtypes.bfloat16)),
    "LongStorage": ("int64", np.dtype("<i8")),
    "IntStorage": ("int32", np.dtype("<i4")),
    "ShortStorage": ("int16", np.dtype("<i2")),
    "CharStorage": ("int8", np.dtype("i1")),
    "ByteStorage": ("uint8", np.dtype("u1")),
    "BoolStorage": ("bool", np.dtype(np.bool_)),
    "ComplexFloatStorage": ("complex64", np.dtype("<c8")),
    "ComplexDoubleStorage": ("complex128", np.dtype("<c16")),
}
_STORAGELESS: dict[str, np.dtype[Any]] = {  # dtypes without a storage class of their own
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
}
_GLOBALS: MappingProxyType[tuple[str, str], object] = MappingProxyType(
    {
        ("collections", "OrderedDict"): Constructor(_ordered_dict),
        ("torch", "Size"): Constructor(_size),
        ("torch", "device"): Constructor(_device),
        ("torch._utils", "_rebuild_tensor"): Constructor(_rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): Constructor(_rebuild_tensor_v2),
        ("torch._utils", "_rebuild_tensor_v3"): Constructor(_rebuild_tensor_v3),
        ("torch._utils", "_rebuild_parameter"): Constructor(_rebuild_parameter),
        ("torch._utils", "_rebuild_parameter_with_state"): Constructor(_rebuild_parameter),
        ("torch.storage", "UntypedStorage"): StorageType(None),
        **{("torch", name): StorageType(dtype) for name, (_, dtype) in _ELEMENTS.items()},
        **{("torch", name): dtype for name, dtype in _ELEMENTS.values()},
        **{("torch", name): dtype for name, dtype in _STORAGELESS.items()},
    }
)


def named(module: object, name: object) -> object:
    """What a name of the closed list stands for. The lookup is by the whole name: no attribute is ever followed."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise PickleError("the pickle names something by other than two strings")
    if (module, name) not in _GLOBALS:
        raise PickleError(f"the pickle names {printable(f'{module}.{name}')}, which is not on the closed list: refused")
    return _GLOBALS[module, name]


def construct(function: object, arguments: object) -> object:
    """What calling one of the closed list gives."""
    if not isinstance(function, Constructor) or not isinstance(arguments, tuple):
        raise PickleError("the pickle calls something that is no function of the closed list: refused")
    return function.build(arguments)


def stored(identity: object) -> Storage:
    """A persistent id: ("storage", storage class, key, device, number of elements)."""
    match identity:
        case ("storage", StorageType() as kind, str() as key, str(), int() as count) if type(count) is int:
            return Storage(key, kind.dtype, count)
        case _:
            raise PickleError("a storage is not described as PyTorch describes one")

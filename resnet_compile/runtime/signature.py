"""The inputs and outputs of a model, and checks of a caller's arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import OptionError

_DTYPES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a model.

    Attributes:
        name: Its name in the graph.
        dtype: Its type by NumPy's name, such as ``float32``; by onnxruntime's if NumPy has no such type.
        shape: For each axis a number, a symbol or None.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def empty(self) -> NDArray[Any]:
        """An array of this type and shape; raises `OptionError` unless the shape is fixed."""
        sides = [axis for axis in self.shape if isinstance(axis, int)]
        if len(sides) < len(self.shape):
            raise OptionError(f"the shape of {self} is not fixed")
        return np.empty(sides, self.dtype)

    def __str__(self) -> str:
        axes = ", ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} {self.dtype}[{axes}]"


def tensors(values: Sequence[Any]) -> Mapping[str, TensorInfo]:
    """onnxruntime's inputs or outputs, by name and in order."""

    def info(value: Any) -> TensorInfo:
        element = re.fullmatch(r"tensor\((\w+)\)", value.type)
        word = element[1] if element else value.type
        return TensorInfo(value.name, _DTYPES.get(word, word), tuple(value.shape))

    return MappingProxyType({value.name: info(value) for value in values})


def by_name(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values; raises `OptionError` unless they are a mapping."""
    if not isinstance(values, Mapping):
        raise OptionError(f"arrays and names must be a mapping by name, got {type(values).__name__}")
    return values


def known_outputs(outputs: Mapping[str, TensorInfo], names: Iterable[str]) -> list[str]:
    """The names of outputs to compute; raises `OptionError` for an unknown one."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise OptionError(f"outputs must be a list of names, got {names!r}")
    wanted = list(names)
    for name in wanted:
        if name not in outputs:
            raise OptionError(f"the model has no output {name!r}", hint=f"it has {', '.join(outputs)}")
    return wanted


def check_inputs(infos: Mapping[str, TensorInfo], inputs: Mapping[str, NDArray[Any]]) -> None:
    """Checks that arrays are exactly the model's inputs.

    Raises:
        OptionError: An input does not exist, is missing, is not an array, or has another type or shape.
    """
    for name in (*infos, *by_name(inputs)):
        if name not in inputs:
            raise OptionError(f"input {name!r} is missing")
        if name not in infos:
            raise OptionError(f"the model has no input {name!r}", hint=f"it has {', '.join(infos)}")
    for name, info in infos.items():
        array = inputs[name]
        if not isinstance(array, np.ndarray | np.generic):
            raise OptionError(f"input {name!r} must be a NumPy array, got {type(array).__name__}")
        fits = len(array.shape) == len(info.shape) and all(
            size == axis or not isinstance(axis, int) for size, axis in zip(array.shape, info.shape, strict=True)
        )
        if array.dtype.name != info.dtype or not fits:
            given = TensorInfo(name, array.dtype.name, array.shape)
            raise OptionError(f"the input must be {info}, got {given}")

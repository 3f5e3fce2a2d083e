"""Weights of a model: tensors of the file, and values that nodes compute from them alone.

Nothing is computed before its shape is known to match a parameter, so a small file cannot cause large arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, OnnxNode

Values = Callable[[], NDArray[Any]]

# How many nodes stand before one another.
_DEEP = 32
# TensorProto.DataType of onnx.proto: float32, float16, float64 and bfloat16.
FLOATS = frozenset({1, 10, 11, 16})


@dataclass(frozen=True, slots=True)
class WeightTensor:
    """A tensor of a model: its shape, and what gives its values in float64."""

    shape: tuple[int, ...]
    compute: Values


@dataclass
class StoredWeights:
    """The tensors of a model by name.

    Attributes:
        source: The file.
        makers: The node that makes each value.
        integers: Gives the whole numbers of a small constant.
    """

    source: OnnxCheckpoint
    makers: Mapping[str, OnnxNode]
    integers: Callable[[str], tuple[int, ...] | None]
    _known: dict[str, WeightTensor | None] = field(default_factory=dict)

    def find(self, name: str, depth: int = 0) -> WeightTensor | None:
        """The tensor of a name; None if it depends on the image, or is computed by an unsupported operator."""
        if name not in self._known:
            self._known[name] = None  # a value that depends on itself is not a tensor
            self._known[name] = self._found(name, depth)
        return self._known[name]

    def _found(self, name: str, depth: int) -> WeightTensor | None:
        if name in self.source:
            return WeightTensor(self.source.info(name).shape, partial(_read, self.source, name))
        node = self.makers.get(name)
        if node is None or not node.inputs or depth == _DEEP:
            return None
        if node.operator == "ConstantOfShape":
            shape, value = self.integers(node.inputs[0]), node.floats.get("value", 0.0)
            return WeightTensor(shape, partial(np.full, shape, value)) if shape and min(shape) > 0 else None
        inner = self.find(node.inputs[0], depth + 1) if node.operator in _KEPT else None
        if inner is None:
            return None
        if node.operator == "Transpose":
            order = node.ints.get("perm", tuple(reversed(range(len(inner.shape)))))
            if sorted(order) != list(range(len(inner.shape))):
                return None
            return WeightTensor(tuple(inner.shape[axis] for axis in order), partial(_transposed, inner.compute, order))
        return inner if node.operator == "Identity" or node.ints.get("to", (0,))[0] in FLOATS else None


_KEPT = frozenset({"Cast", "Identity", "Transpose"})


def _read(source: OnnxCheckpoint, name: str) -> NDArray[Any]:
    return np.asarray(source[name], np.float64)


def _transposed(values: Values, order: tuple[int, ...]) -> NDArray[Any]:
    return values().transpose(order)

"""Small constants of a model, which exporters compute by nodes that read no image, such as the amounts of a Pad."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, OnnxNode

# More numbers than any shape, border or bound has.
_SMALL = 64
# How many nodes stand before one another; exporters write about ten for a Pad.
_DEEP = 32
# TensorProto.DataType of onnx.proto.
_CAST: Mapping[int, type] = {1: np.float32, 6: np.int32, 7: np.int64, 11: np.float64}


@dataclass
class Constants:
    """The small constants of a model, each computed once, when it is asked for.

    Attributes:
        source: The file.
        makers: The node that makes each value.
    """

    source: OnnxCheckpoint
    makers: Mapping[str, OnnxNode]
    _known: dict[str, NDArray[Any] | None] = field(default_factory=dict)

    def array(self, name: str, depth: int = 0) -> NDArray[Any] | None:
        """The numbers of a value; None if it is not a small constant."""
        if name not in self._known:
            self._known[name] = None  # a value that depends on itself is not a constant
            self._known[name] = self._found(name, depth)
        return self._known[name]

    def _found(self, name: str, depth: int) -> NDArray[Any] | None:
        if name in self.source.numbers:
            return np.array(self.source.numbers[name])
        if name in self.source:
            info = self.source.info(name)
            small = math.prod(info.shape) <= _SMALL and info.dtype != "string"
            return np.asarray(self.source[name]) if small else None
        node = self.makers.get(name)
        if node is None or node.operator not in _RULES or depth == _DEEP:
            return None
        inputs = [self.array(each, depth + 1) for each in node.inputs]
        known = [each for each in inputs if each is not None]
        if len(known) < len(inputs):
            return None
        try:
            made = _RULES[node.operator](node, known)
        except (
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            OverflowError,
        ):  # numpy's, for what onnxruntime would refuse too
            return None
        return made if made.size <= _SMALL else None


def _cast(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if node.ints["to"][0] not in _CAST:
        raise ValueError("another type than numbers of a shape have")
    return inputs[0].astype(_CAST[node.ints["to"][0]])


def _concat(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(inputs, node.ints["axis"][0])


def _constant_of_shape(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if math.prod(inputs[0].tolist()) > _SMALL:
        raise ValueError("more numbers than a small constant has")
    whole = float(node.floats.get("value", 0.5)).is_integer()
    return np.full(inputs[0], node.floats.get("value", 0.0), np.int64 if whole else np.float32)


def _gather(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.asarray(np.take(inputs[0], inputs[1], node.ints.get("axis", (0,))[0]))


def _reshape(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return inputs[0].reshape(inputs[1])


def _slice(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Along one axis; ends are cut to what is there, and one before the first index means all of them backwards."""
    data, starts, ends, axes, steps = inputs
    start, end, axis, step = (int(each.item()) for each in (starts, ends, axes, steps))
    side = data.shape[axis]
    stop = None if step < 0 and end < -side else end
    return data[(slice(None),) * (axis % data.ndim) + (slice(start, stop, step),)]


def _transpose(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return inputs[0].transpose(node.ints.get("perm"))


def _unsqueeze(node: OnnxNode, inputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
    axes = node.ints["axes"] if "axes" in node.ints else tuple(inputs[1].tolist())
    return np.expand_dims(inputs[0], axes)


_RULES: Mapping[str, Callable[[OnnxNode, Sequence[NDArray[Any]]], NDArray[Any]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Gather": _gather,
    "Identity": lambda node, inputs: inputs[0],
    "Reshape": _reshape,
    "Slice": _slice,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

"""Matches activations of the model with the plan's: each is a max and min with constants, or one slope below zero."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan import layers
from resnet_compile.weights.structure.model import ATTRIBUTE, NO_WORD, Counterpart, Place, Walk, Wanted
from resnet_compile.weights.structure.walk import takers

_LARGEST = float(np.finfo(np.float32).max)
# Slopes of a PRelu are one for each channel at most.
_MOST_SLOPES = 1 << 17
ACTIVATIONS = ("Clip", "LeakyRelu", "Max", "Min", "PRelu", "Relu")
"""Operators that can be an activation."""


@dataclass(frozen=True, slots=True)
class _Clamp:
    """min(max(x, low), high)."""

    low: float
    high: float

    def then(self, other: _Clamp) -> _Clamp:
        """Both, one after the other."""
        low, high = (min(max(bound, other.low), other.high) for bound in (self.low, self.high))
        return _Clamp(low, high)


_Kind = _Clamp | layers.LeakyRelu
_RELU, _RELU6 = _Clamp(0.0, math.inf), _Clamp(0.0, 6.0)


def activated(
    model: Walk, activation: layers.Activation | None, steps: Iterator[Counterpart], scope: str
) -> Iterator[Counterpart]:
    """The steps after an activation; the same steps if there is none."""
    if activation is None:
        yield from steps
        return
    target = _of_plan(activation)
    wanted = Wanted(scope, f"the activation {_in_words(target)}")
    for step in steps:
        for node, here in takers(model, step, wanted, *ACTIVATIONS):
            kind = _of_node(model, node, here)
            behind = step.on(_behind(here, node, target), node)
            if kind == target:
                yield behind
                continue
            said = f"is {_in_words(kind)}" if kind else "is no activation of constants"
            model.note(
                step,
                wanted,
                node,
                f"{said}, the spec has {_in_words(target)}",
                _advice(model, kind),
                closeness=ATTRIBUTE,
            )
            if isinstance(kind, _Clamp):
                for second, there in takers(model, behind, None, *ACTIVATIONS):
                    other = _of_node(model, second, there)
                    if isinstance(other, _Clamp) and kind.then(other) == target:
                        yield behind.on(_behind(there, second, target), second)


def activation_of(model: Walk, node: OnnxNode, here: Place) -> layers.Activation | None:
    """The activation that a node is, or the half of one that two nodes make; None for any other."""
    kind = _of_node(model, node, here)
    if isinstance(kind, layers.LeakyRelu) and 0 < kind.slope < 1:
        return layers.LeakyRelu(digits(kind.slope))
    if isinstance(kind, _Clamp) and kind.high == _RELU6.high:
        return layers.Relu6()
    return layers.Relu() if kind == _RELU else None


def _behind(here: Place, node: OnnxNode, target: _Kind) -> Place:
    return replace(here, value=node.outputs[0], nonnegative=isinstance(target, _Clamp))


def _of_plan(activation: layers.Activation) -> _Kind:
    match activation:
        case layers.Relu():
            return _RELU
        case layers.Relu6():
            return _RELU6
        case layers.LeakyRelu(slope):
            return _leaky(slope)


def _leaky(slope: float) -> _Kind:
    """A leaky ReLU with the slope rounded to float32; slope 0 is a ReLU."""
    return layers.LeakyRelu(float(np.float32(slope))) if slope else _RELU


def _of_node(model: Walk, node: OnnxNode, here: Place) -> _Kind | None:
    """The activation of a node; None if it is no activation, or not the same for all channels."""
    if here.border:
        return None
    match node.operator:
        case "Relu":
            return _RELU
        case "LeakyRelu":
            return _leaky(node.floats.get("alpha", 0.01))
        case "PRelu":
            shape = model.shape(node, 1)
            if shape is None or not 0 < math.prod(shape) <= _MOST_SLOPES or len(shape) > len(here.axes):
                return None
            slopes = model.values(node, 1)()
            return _leaky(float(slopes.flat[0])) if (slopes == slopes.flat[0]).all() else None
        case "Clip":
            return _clip(model, node)
        case _:
            return _extreme(model, node, here)


def _clip(model: Walk, node: OnnxNode) -> _Kind | None:
    bounds = [node.floats.get("min", -math.inf), node.floats.get("max", math.inf)]
    for index in (1, 2):
        if model.has(node, index):
            numbers = model.numbers(node.inputs[index])
            if numbers is None or len(numbers) != 1:
                return None
            bounds[index - 1] = numbers[0]
    return _clamp(*bounds)


def _extreme(model: Walk, node: OnnxNode, here: Place) -> _Kind | None:
    """A Max or Min with one constant."""
    others = [name for name in node.inputs if name != here.value]
    numbers = model.numbers(others[0]) if len(others) == 1 and len(node.inputs) == 2 else None
    if numbers is None or len(numbers) != 1:
        return None
    return _clamp(numbers[0], math.inf) if node.operator == "Max" else _clamp(-math.inf, numbers[0])


def _clamp(low: float, high: float) -> _Kind | None:
    """A clamp, without bounds that no float32 exceeds; None if the bounds cross."""
    low, high = (-math.inf if low <= -_LARGEST else low), (math.inf if high >= _LARGEST else high)
    return _Clamp(low, high) if low <= high else None


def _in_words(kind: _Kind) -> str:
    match kind:
        case layers.LeakyRelu(slope):
            return f"a leaky ReLU of slope {digits(slope)}"
        case _Clamp() if kind == _RELU:
            return "ReLU"
        case _Clamp() if kind == _RELU6:
            return "ReLU6"
        case _Clamp(low, high):
            return f"a clip to {low:g} and {high:g}"


def digits(number: float) -> float:
    """The number with the fewest digits that rounds to the same float32."""
    return float(str(np.float32(number)))


def _advice(model: Walk, kind: _Kind | None) -> str:
    """The field of the spec for this activation."""
    slope = kind.slope if isinstance(kind, layers.LeakyRelu) else 0.0
    if model.site.unit and model.site.unit.fixed_activation and (kind == _RELU or 0 < slope < 1):
        return f"set {model.site.path}.unit.relu_leakiness to {digits(slope)}"
    if kind == _RELU:
        document: dict[str, object] = {"kind": "relu"}
    elif kind == _RELU6:
        document = {"kind": "relu6"}
    elif 0 < slope < 1:
        document = {"kind": "leaky_relu", "slope": digits(slope)}
    else:
        return NO_WORD
    return f"set $.activation to {json.dumps(document)}"

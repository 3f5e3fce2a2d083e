"""Matching by structure: an ONNX model whose names are not the author's, walked beside the plan of a network.

Exporters rename initializers and fold batch normalisation into the convolution before it. What they keep is the
function, so the plan is walked from the image on, and for each of its layers the node that does the same is looked up
among those that read the same value: by operator, by the shape of its weights, by stride, rate and groups. Nodes that
only move values about are looked through. How the borders are padded is not compared, as exporters write that in too
many ways, but for a pool that pads its end alone.

Batch normalisation y = (x - m) / sqrt(v + e) g + b is taken over with v + e - e' for our own epsilon e'. Folded into
its convolution it comes back as g = 1, b = the convolution's biases, m = 0, v = 1 - e', which computes x + b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, OnnxNode
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan, UnitPlan, layers
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.tensor import ParameterTensor, finite

_TRANSPARENT = frozenset(
    {"Identity", "Dropout", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Pad", "Cast"}
)
_ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Clip", "PRelu"})
_WITH_WEIGHTS = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization"})

Values = Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ComputedTensor(ParameterTensor):
    """A parameter computed from a source's tensors."""

    compute: Values

    def array(self) -> NDArray[Any]:
        """The values; `WeightsError` where one is not a finite number."""
        return finite(self.compute(), self.shape, self.parameter.name)


@dataclass(frozen=True, slots=True)
class _Step:
    """One way to go on from a value: where it leads, and what it fills on the way."""

    value: str
    nodes: tuple[OnnxNode, ...] = ()
    filled: tuple[ComputedTensor, ...] = ()

    def then(self, other: _Step) -> _Step:
        """Both steps, one after the other."""
        return _Step(other.value, self.nodes + other.nodes, self.filled + other.filled)


@dataclass(frozen=True)
class _Walk:
    """A model under way."""

    source: OnnxCheckpoint
    readers: dict[str, list[OnnxNode]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.source.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)

    def next(self, value: str, *operators: str) -> Iterator[OnnxNode]:
        """The nodes of these operators that read a value, directly or through nodes that only move it about."""
        ahead, seen = [value], {value}
        while ahead:
            for node in self.readers.get(ahead.pop(), ()):
                if node.operator in operators:
                    yield node
                elif node.operator in _TRANSPARENT:
                    fresh = [name for name in node.outputs if name not in seen]
                    seen.update(fresh)
                    ahead.extend(fresh)

    def shape(self, node: OnnxNode, index: int) -> tuple[int, ...] | None:
        """The shape of an input that is an initializer; None for anything else."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        return self.source.info(name).shape if name in self.source else None

    def values(self, node: OnnxNode, index: int) -> Values:
        """The values of an input that is an initializer, in float64."""
        name = node.inputs[index]
        return lambda: np.asarray(self.source[name], np.float64)


def match_structure(plan: Plan, source: OnnxCheckpoint) -> dict[str, ComputedTensor]:
    """Every parameter of a network from a model that computes the same.

    Raises:
        WeightsError: The model's structure is another one; `where` names the first layer that has no counterpart.
    """
    walk = _Walk(source)
    if len(source.inputs) != 1:
        raise WeightsError(f"the model must have one input, got {len(source.inputs)}", where=plan.name)
    step = _Step(source.inputs[0])
    for layer in plan.root:
        step = step.then(_first(_layer(walk, layer, step.value), layer.scope))
    for unit in plan.units:
        step = step.then(_first(_unit(walk, unit, step.value), unit.scope))
    for head in plan.head.layers:
        step = step.then(_first(_layer(walk, head, step.value), head.scope))
    _require_all_used(plan, walk, step)
    return {tensor.parameter.name: tensor for tensor in step.filled}


def _first(steps: Iterator[_Step], scope: str) -> _Step:
    if (step := next(steps, None)) is None:
        raise WeightsError("the model has no counterpart of this layer in its place", where=scope)
    return step


def _require_all_used(plan: Plan, walk: _Walk, step: _Step) -> None:
    used = {id(node) for node in step.nodes}
    left = [node for node in walk.source.nodes if node.operator in _WITH_WEIGHTS and id(node) not in used]
    left = [node for node in left if any(name in walk.source for name in node.inputs)]
    if left and plan.head.logits:
        raise WeightsError(
            f"the model has {len(left)} more nodes with weights than the network, the first a {left[0].operator}",
            where=left[0].outputs[0] if left[0].outputs else plan.name,
        )


def _unit(walk: _Walk, unit: UnitPlan, value: str) -> Iterator[_Step]:
    """Residual and shortcut that meet in one sum."""
    starts = _layer(walk, unit.preactivation, value) if unit.preactivation else iter((_Step(value),))
    for start in starts:
        for residual in _chain(walk, unit.residual, start.value):
            origin = start.value if unit.shortcut.from_preactivation else value
            for shortcut in _chain(walk, unit.shortcut.layers, origin):
                if {id(node) for node in residual.nodes} & {id(node) for node in shortcut.nodes}:
                    continue
                for total in _sums(walk, residual.value, shortcut.value):
                    joined = start.then(shortcut).then(residual).then(_Step(total.outputs[0], (total,)))
                    yield from (joined.then(step) for step in _activation(walk, unit.activation, joined.value))


def _sums(walk: _Walk, a: str, b: str) -> Iterator[OnnxNode]:
    others = {id(node) for node in walk.next(b, "Add", "Sum")}
    return (node for node in walk.next(a, "Add", "Sum") if id(node) in others and len(node.inputs) == 2)


def _chain(walk: _Walk, ahead: Sequence[layers.Layer], value: str) -> Iterator[_Step]:
    """Every way through some layers in order."""
    if not ahead:
        yield _Step(value)
        return
    for step in _layer(walk, ahead[0], value):
        yield from (step.then(rest) for rest in _chain(walk, ahead[1:], step.value))


def _layer(walk: _Walk, layer: layers.Layer, value: str) -> Iterator[_Step]:
    """Every way through one layer."""
    match layer:
        case layers.Conv():
            return _conv(walk, layer, value)
        case layers.Dense():
            return _dense(walk, layer, value)
        case layers.NormActivation():
            return _norm_activation(walk, layer, value)
        case layers.MaxPool(kernel=1):
            return _moved(walk, value, "MaxPool", "Slice", "AveragePool")
        case layers.MaxPool():
            return (step for step in _moved(walk, value, "MaxPool") if _may_pad_so(step.nodes[-1], layer))
        case layers.AveragePool():
            return _moved(walk, value, "AveragePool")
        case layers.GlobalPool():
            return _moved(walk, value, "GlobalAveragePool", "ReduceMean", "AveragePool")
        case layers.Blur():
            return _blur(walk, layer, value)
        case layers.ChannelConv():
            return _channel_conv(walk, layer, value)
        case layers.ChannelGate():
            return _channel_gate(walk, layer, value)
        case layers.ChannelPad():  # a Pad, which is looked through
            return iter((_Step(value),))
        case _:
            assert_never(layer)


def _moved(walk: _Walk, value: str, *operators: str) -> Iterator[_Step]:
    return (_Step(node.outputs[0], (node,)) for node in walk.next(value, *operators))


def _may_pad_so(node: OnnxNode, layer: layers.MaxPool) -> bool:
    """Whether a pool's borders can be the layer's.

    One that pads its end alone, as TensorFlow's SAME does, is no layer that pads both sides alike whatever the size.
    """
    pads = node.ints.get("pads", ())
    return layer.padding.rule != "fixed" or pads[: len(pads) // 2] == pads[len(pads) // 2 :]


def _activation(walk: _Walk, activation: layers.Activation | None, value: str) -> Iterator[_Step]:
    return iter((_Step(value),)) if activation is None else _moved(walk, value, *_ACTIVATIONS)


def _norm_activation(walk: _Walk, layer: layers.NormActivation, value: str) -> Iterator[_Step]:
    for step in _norm(walk, layer.norm, value, None):
        yield from (step.then(after) for after in _activation(walk, layer.activation, step.value))


def _conv(walk: _Walk, layer: layers.Conv, value: str) -> Iterator[_Step]:
    for node in walk.next(value, "Conv"):
        if walk.shape(node, 1) != layer.weights.shape or not _same_window(layer, node):
            continue
        biases = walk.values(node, 2) if walk.shape(node, 2) else None
        made = _Step(node.outputs[0], (node,), (ComputedTensor(layer.weights, walk.values(node, 1)),))
        if layer.norm:
            steps = [*_norm(walk, layer.norm, made.value, biases)]
            # Without a norm behind it, the convolution has swallowed it.
            steps = steps or [_Step(made.value, (), _folded(layer.norm, biases))]
        elif layer.biases:
            steps = [_Step(made.value, (), (_or_zeros(layer.biases, biases),))]
        else:
            steps = [] if biases else [_Step(made.value)]
        for step in steps:
            yield from (made.then(step).then(after) for after in _activation(walk, layer.activation, step.value))


def _same_window(layer: layers.Conv, node: OnnxNode) -> bool:
    return (
        node.ints.get("strides", (1, 1)) == (layer.stride, layer.stride)
        and node.ints.get("dilations", (1, 1)) == (layer.rate, layer.rate)
        and node.ints.get("group", (1,)) == (layer.groups,)
    )


def _dense(walk: _Walk, layer: layers.Dense, value: str) -> Iterator[_Step]:
    """A Gemm, a MatMul with an Add, or a 1x1 convolution."""
    outputs, inputs = layer.weights.shape
    for node in walk.next(value, "Gemm", "MatMul", "Conv"):
        ours = node.operator == "Conv" or (node.operator == "Gemm" and node.ints.get("transB", (0,)) == (1,))
        kernel = (1, 1) if node.operator == "Conv" else ()
        if walk.shape(node, 1) != ((outputs, inputs) if ours else (inputs, outputs)) + kernel:
            continue
        stored = walk.values(node, 1)
        weights = stored if ours else partial(_transposed, stored)
        biases = walk.values(node, 2) if walk.shape(node, 2) else None
        made = _Step(node.outputs[0], (node,), (ComputedTensor(layer.weights, weights),))
        for after in walk.next(made.value, "Add") if node.operator == "MatMul" else ():
            side = next((index for index in (0, 1) if walk.shape(after, index) == (outputs,)), None)
            if side is not None:
                made, biases = made.then(_Step(after.outputs[0], (after,))), walk.values(after, side)
                break
        made = made.then(_Step(made.value, (), (_or_zeros(layer.biases, biases),)))
        yield from (made.then(after) for after in _activation(walk, layer.activation, made.value))


def _blur(walk: _Walk, layer: layers.Blur, value: str) -> Iterator[_Step]:
    """A depthwise convolution of the filter's size and stride, behind a Pad, which is looked through."""
    channels, kernel = layer.source.channels, layer.kernel
    for node in walk.next(value, "Conv"):
        strides = node.ints.get("strides", (1, 1))
        if walk.shape(node, 1) == (channels, 1, kernel, kernel) and strides == (layer.stride, layer.stride):
            yield _Step(node.outputs[0], (node,))


def _channel_conv(walk: _Walk, layer: layers.ChannelConv, value: str) -> Iterator[_Step]:
    """A convolution of one channel, whose kernel is a vector whatever axes of length 1 it has."""
    for node in walk.next(value, "Conv"):
        shape = walk.shape(node, 1)
        if shape is None or [length for length in shape if length > 1] != [layer.weights.size]:
            continue
        weights = partial(_reshaped, walk.values(node, 1), layer.weights.shape)
        yield _Step(node.outputs[0], (node,), (ComputedTensor(layer.weights, weights),))


def _channel_gate(walk: _Walk, layer: layers.ChannelGate, value: str) -> Iterator[_Step]:
    """A product of the map and the sigmoid of what its means give."""
    for means in _layer(walk, layer.pool, value):
        for factors in _chain(walk, layer.layers, means.value):
            for gate in walk.next(factors.value, "Sigmoid"):
                products = {id(node) for node in walk.next(gate.outputs[0], "Mul")}
                for product in walk.next(value, "Mul"):
                    if id(product) in products:
                        yield means.then(factors).then(_Step(product.outputs[0], (gate, product)))


def _norm(walk: _Walk, norm: layers.Norm, value: str, biases: Values | None) -> Iterator[_Step]:
    """A BatchNormalization; biases of the convolution before it move its mean."""
    for node in walk.next(value, "BatchNormalization"):
        if any(walk.shape(node, index) != norm.beta.shape for index in (1, 2, 3, 4)):
            continue
        gamma, beta, mean, variance = (walk.values(node, index) for index in (1, 2, 3, 4))
        if norm.gamma is None and not (gamma() == 1).all():
            continue
        epsilon = node.floats.get("epsilon", 1e-5)
        if isinstance(norm, layers.ChannelAffine):
            scale = partial(_scale, gamma, variance, epsilon)
            offset = partial(_offset, beta, partial(_minus, mean, biases), scale)
            merged = ComputedTensor(norm.gamma, scale), ComputedTensor(norm.beta, offset)
            yield _Step(node.outputs[0], (node,), merged)
            continue
        filled = (
            ComputedTensor(norm.beta, beta),
            ComputedTensor(norm.moving_mean, partial(_minus, mean, biases)),
            ComputedTensor(norm.moving_variance, partial(_plus, variance, epsilon - norm.epsilon)),
        )
        gammas = (ComputedTensor(norm.gamma, gamma),) if norm.gamma else ()
        yield _Step(node.outputs[0], (node,), (*gammas, *filled))


def _folded(norm: layers.Norm, biases: Values | None) -> tuple[ComputedTensor, ...]:
    """The normalisation that computes x + biases."""
    size = norm.beta.size
    scale = (ComputedTensor(norm.gamma, lambda: np.ones(size)),) if norm.gamma else ()
    filled = *scale, _or_zeros(norm.beta, biases)
    if isinstance(norm, layers.ChannelAffine):
        return filled
    return (
        *filled,
        ComputedTensor(norm.moving_mean, lambda: np.zeros(size)),
        ComputedTensor(norm.moving_variance, lambda: np.full(size, 1 - norm.epsilon)),
    )


def _scale(gamma: Values, variance: Values, epsilon: float) -> NDArray[Any]:
    scale: NDArray[Any] = gamma() / np.sqrt(variance() + epsilon)
    return scale


def _offset(beta: Values, mean: Values, scale: Values) -> NDArray[Any]:
    offset: NDArray[Any] = beta() - mean() * scale()
    return offset


def _minus(values: Values, others: Values | None) -> NDArray[Any]:
    return values() - others() if others else values()


def _plus(values: Values, more: float) -> NDArray[Any]:
    return values() + more


def _reshaped(values: Values, shape: tuple[int, ...]) -> NDArray[Any]:
    reshaped: NDArray[Any] = values().reshape(shape)
    return reshaped


def _transposed(values: Values) -> NDArray[Any]:
    return values().T


def _or_zeros(parameter: Parameter, biases: Values | None) -> ComputedTensor:
    return ComputedTensor(parameter, biases or (lambda: np.zeros(parameter.shape)))

"""Layers to nodes. The scope names a layer's last value; values inside append their operator's name."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import comb
from typing import assert_never

import numpy as np

from resnet_compile.graph import Attribute, ConstantTensor, Value, apply, initializer, unbound
from resnet_compile.plan import layers
from resnet_compile.plan.geometry import NO_PADDING, Padding
from resnet_compile.plan.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Lowering:
    """The state of lowering.

    Attributes:
        dynamic_size: Whether rows and columns are known at run time only.
        values: The last value of every lowered layer, unit and block, by scope.
    """

    dynamic_size: bool
    values: dict[str, Value] = field(default_factory=dict)

    def record(self, value: Value) -> Value:
        """Records a value under its name, and returns it."""
        self.values[value.name] = value
        return value


def lower_layer(layer: layers.Layer, x: Value, lowering: Lowering, *, name: str | None = None) -> Value:
    """One layer applied to a value.

    Args:
        layer: The layer.
        x: The input, NCHW, or NC for a dense layer.
        lowering: The state; it records the layer's last value.
        name: The last value's name; None for the layer's scope.
    """
    name = name or layer.scope
    match layer:
        case layers.Conv():
            value = _conv(layer, x, name, lowering)
        case layers.NormActivation():
            value = _norm_activation(layer.scope, layer.norm, layer.activation, x, name)
        case layers.Dense():
            value = _dense(layer, x, name)
        case layers.MaxPool():
            value = _max_pool(layer, x, name, lowering)
        case layers.AveragePool(stride=stride):
            pads = {} if layer.padding == NO_PADDING else _padding(layer.padding, lowering)
            value = apply("AveragePool", x, name=name, **_window(stride, stride), **pads)
        case layers.Blur():
            value = _blur(layer, x, name)
        case layers.ChannelConv():
            value = _channel_conv(layer, x, name)
        case layers.ChannelGate():
            value = _channel_gate(layer, x, name, lowering)
        case layers.ChannelPad():
            value = _channel_pad(layer, x, name)
        case layers.GlobalPool():
            value = apply("GlobalAveragePool", x, name=name)
        case _:
            assert_never(layer)
    return lowering.record(value)


def _conv(layer: layers.Conv, x: Value, name: str, lowering: Lowering) -> Value:
    last = layer.norm is None and layer.activation is None
    weights = [_parameter(layer.weights), *([_parameter(layer.biases)] if layer.biases else [])]
    value = apply(
        "Conv",
        x,
        *weights,
        name=name if last else f"{layer.scope}/Conv",
        **_window(layer.kernel, layer.stride),
        dilations=(layer.rate, layer.rate),
        group=layer.groups,
        **_padding(layer.padding, lowering),
    )
    return value if last else _norm_activation(layer.scope, layer.norm, layer.activation, value, name)


def _dense(layer: layers.Dense, x: Value, name: str) -> Value:
    weights, activation = map(_parameter, layer.parameters), layer.activation
    value = apply("Gemm", x, *weights, name=f"{layer.scope}/Gemm" if activation else name, transB=1)
    return lower_activation(activation, value, name) if activation else value


def _blur(layer: layers.Blur, x: Value, name: str) -> Value:
    """A Pad by reflection, which a convolution's own padding cannot do, and a depthwise convolution."""
    channels, kernel, padding = layer.source.channels, layer.kernel, layer.padding
    pads = (0, 0, padding.top, padding.left, 0, 0, padding.bottom, padding.right)
    padded = apply(
        "Pad", x, apply("Constant", name=f"{name}/pads", value_ints=pads), name=f"{name}/Pad", mode="reflect"
    )
    taps = np.array([comb(kernel - 1, place) for place in range(kernel)]) / 2 ** (kernel - 1)
    filters = np.broadcast_to(np.outer(taps, taps).astype(np.float32), (channels, 1, kernel, kernel))
    weights = initializer(f"{name}/filters", ConstantTensor(np.ascontiguousarray(filters)))
    return apply("Conv", padded, weights, name=name, **_window(kernel, layer.stride), group=channels)


def _channel_conv(layer: layers.ChannelConv, x: Value, name: str) -> Value:
    """A convolution of one row: transposed, the channels are its columns."""
    taps = layer.weights.size
    row = apply("Transpose", x, name=f"{name}/row", perm=(0, 2, 3, 1))
    pads = (0, taps // 2, 0, taps // 2)
    convolved = apply("Conv", row, _parameter(layer.weights), name=f"{name}/Conv", kernel_shape=(1, taps), pads=pads)
    return apply("Transpose", convolved, name=name, perm=(0, 3, 1, 2))


def _channel_gate(layer: layers.ChannelGate, x: Value, name: str, lowering: Lowering) -> Value:
    factors = lower_layer(layer.pool, x, lowering)
    for inner in layer.layers:
        factors = lower_layer(inner, factors, lowering)
    return apply("Mul", x, apply("Sigmoid", factors, name=f"{name}/Sigmoid"), name=name)


def _norm_activation(
    scope: str, norm: layers.Norm | None, activation: layers.Activation | None, x: Value, name: str
) -> Value:
    if norm:
        x = _norm(norm, x, f"{scope}/BatchNormalization" if activation else name)
    return lower_activation(activation, x, name) if activation else x


def _norm(norm: layers.Norm, x: Value, name: str) -> Value:
    """A BatchNormalization; for a scale and an offset, the one with mean 0, variance 1 and epsilon 0."""
    match norm:
        case layers.BatchNormalization():
            gamma = _parameter(norm.gamma) if norm.gamma else _ones(f"{norm.scope}/ones", norm.beta.shape)
            statistics = _parameter(norm.moving_mean), _parameter(norm.moving_variance)
            epsilon = norm.epsilon
        case layers.ChannelAffine():
            gamma, epsilon, shape = _parameter(norm.gamma), 0.0, norm.beta.shape
            statistics = _filled(0, f"{norm.scope}/zeros", shape), _ones(f"{norm.scope}/ones", shape)
        case _:
            assert_never(norm)
    return apply("BatchNormalization", x, gamma, _parameter(norm.beta), *statistics, name=name, epsilon=epsilon)


def lower_activation(activation: layers.Activation, x: Value, name: str) -> Value:
    match activation:
        case layers.Relu():
            return apply("Relu", x, name=name)
        case layers.LeakyRelu(slope):
            return apply("LeakyRelu", x, name=name, alpha=slope)
        case layers.Relu6():
            return apply("Clip", x, _filled(0, f"{name}/least", ()), _filled(6, f"{name}/most", ()), name=name)
        case _:
            assert_never(activation)


def _max_pool(layer: layers.MaxPool, x: Value, name: str, lowering: Lowering) -> Value:
    padding = layer.padding
    if layer.pad_value == 0:
        x, padding = _with_border_of_zeros(layer, x, lowering), NO_PADDING
    return apply("MaxPool", x, name=name, **_window(layer.kernel, layer.stride), **_padding(padding, lowering))


def _with_border_of_zeros(layer: layers.MaxPool, x: Value, lowering: Lowering) -> Value:
    """The map padded with zeros, by a depthwise 1x1 convolution of ones.

    Not by a Pad before the MaxPool: onnxruntime 1.31 and the onnx/optimizer project fold a Pad into the MaxPool, whose
    own padding is minus infinity.
    """
    channels = layer.source.channels
    return apply(
        "Conv",
        x,
        _ones(f"{layer.scope}/ones", (channels, 1, 1, 1)),
        name=f"{layer.scope}/Conv",
        kernel_shape=(1, 1),
        group=channels,
        **_padding(layer.padding, lowering),
    )


def _channel_pad(layer: layers.ChannelPad, x: Value, name: str) -> Value:
    pads = apply("Constant", name=f"{name}/pads", value_ints=(0, layer.before, 0, 0, 0, layer.after, 0, 0))
    return apply("Pad", x, pads, name=name, mode="constant")


def _window(kernel: int, stride: int) -> dict[str, Attribute]:
    return {"kernel_shape": (kernel, kernel), "strides": (stride, stride)}


def _padding(padding: Padding, lowering: Lowering) -> dict[str, Attribute]:
    if padding.rule == "same" and lowering.dynamic_size:
        return {"auto_pad": "SAME_UPPER"}  # TensorFlow's SAME at every size, unlike any fixed pads
    if padding.rule == "ceil" and lowering.dynamic_size:
        return {"ceil_mode": 1}
    return {"pads": (padding.top, padding.left, padding.bottom, padding.right)}


def _parameter(parameter: Parameter) -> Value:
    return unbound(parameter.name, "float32", parameter.shape)


def _ones(name: str, shape: tuple[int, ...]) -> Value:
    return _filled(1, name, shape)


def _filled(number: float, name: str, shape: tuple[int, ...]) -> Value:
    return initializer(name, ConstantTensor(np.full(shape, number, np.float32)))

"""Layers to nodes. A layer's last value bears the layer's scope; the ones inside it add their operator's name."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from resnet_compile.graph import ConstantTensor, Tensor, Value, apply, constant
from resnet_compile.graph.ir import Attribute
from resnet_compile.plan.geometry import Padding
from resnet_compile.plan.layers import Activation, Conv, GlobalPool, Layer, MaxPool, Norm, NormActivation
from resnet_compile.plan.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Lowering:
    """What lowering carries along.

    Attributes:
        dynamic_size: Whether rows and columns are known only at run time.
        values: The last value of every layer, unit and block so far, by scope.
        data: Contents of the initializers that no parameter provides.
    """

    dynamic_size: bool
    values: dict[str, Value] = field(default_factory=dict)
    data: dict[str, Tensor] = field(default_factory=dict)

    def record(self, value: Value) -> Value:
        """Makes the value findable under its name."""
        self.values[value.name] = value
        return value


def lower_layer(layer: Layer, x: Value, lowering: Lowering, *, name: str | None = None) -> Value:
    """One layer applied to a value.

    Args:
        layer: What to apply.
        x: NCHW.
        lowering: Takes the layer's last value.
        name: The last value's name where it is not to be the layer's scope.
    """
    name = name or layer.scope
    match layer:
        case Conv():
            value = _conv(layer, x, name, lowering)
        case NormActivation():
            value = _norm_activation(layer.scope, layer.norm, layer.activation, x, name, lowering)
        case MaxPool():
            value = _max_pool(layer, x, name, lowering)
        case GlobalPool():
            value = apply("GlobalAveragePool", x, name=name)
    return lowering.record(value)


def _conv(layer: Conv, x: Value, name: str, lowering: Lowering) -> Value:
    last = layer.norm is None and layer.activation is None
    weights = [_parameter(layer.weights), *([_parameter(layer.biases)] if layer.biases else [])]
    value = apply(
        "Conv",
        x,
        *weights,
        name=name if last else f"{layer.scope}/Conv",
        kernel_shape=(layer.kernel, layer.kernel),
        strides=(layer.stride, layer.stride),
        dilations=(layer.rate, layer.rate),
        group=1,
        **_padding(layer.padding, lowering),
    )
    return value if last else _norm_activation(layer.scope, layer.norm, layer.activation, value, name, lowering)


def _norm_activation(
    scope: str, norm: Norm | None, activation: Activation | None, x: Value, name: str, lowering: Lowering
) -> Value:
    if norm:
        gamma = _parameter(norm.gamma) if norm.gamma else _ones(f"{norm.scope}/ones", norm.beta.size, lowering)
        x = apply(
            "BatchNormalization",
            x,
            gamma,
            *(_parameter(p) for p in (norm.beta, norm.moving_mean, norm.moving_variance)),
            name=f"{scope}/BatchNormalization" if activation else name,
            epsilon=norm.epsilon,
        )
    return apply("Relu", x, name=name) if activation else x


def _max_pool(layer: MaxPool, x: Value, name: str, lowering: Lowering) -> Value:
    return apply(
        "MaxPool",
        x,
        name=name,
        kernel_shape=(layer.kernel, layer.kernel),
        strides=(layer.stride, layer.stride),
        **_padding(layer.padding, lowering),
    )


def _padding(padding: Padding, lowering: Lowering) -> dict[str, Attribute]:
    if padding.follows_size and lowering.dynamic_size:
        return {"auto_pad": "SAME_UPPER"}  # TensorFlow's SAME at every size; no fixed pads are
    return {"pads": (padding.top, padding.left, padding.bottom, padding.right)}


def _parameter(parameter: Parameter) -> Value:
    return constant(parameter.name, "float32", parameter.shape)


def _ones(name: str, size: int, lowering: Lowering) -> Value:
    lowering.data[name] = ConstantTensor(np.ones(size, np.float32))
    return constant(name, "float32", (size,))

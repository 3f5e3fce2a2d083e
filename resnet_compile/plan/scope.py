"""Makers of layers, with the names and settings that the layers of a scope share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack, assert_never

from resnet_compile.errors import SpecError
from resnet_compile.plan.geometry import NO_PADDING, FeatureMap, Padding, fixed_padding, same_padding, window_output
from resnet_compile.plan.initializers import Fans, LayerInitializer
from resnet_compile.plan.layers import (
    Activation,
    AveragePool,
    BatchNormalization,
    Blur,
    ChannelAffine,
    ChannelConv,
    ChannelGate,
    ChannelPad,
    Conv,
    Dense,
    GlobalPool,
    MaxPool,
    Norm,
    NormActivation,
)
from resnet_compile.plan.parameters import Constant, Parameter, Role
from resnet_compile.spec import network as spec


class ConvOptions(TypedDict, total=False):
    """The options of a convolution beside its stride.

    Attributes:
        rate: The dilation; 1 by default.
        groups: The number of channel groups; 1 by default.
        same: Whether TensorFlow's SAME padding replaces that of TF-slim's `conv2d_same`.
        biases: Whether it has biases.
        norm: Whether a normalisation follows.
        activation: The activation at the end; None by default.
    """

    rate: int
    groups: int
    same: bool
    biases: bool
    norm: bool
    activation: Activation | None


@dataclass(frozen=True, slots=True)
class LayerScope:
    """A scope with its layers' settings: TensorFlow's variable scope and TF-slim's arg scope.

    Attributes:
        name: The prefix of the layers' names.
        norm: The normalisation of layers that have one.
        activation: The network's activation, in place of a ReLU.
        initializer: The distributions of initial weights and biases.
    """

    name: str
    norm: spec.NormKind
    activation: Activation
    initializer: LayerInitializer

    def inner(self, name: str) -> LayerScope:
        return replace(self, name=f"{self.name}/{name}")

    def norm_activation(self, name: str, source: FeatureMap, activation: Activation | None) -> NormActivation:
        """A normalisation without a convolution, with its parameters directly under its scope."""
        scope = f"{self.name}/{name}"
        return NormActivation(scope, source, _norm(scope, source.channels, self.norm), activation)

    def conv(
        self,
        name: str,
        source: FeatureMap,
        depth: int,
        kernel: int,
        *,
        stride: int = 1,
        **options: Unpack[ConvOptions],
    ) -> Conv:
        """A convolution to `depth` channels with a square kernel."""
        scope = f"{self.name}/{name}"
        rate, groups = options.get("rate", 1), options.get("groups", 1)
        same = options.get("same", False)
        padding = same_padding(source, kernel, stride, rate) if same else fixed_padding(kernel, rate)
        output = window_output(source, depth, kernel, stride, padding, rate)
        assert output is not None, "both rules of padding leave room for one window at least"
        assert source.channels % groups == 0, "groups divide the channels"
        shape = (depth, source.channels // groups, kernel, kernel)
        fans = Fans(inward=math.prod(shape[1:]), outward=depth * kernel * kernel)
        return Conv(
            scope=scope,
            source=source,
            output=output,
            kernel=kernel,
            stride=stride,
            rate=rate,
            groups=groups,
            padding=padding,
            weights=Parameter(f"{scope}/weights", shape, "weights", self.initializer.weights(fans)),
            biases=self._biases(scope, depth, fans) if options.get("biases") else None,
            norm=_norm(f"{scope}/BatchNorm", depth, self.norm) if options.get("norm") else None,
            activation=options.get("activation"),
        )

    def dense(self, name: str, source: FeatureMap, depth: int, activation: Activation | None = None) -> Dense:
        """A dense layer on a 1x1 map."""
        scope = f"{self.name}/{name}"
        assert source.size == (1, 1), "dense layers have no rows and columns to slide over"
        fans = Fans(inward=source.channels, outward=depth)
        weights = Parameter(f"{scope}/weights", (depth, source.channels), "weights", self.initializer.weights(fans))
        return Dense(scope, source, FeatureMap(depth, 1, 1), weights, self._biases(scope, depth, fans), activation)

    def max_pool(
        self, name: str, source: FeatureMap, kernel: int, stride: int, padding: Padding, pad_value: float = -math.inf
    ) -> MaxPool:
        output = window_output(source, source.channels, kernel, stride, padding)
        assert output is not None, "the padding leaves room for one window at least"
        return MaxPool(f"{self.name}/{name}", source, output, kernel, stride, padding, pad_value)

    def max_pool_same(self, name: str, source: FeatureMap, kernel: int, stride: int) -> MaxPool:
        """A max pool with TensorFlow's SAME padding."""
        return self.max_pool(name, source, kernel, stride, same_padding(source, kernel, stride))

    def subsample(self, name: str, source: FeatureMap, stride: int) -> tuple[MaxPool, ...]:
        """TF-slim's `subsample`: every stride-th row and column, as a 1x1 max pool; nothing at stride 1."""
        return (self.max_pool(name, source, 1, stride, NO_PADDING),) if stride > 1 else ()

    def average_pool(self, name: str, source: FeatureMap, stride: int, padding: Padding) -> AveragePool:
        """The mean over windows of the stride's size; one has to fit the padded source."""
        output = window_output(source, source.channels, stride, stride, padding)
        assert output is not None, "the caller has checked that a window fits"
        return AveragePool(f"{self.name}/{name}", source, output, stride, padding)

    def blur(self, name: str, source: FeatureMap, kernel: int, stride: int) -> Blur:
        """A binomial filter.

        Raises:
            SpecError: The map is too small to be mirrored.
        """
        scope, padding = f"{self.name}/{name}", fixed_padding(kernel)
        if min(source.size) <= padding.top:
            raise SpecError(f"a map of {source.height}x{source.width} is too small to blur at {scope}", where="$.input")
        output = window_output(source, source.channels, kernel, stride, padding)
        assert output is not None, "the padding leaves room for one window at least"
        return Blur(scope, source, output, kernel, stride, padding)

    def channel_conv(self, name: str, source: FeatureMap, kernel: int) -> ChannelConv:
        """A convolution along the channels of a 1x1 map."""
        scope, fans = f"{self.name}/{name}", Fans(inward=kernel, outward=kernel)
        weights = Parameter(f"{scope}/weights", (1, 1, 1, kernel), "weights", self.initializer.weights(fans))
        return ChannelConv(scope, source, weights)

    def channel_gate(
        self, name: str, source: FeatureMap, layers: Callable[[FeatureMap], tuple[Conv | ChannelConv, ...]]
    ) -> ChannelGate:
        """A factor for each channel, from layers on the map's means."""
        scope = f"{self.name}/{name}"
        pool = GlobalPool(f"{scope}/pool", source)
        return ChannelGate(scope, source, pool, layers(pool.output))

    def channel_pad(self, name: str, source: FeatureMap, before: int, after: int) -> ChannelPad:
        """Channels of zeros before and after the source's."""
        return ChannelPad(f"{self.name}/{name}", source, before, after)

    def _biases(self, scope: str, depth: int, fans: Fans) -> Parameter:
        return Parameter(f"{scope}/biases", (depth,), "biases", self.initializer.biases(fans))


def _norm(scope: str, channels: int, kind: spec.NormKind) -> Norm:
    """A normalisation with its initial values: gamma and variance 1, beta and mean 0."""

    def parameter(role: Role, value: float) -> Parameter:
        return Parameter(f"{scope}/{role}", (channels,), role, Constant(value))

    match kind:
        case spec.ScaleOffset():
            return ChannelAffine(scope, gamma=parameter("gamma", 1.0), beta=parameter("beta", 0.0))
        case spec.BatchNorm(epsilon=epsilon, scale=scale):
            return BatchNormalization(
                scope=scope,
                epsilon=epsilon,
                gamma=parameter("gamma", 1.0) if scale else None,
                beta=parameter("beta", 0.0),
                moving_mean=parameter("moving_mean", 0.0),
                moving_variance=parameter("moving_variance", 1.0),
            )
        case _:
            assert_never(kind)

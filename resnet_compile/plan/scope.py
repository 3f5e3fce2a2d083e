"""Making layers: in a scope that names their parameters, and with what all layers of the network have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from resnet_compile.plan.geometry import NO_PADDING, FeatureMap, Padding, fixed_padding, same_padding, window_output
from resnet_compile.plan.initializers import Fans, LayerInitializer
from resnet_compile.plan.layers import Activation, AveragePool, ChannelPad, Conv, Dense, MaxPool, Norm, NormActivation
from resnet_compile.plan.parameters import Constant, Parameter, Role
from resnet_compile.spec.network import BatchNorm


@dataclass(frozen=True, slots=True)
class LayerScope:
    """Where layers are made: what TensorFlow calls a variable scope, and TF-slim an arg scope.

    Attributes:
        name: What the names of the layers begin with.
        norm: The normalisation of those that have one.
        initializer: How their weights and biases start.
    """

    name: str
    norm: BatchNorm
    initializer: LayerInitializer

    def inner(self, name: str) -> LayerScope:
        """A scope inside this one."""
        return replace(self, name=f"{self.name}/{name}")

    def norm_activation(self, name: str, source: FeatureMap, activation: Activation | None) -> NormActivation:
        """A normalisation standing alone, with its parameters directly under its scope."""
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
        rate: int = 1,
        groups: int = 1,
        padding: Padding | None = None,
        biases: bool = False,
        norm: bool = False,
        activation: Activation | None = None,
    ) -> Conv:
        """A convolution, padded as TF-slim's `conv2d_same` where no other padding is given."""
        scope = f"{self.name}/{name}"
        padding = fixed_padding(kernel, rate) if padding is None else padding
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
            biases=self._biases(scope, depth, fans) if biases else None,
            norm=_norm(f"{scope}/BatchNorm", depth, self.norm) if norm else None,
            activation=activation,
        )

    def dense(self, name: str, source: FeatureMap, depth: int) -> Dense:
        """A matrix with biases, on a map of one pixel."""
        scope = f"{self.name}/{name}"
        assert source.size == (1, 1), "dense layers have no rows and columns to slide over"
        fans = Fans(inward=source.channels, outward=depth)
        weights = Parameter(f"{scope}/weights", (depth, source.channels), "weights", self.initializer.weights(fans))
        return Dense(scope, source, FeatureMap(depth, 1, 1), weights, self._biases(scope, depth, fans))

    def max_pool(
        self, name: str, source: FeatureMap, kernel: int, stride: int, padding: Padding, pad_value: float = -math.inf
    ) -> MaxPool:
        """A max pool over the padded source."""
        output = window_output(source, source.channels, kernel, stride, padding)
        assert output is not None, "the padding leaves room for one window at least"
        return MaxPool(f"{self.name}/{name}", source, output, kernel, stride, padding, pad_value)

    def max_pool_same(self, name: str, source: FeatureMap, kernel: int, stride: int) -> MaxPool:
        """A max pool with TensorFlow's SAME padding."""
        return self.max_pool(name, source, kernel, stride, same_padding(source, kernel, stride))

    def subsample(self, name: str, source: FeatureMap, stride: int) -> tuple[MaxPool, ...]:
        """TF-slim's `subsample`: every stride-th row and column, as a 1x1 max pool; nothing at stride 1."""
        return (self.max_pool(name, source, 1, stride, NO_PADDING),) if stride > 1 else ()

    def average_pool(self, name: str, source: FeatureMap, stride: int) -> AveragePool:
        """A mean over windows of the stride's size, which has to fit the source."""
        output = window_output(source, source.channels, stride, stride, NO_PADDING)
        assert output is not None, "the caller has seen to it that the stride divides the sides"
        return AveragePool(f"{self.name}/{name}", source, output, stride)

    def channel_pad(self, name: str, source: FeatureMap, before: int, after: int) -> ChannelPad:
        """Channels of zeros around the source's."""
        return ChannelPad(f"{self.name}/{name}", source, before, after)

    def _biases(self, scope: str, depth: int, fans: Fans) -> Parameter:
        return Parameter(f"{scope}/biases", (depth,), "biases", self.initializer.biases(fans))


def _norm(scope: str, channels: int, spec: BatchNorm) -> Norm:
    """Batch normalisation at its starting values: gamma and variance 1, beta and mean 0."""

    def parameter(role: Role, value: float) -> Parameter:
        return Parameter(f"{scope}/{role}", (channels,), role, Constant(value))

    return Norm(
        scope=scope,
        epsilon=spec.epsilon,
        gamma=parameter("gamma", 1.0) if spec.scale else None,
        beta=parameter("beta", 0.0),
        moving_mean=parameter("moving_mean", 0.0),
        moving_variance=parameter("moving_variance", 1.0),
    )

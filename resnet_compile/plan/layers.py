"""Resolved layers.

Every layer has a `scope`, the map that it reads (`source`), the map that it makes (`output`), its `parameters` in
checkpoint order, its `macs` (multiply-accumulates for one image), and a `description` for tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from resnet_compile.plan.geometry import FeatureMap, Padding
from resnet_compile.plan.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x, and slope * x below zero."""

    slope: float


@dataclass(frozen=True, slots=True)
class Relu6:
    """min(max(x, 0), 6)."""


Activation = Relu | LeakyRelu | Relu6


@dataclass(frozen=True, slots=True)
class BatchNormalization:
    """Batch normalisation of each channel, with moving statistics."""

    scope: str
    epsilon: float
    gamma: Parameter | None
    beta: Parameter
    moving_mean: Parameter
    moving_variance: Parameter

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        gamma = (self.gamma,) if self.gamma else ()
        return (*gamma, self.beta, self.moving_mean, self.moving_variance)


@dataclass(frozen=True, slots=True)
class ChannelAffine:
    """A scale and an offset for each channel."""

    scope: str
    gamma: Parameter
    beta: Parameter

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.gamma, self.beta


Norm = BatchNormalization | ChannelAffine


@dataclass(frozen=True, slots=True)
class _Layer:
    """What every layer has; most have no parameters.

    Attributes:
        scope: The name of the layer and of its output.
        source: The map it reads.
    """

    scope: str
    source: FeatureMap

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return 0


@dataclass(frozen=True, slots=True)
class _Elementwise(_Layer):
    """A layer whose output has the shape of its source."""

    @property
    def output(self) -> FeatureMap:
        return self.source


@dataclass(frozen=True, slots=True)
class _Reshaping(_Layer):
    """A layer with another output shape.

    Attributes:
        output: The map it makes.
    """

    output: FeatureMap


@dataclass(frozen=True, slots=True)
class _Window(_Reshaping):
    """A layer that slides a square window over its source.

    Attributes:
        kernel: Rows and columns of the window.
        stride: The window's stride, reduced by `output_stride`.
        padding: Rows and columns around the source.
    """

    kernel: int
    stride: int
    padding: Padding


@dataclass(frozen=True, slots=True)
class NormActivation(_Elementwise):
    """A normalisation and its activation without a convolution: a pre-activation, or the last norm of a network."""

    norm: Norm
    activation: Activation | None
    description: ClassVar[str] = "norm"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.norm.parameters


@dataclass(frozen=True, slots=True)
class Conv(_Window):
    """A convolution, zero-padded, then biases or a normalisation, then an activation.

    Attributes:
        rate: The dilation; 1 for an ordinary convolution.
        groups: The number of channel groups.
        weights: OIHW, where I counts the channels of one group.
    """

    rate: int
    groups: int
    weights: Parameter
    biases: Parameter | None
    norm: Norm | None
    activation: Activation | None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        biases = (self.biases,) if self.biases else ()
        return (self.weights, *biases, *(self.norm.parameters if self.norm else ()))

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: each weight, times the output positions."""
        return self.weights.size * self.output.height * self.output.width

    @property
    def description(self) -> str:
        """Its window, such as `conv 3x3, stride 2`."""
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        rate = f", rate {self.rate}" if self.rate > 1 else ""
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"conv {self.kernel}x{self.kernel}{stride}{rate}{groups}"


@dataclass(frozen=True, slots=True)
class Dense(_Reshaping):
    """A dense layer: a matrix and biases on the channels of a 1x1 map, then an activation.

    Its value has no rows and columns; `output` counts them, 1x1.

    Attributes:
        weights: OI.
        biases: One for each output.
    """

    weights: Parameter
    biases: Parameter
    activation: Activation | None
    description: ClassVar[str] = "dense"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.weights, self.biases

    @property
    def macs(self) -> int:
        return self.weights.size


@dataclass(frozen=True, slots=True)
class MaxPool(_Window):
    """A max pool.

    Attributes:
        pad_value: The value of the padding: minus infinity, which is never the maximum, or zero.
    """

    pad_value: float = -math.inf

    @property
    def description(self) -> str:
        return f"max pool {self.kernel}x{self.kernel}, stride {self.stride}"


@dataclass(frozen=True, slots=True)
class AveragePool(_Reshaping):
    """The mean of windows that do not overlap: the kernel is the stride. Padding is not counted, and rows and columns
    that fill no window are dropped.
    """

    stride: int
    padding: Padding

    @property
    def description(self) -> str:
        return f"average pool {self.stride}x{self.stride}, stride {self.stride}"


@dataclass(frozen=True, slots=True)
class Blur(_Window):
    """A binomial filter on each channel, C(kernel - 1, i) C(kernel - 1, j) / 4^(kernel - 1), padded by reflection."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: each tap, times the output values."""
        return self.kernel**2 * self.output.channels * self.output.height * self.output.width

    @property
    def description(self) -> str:
        return f"blur {self.kernel}x{self.kernel}, stride {self.stride}"


@dataclass(frozen=True, slots=True)
class ChannelPad(_Layer):
    """Channels of zeros: `before` ahead of the source's, `after` behind them."""

    before: int
    after: int

    @property
    def output(self) -> FeatureMap:
        return replace(self.source, channels=self.before + self.source.channels + self.after)

    @property
    def description(self) -> str:
        return f"pad {self.before}+{self.after} channels"


@dataclass(frozen=True, slots=True)
class GlobalPool(_Layer):
    """The mean over rows and columns, which stay as axes of length 1."""

    description: ClassVar[str] = "global pool"

    @property
    def output(self) -> FeatureMap:
        return FeatureMap(self.source.channels, 1, 1)


@dataclass(frozen=True, slots=True)
class ChannelConv(_Elementwise):
    """A convolution along the channels of a 1x1 map, zero-padded to keep their number.

    Attributes:
        weights: One kernel, (1, 1, 1, taps): the channels are its columns.
    """

    weights: Parameter

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.weights,)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: each tap, times the channels."""
        return self.weights.size * self.source.channels

    @property
    def description(self) -> str:
        return f"conv of {self.weights.size} channels"


@dataclass(frozen=True, slots=True)
class ChannelGate(_Elementwise):
    """Channel attention: y = x * sigmoid(layers(mean(x))), a factor for each channel.

    Attributes:
        pool: The mean over rows and columns.
        layers: The layers between the mean and the sigmoid.
    """

    pool: GlobalPool
    layers: tuple[Conv | ChannelConv, ...]
    description: ClassVar[str] = "channel attention"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameter for layer in self.layers for parameter in layer.parameters)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)


Layer = (
    AveragePool | Blur | ChannelConv | ChannelGate | ChannelPad | Conv | Dense | GlobalPool | MaxPool | NormActivation
)

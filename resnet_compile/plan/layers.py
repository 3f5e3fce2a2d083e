"""Resolved layers.

Every layer has a `scope`, the map that it reads (`source`) and the one that it makes (`output`), its `parameters` in
checkpoint order, its `macs` (multiply-accumulates for one image), and a `description` for tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    """Batch normalisation over the channels of one map, by moving statistics."""

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
    """A scale and an offset for each channel of one map."""

    scope: str
    gamma: Parameter
    beta: Parameter

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.gamma, self.beta


Norm = BatchNormalization | ChannelAffine


@dataclass(frozen=True, slots=True)
class NormActivation:
    """A normalisation and its activation without a convolution: a pre-activation, or the last norm of a network."""

    scope: str
    source: FeatureMap
    norm: Norm
    activation: Activation | None
    macs: ClassVar[int] = 0
    description: ClassVar[str] = "norm"

    @property
    def output(self) -> FeatureMap:
        return self.source

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.norm.parameters


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution, then bias or normalisation, then an activation.

    Attributes:
        scope: The layer's name, and that of its value after norm and activation.
        source: The map it reads.
        output: The map it makes.
        kernel: Rows and columns of the square kernel.
        stride: The stride, reduced by `output_stride`.
        rate: The distance of the kernel's taps; 1 for an ordinary convolution.
        groups: The number of channel groups.
        padding: Zeros around the source.
        weights: OIHW, I being the channels of one group.
    """

    scope: str
    source: FeatureMap
    output: FeatureMap
    kernel: int
    stride: int
    rate: int
    groups: int
    padding: Padding
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
        """Multiply-accumulates for one image: every weight once for each output position."""
        return self.weights.size * self.output.height * self.output.width

    @property
    def description(self) -> str:
        """Its window, such as `conv 3x3, stride 2`."""
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        rate = f", rate {self.rate}" if self.rate > 1 else ""
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"conv {self.kernel}x{self.kernel}{stride}{rate}{groups}"


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix and biases on the channels of a 1x1 map; rows and columns are dropped.

    Attributes:
        scope: The layer's name and its value's.
        source: The map it reads, 1x1.
        output: The map it would make if it kept rows and columns, 1x1.
        weights: OI.
        biases: One for each output.
        activation: What follows.
    """

    scope: str
    source: FeatureMap
    output: FeatureMap
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
class MaxPool:
    """A max pool.

    Attributes:
        scope: The layer's name and its value's.
        source: The map it reads.
        output: The map it makes.
        kernel: Rows and columns of the square window.
        stride: Of the window.
        padding: Around the source.
        pad_value: The value of the padding: minus infinity, which is never the maximum, or zero.
    """

    scope: str
    source: FeatureMap
    output: FeatureMap
    kernel: int
    stride: int
    padding: Padding
    pad_value: float = -math.inf
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    macs: ClassVar[int] = 0

    @property
    def description(self) -> str:
        return f"max pool {self.kernel}x{self.kernel}, stride {self.stride}"


@dataclass(frozen=True, slots=True)
class AveragePool:
    """The mean of windows that do not overlap: kernel and stride are one. Padding does not count; what fills no window
    is left out.
    """

    scope: str
    source: FeatureMap
    output: FeatureMap
    stride: int
    padding: Padding
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    macs: ClassVar[int] = 0

    @property
    def description(self) -> str:
        return f"average pool {self.stride}x{self.stride}, stride {self.stride}"


@dataclass(frozen=True, slots=True)
class Blur:
    """A binomial filter on each channel by itself, of a map that is mirrored about its edge.

    Attributes:
        scope: The layer's name and its value's.
        source: The map it reads.
        output: The map it makes.
        kernel: Rows and columns of the filter, C(kernel - 1, i) C(kernel - 1, j) / 4^(kernel - 1).
        stride: Of the window.
        padding: Mirrored rows and columns around the source.
    """

    scope: str
    source: FeatureMap
    output: FeatureMap
    kernel: int
    stride: int
    padding: Padding
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: every tap, once for each output value."""
        return self.kernel**2 * self.output.channels * self.output.height * self.output.width

    @property
    def description(self) -> str:
        return f"blur {self.kernel}x{self.kernel}, stride {self.stride}"


@dataclass(frozen=True, slots=True)
class ChannelPad:
    """Channels of zeros: `before` in front of the source's, and `after` behind."""

    scope: str
    source: FeatureMap
    before: int
    after: int
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    macs: ClassVar[int] = 0

    @property
    def output(self) -> FeatureMap:
        return self.source.with_channels(self.before + self.source.channels + self.after)

    @property
    def description(self) -> str:
        return f"pad {self.before}+{self.after} channels"


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over rows and columns, which are kept with length 1."""

    scope: str
    source: FeatureMap
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    macs: ClassVar[int] = 0
    description: ClassVar[str] = "global pool"

    @property
    def output(self) -> FeatureMap:
        return FeatureMap(self.source.channels, 1, 1)


@dataclass(frozen=True, slots=True)
class ChannelConv:
    """A convolution along the channels of a map of one pixel, padded with zeros to as many as it reads.

    Attributes:
        scope: The layer's name and its value's.
        source: The map it reads, 1x1.
        weights: One kernel of one row, (1, 1, 1, taps): the channels are its columns.
    """

    scope: str
    source: FeatureMap
    weights: Parameter

    @property
    def output(self) -> FeatureMap:
        return self.source

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.weights,)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: every tap, once for each channel."""
        return self.weights.size * self.source.channels

    @property
    def description(self) -> str:
        return f"conv of {self.weights.size} channels"


@dataclass(frozen=True, slots=True)
class ChannelGate:
    """A factor for each channel, from the means of all: y = x * sigmoid(layers(mean(x))).

    Attributes:
        scope: The name of its value.
        source: The map it weighs.
        pool: The mean over rows and columns.
        layers: What makes the factors of the means, before the sigmoid.
    """

    scope: str
    source: FeatureMap
    pool: GlobalPool
    layers: tuple[Conv | ChannelConv, ...]
    description: ClassVar[str] = "channel attention"

    @property
    def output(self) -> FeatureMap:
        return self.source

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameter for layer in self.layers for parameter in layer.parameters)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: those of its layers."""
        return sum(layer.macs for layer in self.layers)


Layer = (
    AveragePool | Blur | ChannelConv | ChannelGate | ChannelPad | Conv | Dense | GlobalPool | MaxPool | NormActivation
)

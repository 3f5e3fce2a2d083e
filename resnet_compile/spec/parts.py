"""Parts, which combine with a kind of unit, root or network. A part is absent by default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.limits import MAX_DEPTH
from resnet_compile.spec.base import Depth, SpecModel

Kernel = Annotated[int, Field(ge=1, le=31)]


class ReluActivation(SpecModel):
    """max(x, 0)."""

    kind: Literal["relu"] = "relu"


class LeakyReluActivation(SpecModel):
    """x, and slope * x below zero."""

    kind: Literal["leaky_relu"] = "leaky_relu"

    slope: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Slope below zero."""


class Relu6Activation(SpecModel):
    """min(max(x, 0), 6)."""

    kind: Literal["relu6"] = "relu6"


ActivationKind = LeakyReluActivation | ReluActivation | Relu6Activation
Activation = Annotated[ActivationKind, Field(discriminator="kind")]


class SqueezeExcitation(SpecModel):
    """Squeeze and excitation, a factor for each channel: the mean over rows and columns, a 1x1 convolution to fewer
    channels, a ReLU, a 1x1 convolution back, a sigmoid. Hu et al. 2018, Squeeze-and-Excitation Networks.
    """

    kind: Literal["squeeze_excitation"] = "squeeze_excitation"

    reduction: Annotated[float, Field(ge=1, le=MAX_DEPTH)] = 16
    """The ratio of the unit's channels to those between the two convolutions."""

    rounding: Depth = 8
    """The channels between are the nearest multiple of this, halves rounded up, and at least one multiple."""

    biases: bool = True
    """Whether the two convolutions have biases."""


class EfficientChannel(SpecModel):
    """Efficient channel attention, a factor for each channel: the mean over rows and columns, a convolution along the
    channels, a sigmoid. Wang et al. 2020, ECA-Net.
    """

    kind: Literal["efficient_channel"] = "efficient_channel"

    kernel: Annotated[int, Field(ge=1, le=255)] | None = None
    """Taps of the convolution, an odd number. The default is the paper's rule for C channels: t = int((log2(C) + 1) /
    2), plus 1 if t is even, and at least 3.
    """


AttentionKind = EfficientChannel | SqueezeExcitation
Attention = Annotated[AttentionKind, Field(discriminator="kind")]


class BlurPool(SpecModel):
    """Anti-aliasing: the unit's strided convolution gets stride 1, and a binomial filter on each channel strides after
    its activation. Zhang 2019, Making Convolutional Networks Shift-Invariant Again. The border is padded by reflection,
    as in timm's `BlurPool2d`.
    """

    kind: Literal["blur"] = "blur"

    kernel: Literal[3, 5, 7] = 3
    """Rows and columns of the filter; 3 has the taps 1/4, 2/4, 1/4."""


ProjectsAt = Literal["first", "shape"]


class Projection(SpecModel):
    """A strided convolution of the shortcut's input."""

    kind: Literal["projection"] = "projection"

    at: ProjectsAt | None = None
    """The units that project: `shape`, those that change the shape; `first`, also a block's first unit. The default is
    the kind's own rule.
    """

    kernel: Kernel = 1
    """Rows and columns of the kernel."""

    norm: bool | None = None
    """Whether a normalisation follows. The default is the kind's own."""

    biases: bool | None = None
    """Whether it has biases. By default it has if the kind's own projection or the unit's other convolutions have."""


class PooledProjection(SpecModel):
    """The mean of stride x stride windows, cropped at the map's end, then a 1x1 convolution of stride 1. He et al.
    2019, Bag of Tricks (ResNet-D).
    """

    kind: Literal["pooled_projection"] = "pooled_projection"

    at: ProjectsAt | None = None
    """The units that project: `shape`, those that change the shape; `first`, also a block's first unit. The default is
    the kind's own rule.
    """

    norm: bool | None = None
    """Whether a normalisation follows. The default is the kind's own."""


class PaddedSubsample(SpecModel):
    """Every stride-th row and column, with channels of zeros, half of them before and half after. Option A of He et al.
    2015.
    """

    kind: Literal["padded_subsample"] = "padded_subsample"


class PaddedPool(SpecModel):
    """The mean of stride x stride windows, with channels of zeros, half of them before and half after."""

    kind: Literal["padded_pool"] = "padded_pool"


ShortcutKind = PaddedPool | PaddedSubsample | PooledProjection | Projection
Shortcut = Annotated[ShortcutKind, Field(discriminator="kind")]


PoolPadding = Literal["symmetric", "same", "ceil", "zero"]


class MaxRootPool(SpecModel):
    """A 3x3 max pool of stride 2."""

    kind: Literal["max"] = "max"

    padding: PoolPadding = "symmetric"
    """`symmetric`: a row of minus infinity on every side. `same`: TensorFlow's SAME. `ceil`: rows of minus infinity at
    the end alone, to complete the last window. `zero`: a row of zeros on every side.
    """


class AverageRootPool(SpecModel):
    """The mean of 2x2 windows of stride 2; an odd last row or column is left out."""

    kind: Literal["average"] = "average"


class ConvolutionRootPool(SpecModel):
    """A 3x3 convolution of stride 2 instead of a pool, normalised and activated."""

    kind: Literal["convolution"] = "convolution"


class BlurredMaxRootPool(SpecModel):
    """A 3x3 max pool of stride 1 padded (1, 1) with minus infinity, then a binomial filter of stride 2."""

    kind: Literal["blurred_max"] = "blurred_max"

    kernel: Literal[3, 5, 7] = 3
    """Rows and columns of the filter; 3 has the taps 1/4, 2/4, 1/4."""


RootPoolKind = AverageRootPool | BlurredMaxRootPool | ConvolutionRootPool | MaxRootPool
RootPool = Annotated[RootPoolKind, Field(discriminator="kind")]


class SevenStem(SpecModel):
    """A 7x7 convolution of stride 2 padded (3, 3)."""

    kind: Literal["7x7"] = "7x7"


class ThreeStem(SpecModel):
    """A 3x3 convolution of stride 1."""

    kind: Literal["3x3"] = "3x3"


class DeepStem(SpecModel):
    """Three 3x3 convolutions, the first of stride 2; the first two are always normalised and activated."""

    kind: Literal["deep"] = "deep"

    widths: Annotated[tuple[Depth, Depth], Field(strict=False)] = (32, 32)
    """Channels of the first two; timm's tiered stems have (24, 32)."""


StemKind = DeepStem | SevenStem | ThreeStem
Stem = Annotated[StemKind, Field(discriminator="kind")]

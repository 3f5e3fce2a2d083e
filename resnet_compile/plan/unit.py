"""Resolved residual units, one class for all kinds, and the arguments of the functions that plan them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from resnet_compile.errors import SpecError
from resnet_compile.limits import MAX_RATE
from resnet_compile.plan.attention import attention
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.layers import (
    Activation,
    AveragePool,
    Blur,
    ChannelGate,
    ChannelPad,
    Conv,
    Layer,
    MaxPool,
    NormActivation,
)
from resnet_compile.plan.scope import ConvOptions, LayerScope
from resnet_compile.spec.units import BottleneckModel, UnitArgs, UnitKind

ShortcutLayer = Conv | MaxPool | AveragePool | ChannelPad
ResidualLayer = Blur | ChannelGate | Conv


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The shortcut, which is added to the residual.

    Attributes:
        layers: The layers in order; empty for the identity.
        from_preactivation: Whether it starts from the pre-activation, not from the unit's raw input.
    """

    layers: tuple[ShortcutLayer, ...]
    from_preactivation: bool


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One residual unit: output = activation(shortcut + residual).

    Attributes:
        scope: The unit's name down to its kind, such as `net/block1/unit_2/bottleneck_v2`.
        source: The map it reads.
        stride: The stride, reduced by `output_stride`.
        rate: The rate of the atrous convolutions.
        preactivation: The norm and activation before the residual; None if the residual starts from the raw input.
        shortcut: The shortcut.
        residual: The layers in order; the first reads the pre-activation, or the raw input if there is none.
        activation: The activation after the sum.
    """

    scope: str
    source: FeatureMap
    stride: int
    rate: int
    preactivation: NormActivation | None
    shortcut: Shortcut
    residual: tuple[ResidualLayer, ...]
    activation: Activation | None

    @property
    def output(self) -> FeatureMap:
        return self.residual[-1].output

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in the order in which the original creates them and their variables."""
        preactivation = (self.preactivation,) if self.preactivation else ()
        return (*preactivation, *self.shortcut.layers, *self.residual)


@dataclass(frozen=True, slots=True)
class UnitSite:
    """The place of a unit: the arguments of its planning function.

    Attributes:
        kind: The unit's kind, with its parts.
        scope: The scope of its layers, such as `net/block1/unit_2/bottleneck_v2`.
        args: Its arguments in the spec; their stride is the nominal one.
        source: The map it reads.
        stride: The stride, reduced by `output_stride`.
        rate: The rate of its atrous convolutions, up to the one with the stride.
        first: Whether it is the first unit of its block.
        where: The path of its arguments in the spec.
        block: The path of its block in the spec.
    """

    kind: UnitKind
    scope: LayerScope
    args: UnitArgs
    source: FeatureMap
    stride: int
    rate: int
    first: bool
    where: str
    block: str

    @property
    def relu(self) -> Activation:
        """The network's activation, in place of a ReLU."""
        return self.scope.activation

    @property
    def width(self) -> int:
        """Channels of the first convolution, for kinds of two convolutions."""
        return self.args.widths[0] if self.args.widths else self.args.depth

    @property
    def bottleneck(self) -> tuple[int, int]:
        """Channels of the two inner convolutions, for bottleneck kinds.

        torchvision's formula: width = int(planes * (base_width / 64)) * groups.

        Raises:
            SpecError: The width is 0, or the groups do not divide it.
        """
        assert isinstance(self.kind, BottleneckModel), "only bottleneck kinds ask"
        if self.args.widths:
            first, second = self.args.widths
        else:
            assert self.args.depth_bottleneck is not None, "the spec requires it of bottleneck kinds"
            first = second = self.args.depth_bottleneck * self.kind.base_width // 64 * self.kind.groups
        if not first:
            raise SpecError(
                f"a base_width of {self.kind.base_width} leaves the bottleneck no channels", where=self.where
            )
        if first % self.kind.groups or second % self.kind.groups:
            raise SpecError(
                f"{self.kind.groups} groups do not divide widths of {first} and {second}", where=f"{self.where}.widths"
            )
        return first, second

    @property
    def keeps_depth(self) -> bool:
        return self.args.depth == self.source.channels

    @property
    def keeps_shape(self) -> bool:
        return self.keeps_depth and self.stride == 1

    @property
    def rate_after_stride(self) -> int:
        """The rate of atrous convolutions after the one with the stride: rate * (nominal stride / stride).

        It differs from `rate` where `output_stride` removed the unit's stride.

        Raises:
            SpecError: The rate is above the limit.
        """
        rate = self.rate * (self.args.stride // self.stride)
        if rate > MAX_RATE:
            raise SpecError(f"output_stride needs an atrous rate of {rate}, above {MAX_RATE}", where="$.output_stride")
        return rate

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
        """A convolution of the unit: as `LayerScope.conv`, with the biases and padding of the unit's parts."""
        options["biases"] = options.get("biases", False) or self.kind.biases
        options["same"] = options.get("same", False) or self.kind.padding == "same"
        return self.scope.conv(name, source, depth, kernel, stride=stride, **options)

    def striding(
        self, name: str, source: FeatureMap, depth: int, kernel: int, **options: Unpack[ConvOptions]
    ) -> tuple[Conv | Blur, ...]:
        """The convolution with the unit's stride; with anti-aliasing, one of stride 1 and a blur with that stride.

        As in timm, the blur stays where `output_stride` removed the stride. Arguments as for `conv`.

        Raises:
            SpecError: The map is too small for the blur's reflected border.
        """
        blur = self.kind.anti_aliasing
        if blur is None or self.args.stride == 1:
            return (self.conv(name, source, depth, kernel, stride=self.stride, **options),)
        dense = self.conv(name, source, depth, kernel, **options)
        return dense, self.scope.blur(f"{name}/blur", dense.output, blur.kernel, self.stride)

    def plan(
        self,
        residual: tuple[ResidualLayer, ...],
        shortcut: Shortcut,
        *,
        preactivation: NormActivation | None = None,
        activation: Activation | None = None,
    ) -> UnitPlan:
        """The unit at this place: the layers of its kind, and its attention part."""
        kind = self.kind.attention
        gate = attention(kind, self.scope, residual[-1].output, f"{self.block}.unit.attention") if kind else ()
        return UnitPlan(
            self.scope.name,
            self.source,
            self.stride,
            self.rate,
            preactivation,
            shortcut,
            (*residual, *gate),
            activation,
        )

"""Residual units, resolved: one planning function per unit kind.

Every kind comes out as the same shape of value, a `UnitPlan`, so whatever comes later (counting, lowering) knows units
and not kinds: an optional pre-activation, a shortcut, a chain of convolutions, their sum, an optional activation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnet_compile.plan.geometry import NO_PADDING, FeatureMap, window_output
from resnet_compile.plan.layers import Activation, Conv, Layer, MaxPool, NormActivation, Relu, conv, norm_activation
from resnet_compile.spec.network import BatchNorm
from resnet_compile.spec.units import BottleneckV2, UnitArgs


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What is added to the residual.

    Attributes:
        layers: Applied in order; none of them is the identity.
        from_preactivation: Whether it starts from the pre-activation or from the unit's raw input.
    """

    layers: tuple[Conv | MaxPool, ...]
    from_preactivation: bool


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One residual unit: output = activation(shortcut + residual).

    Attributes:
        scope: The unit's name down to its kind, such as `net/block1/unit_2/bottleneck_v2`.
        source: The map it reads.
        stride: After `output_stride` had its say.
        rate: Of the atrous convolutions.
        preactivation: What the residual starts from, where that is not the raw input.
        shortcut: What is added to the residual.
        residual: Convolutions in order, the first on the pre-activation, or on the raw input without one.
        activation: What follows the sum.
    """

    scope: str
    source: FeatureMap
    stride: int
    rate: int
    preactivation: NormActivation | None
    shortcut: Shortcut
    residual: tuple[Conv, ...]
    activation: Activation | None

    @property
    def output(self) -> FeatureMap:
        """The map of the sum."""
        return self.residual[-1].output

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In the order in which the original creates them, which is the order of its variables."""
        preactivation = (self.preactivation,) if self.preactivation else ()
        return (*preactivation, *self.shortcut.layers, *self.residual)


def subsample(scope: str, source: FeatureMap, stride: int) -> tuple[MaxPool, ...]:
    """TF-slim's `subsample`: every stride-th row and column, as a 1x1 max pool; nothing at stride 1."""
    if stride == 1:
        return ()
    output = window_output(source, source.channels, 1, stride, NO_PADDING)
    assert output is not None, "a 1x1 window fits every map"
    return (MaxPool(scope, source, output, kernel=1, stride=stride, padding=NO_PADDING),)


def plan_unit(
    kind: BottleneckV2, scope: str, args: UnitArgs, source: FeatureMap, stride: int, rate: int, norm: BatchNorm
) -> UnitPlan:
    """One unit of the given kind.

    Args:
        kind: The spec's unit.
        scope: The unit's name without its kind, such as `net/block1/unit_2`.
        args: Depths; its stride is the nominal one and is not read.
        source: The map the unit reads.
        stride: The stride that the unit runs with.
        rate: The rate that its atrous convolutions run with.
        norm: The network's normalisation.
    """
    return _PLANNERS[type(kind)](f"{scope}/{kind.kind}", args, source, stride, rate, norm)


def _bottleneck_v2(scope: str, args: UnitArgs, source: FeatureMap, stride: int, rate: int, norm: BatchNorm) -> UnitPlan:
    """`resnet_v2.bottleneck` of TF-slim: only the depth decides between subsampling and projecting."""
    assert args.depth_bottleneck is not None, "the spec requires it of bottleneck kinds"
    preactivation = norm_activation(f"{scope}/preact", source, norm, Relu())
    if args.depth == source.channels:
        shortcut = Shortcut(subsample(f"{scope}/shortcut", source, stride), from_preactivation=False)
    else:
        projection = conv(f"{scope}/shortcut", source, args.depth, 1, stride=stride, biases=True)
        shortcut = Shortcut((projection,), from_preactivation=True)
    width = args.depth_bottleneck
    conv1 = conv(f"{scope}/conv1", source, width, 1, norm_spec=norm, activation=Relu())
    conv2 = conv(f"{scope}/conv2", conv1.output, width, 3, stride=stride, rate=rate, norm_spec=norm, activation=Relu())
    conv3 = conv(f"{scope}/conv3", conv2.output, args.depth, 1, biases=True)
    return UnitPlan(scope, source, stride, rate, preactivation, shortcut, (conv1, conv2, conv3), activation=None)


_PLANNERS: dict[type, Callable[[str, UnitArgs, FeatureMap, int, int, BatchNorm], UnitPlan]] = {
    BottleneckV2: _bottleneck_v2,
}

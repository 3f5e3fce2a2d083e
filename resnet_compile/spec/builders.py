"""Builders of blocks and networks, under the originals' own names.

A block is a run of units of one depth. The last unit strides in blocks of TF-slim and of Keras's version 2, the first
in all others. Arguments that make no block raise a `SpecError`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from resnet_compile.checked import Positive, checked_call
from resnet_compile.spec.base import Depth, SpecModel, Stride
from resnet_compile.spec.network import BatchNorm, Block, Head, Input, NetworkSpec
from resnet_compile.spec.parts import Attention, Projection, Shortcut
from resnet_compile.spec.roots import CifarRoot
from resnet_compile.spec.units import (
    BottleneckV1,
    BottleneckV2,
    CaffeBottleneck,
    CifarBottleneck,
    CifarPlain,
    FirstShortcut,
    KerasV2Bottleneck,
    PreactBasic,
    TimmPreactBottleneck,
    TorchvisionBasic,
    TorchvisionBottleneck,
    UnitArgs,
    UnitKind,
)


@checked_call(SpecModel)
def resnet_v1_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A block of TF-slim's original bottlenecks: its `resnet_v1_block`.

    Args:
        scope: The block's name.
        base_depth: Channels inside the bottlenecks; the units' outputs have four times as many.
        num_units: How many units.
        stride: Stride of the last unit; the others have stride 1.
    """
    return _block(scope, BottleneckV1(), 4 * base_depth, base_depth, num_units, stride, last=True)


@checked_call(SpecModel)
def resnet_v2_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A block of pre-activation bottlenecks: TF-slim's `resnet_v2_block`. Arguments as `resnet_v1_block`."""
    return _block(scope, BottleneckV2(), 4 * base_depth, base_depth, num_units, stride, last=True)


@checked_call(SpecModel)
def keras_v2_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A stack of Keras's `ResNetV2`: its `stack2`. Arguments as `resnet_v1_block`."""
    return _block(scope, KerasV2Bottleneck(), 4 * base_depth, base_depth, num_units, stride, last=True)


@checked_call(SpecModel)
def keras_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A stack of Keras's `ResNet`: its `stack1`, of Caffe's bottlenecks with biases. The first unit projects whatever
    its depth. Arguments as `caffe_block`.
    """
    unit = CaffeBottleneck(biases=True, shortcut=Projection(at="first"))
    return _block(scope, unit, 4 * base_depth, base_depth, num_units, stride)


@checked_call(SpecModel)
def caffe_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A stage of He et al.'s Caffe networks.

    Args:
        scope: The block's name.
        base_depth: Channels inside the bottlenecks; the units' outputs have four times as many.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
    """
    return _block(scope, CaffeBottleneck(), 4 * base_depth, base_depth, num_units, stride)


@checked_call(SpecModel)
def torchvision_basic_block(
    scope: str,
    depth: Depth,
    num_units: Positive,
    stride: Stride,
    *,
    attention: Attention | None = None,
    shortcut: Shortcut | None = None,
    padding: Literal["same"] | None = None,
) -> Block:
    """A layer of basic units of torchvision's networks, and of timm's of the same name.

    Args:
        scope: The block's name.
        depth: Channels of the units' outputs; torchvision's `planes`.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
        attention: The gate on the residuals' channels.
        shortcut: The shortcut, instead of the units' own.
        padding: `same` for TensorFlow's SAME.
    """
    unit = TorchvisionBasic(**_parts(attention=attention, shortcut=shortcut, padding=padding))
    return _block(scope, unit, depth, None, num_units, stride)


@checked_call(SpecModel)
def torchvision_bottleneck_block(
    scope: str,
    base_depth: Depth,
    num_units: Positive,
    stride: Stride,
    *,
    groups: int = 1,
    base_width: int = 64,
    attention: Attention | None = None,
    shortcut: Shortcut | None = None,
    padding: Literal["same"] | None = None,
) -> Block:
    """A layer of bottlenecks of torchvision's networks, and of timm's of the same name.

    Args:
        scope: The block's name.
        base_depth: torchvision's `planes`; the units' outputs have four times as many channels.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
        groups: Groups of the 3x3 convolutions.
        base_width: Channels of a group for each 64 of `base_depth`.
        attention: The gate on the residuals' channels.
        shortcut: The shortcut, instead of the units' own.
        padding: `same` for TensorFlow's SAME.
    """
    parts = _parts(attention=attention, shortcut=shortcut, padding=padding)
    unit = TorchvisionBottleneck(groups=groups, base_width=base_width, **parts)
    return _block(scope, unit, 4 * base_depth, base_depth, num_units, stride)


@checked_call(SpecModel)
def timm_preact_block(
    scope: str, base_depth: Depth, num_units: Positive, stride: Stride, *, shortcut: Shortcut | None = None
) -> Block:
    """A stage of timm's `ResNetV2`. Arguments as `torchvision_bottleneck_block`."""
    unit = TimmPreactBottleneck(**_parts(shortcut=shortcut))
    return _block(scope, unit, 4 * base_depth, base_depth, num_units, stride)


@checked_call(SpecModel)
def preact_basic_block(scope: str, depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A layer of pre-activation units of two 3x3 convolutions. Arguments as `torchvision_basic_block`."""
    return _block(scope, PreactBasic(), depth, None, num_units, stride)


# The kinds of the official `resnet`'s basic units and bottlenecks, by its version.
_OFFICIAL: dict[
    int, tuple[type[PreactBasic | TorchvisionBasic], type[TimmPreactBottleneck | TorchvisionBottleneck]]
] = {
    1: (TorchvisionBasic, TorchvisionBottleneck),
    2: (PreactBasic, TimmPreactBottleneck),
}


@checked_call(SpecModel)
def tf_official_block(
    scope: str,
    base_depth: Depth,
    num_units: Positive,
    stride: Stride,
    *,
    version: Literal[1, 2] = 2,
    bottleneck: bool = True,
) -> Block:
    """A block of TensorFlow's official `resnet`: its `block_layer`. The first unit projects whatever its depth.

    Args:
        scope: The block's name.
        base_depth: The original's `filters`; the outputs of bottlenecks have four times as many channels.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
        version: 1, or 2 for pre-activation units.
        bottleneck: Whether the units are bottlenecks.
    """
    basic, bottlenecks = _OFFICIAL[version]
    unit = (bottlenecks if bottleneck else basic)(shortcut=Projection(at="first"))
    depth, inner = (4 * base_depth, base_depth) if bottleneck else (base_depth, None)
    return _block(scope, unit, depth, inner, num_units, stride)


@checked_call(SpecModel)
def mlperf_tiny_block(scope: str, depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A stack of MLPerf Tiny's ResNet-8: basic units with biases and TensorFlow's SAME padding; the projection has no
    normalisation. Arguments as `torchvision_basic_block`.
    """
    unit = TorchvisionBasic(biases=True, padding="same", shortcut=Projection(norm=False))
    return _block(scope, unit, depth, None, num_units, stride)


@checked_call(SpecModel)
def cifar_plain_block(
    scope: str,
    depth: Depth,
    num_units: Positive,
    stride: Stride,
    *,
    relu_leakiness: float = 0.1,
    first_shortcut: FirstShortcut = "raw",
) -> Block:
    """A group of the CIFAR system's plain units.

    Args:
        scope: The block's name.
        depth: Channels of the units' outputs.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
        relu_leakiness: Slope of the leaky ReLU below zero.
        first_shortcut: The start of the first unit's shortcut: its activated or its raw input.
    """
    unit = CifarPlain(relu_leakiness=relu_leakiness, first_shortcut=first_shortcut)
    return _block(scope, unit, depth, None, num_units, stride)


@checked_call(SpecModel)
def cifar_bottleneck_block(
    scope: str,
    depth: Depth,
    num_units: Positive,
    stride: Stride,
    *,
    relu_leakiness: float = 0.1,
    first_shortcut: FirstShortcut = "raw",
) -> Block:
    """A group of the CIFAR system's bottlenecks, a quarter as wide inside. Arguments as `cifar_plain_block`."""
    unit = CifarBottleneck(relu_leakiness=relu_leakiness, first_shortcut=first_shortcut)
    return _block(scope, unit, depth, depth // 4, num_units, stride)


class HParams(NamedTuple):
    """The CIFAR system's hyperparameters, with the values of its training program."""

    batch_size: int = 128
    """Images in a training batch."""

    num_classes: int = 10
    """10 or 100."""

    min_lrn_rate: float = 0.0001
    """Unused, as in the original."""

    lrn_rate: float = 0.1
    """The first learning rate."""

    num_residual_units: int = 5
    """Units in each of the three groups."""

    use_bottleneck: bool = False
    """Whether the units are bottlenecks."""

    weight_decay_rate: float = 0.0002
    """Factor of the L2 penalty."""

    relu_leakiness: float = 0.1
    """Slope of the leaky ReLU below zero."""

    optimizer: str = "mom"
    """`mom` or `sgd`."""


PLAIN_FILTERS = (16, 16, 32, 64)
BOTTLENECK_FILTERS = (16, 64, 128, 256)


@checked_call(SpecModel)
def cifar_network(hps: HParams, name: str, filters: tuple[int, int, int, int] | None = None) -> NetworkSpec:
    """The network that the CIFAR system builds for its hyperparameters.

    `batch_size`, `min_lrn_rate`, `lrn_rate` and `optimizer` concern training and do not change the network.

    Args:
        hps: The hyperparameters.
        name: The network's name.
        filters: Channels of the root and of the three groups; None for the system's own.
    """
    root, *depths = filters or (BOTTLENECK_FILTERS if hps.use_bottleneck else PLAIN_FILTERS)
    group = cifar_bottleneck_block if hps.use_bottleneck else cifar_plain_block
    shortcuts: tuple[FirstShortcut, ...] = ("activated", "raw", "raw")
    return NetworkSpec(
        name=name,
        input=Input(height=32, width=32, preprocess="cifar"),
        root=CifarRoot(depth=root),
        blocks=tuple(
            group(
                f"block{number}",
                depth,
                hps.num_residual_units,
                stride,
                relu_leakiness=hps.relu_leakiness,
                first_shortcut=first_shortcut,
            )
            for number, depth, stride, first_shortcut in zip((1, 2, 3), depths, (1, 2, 2), shortcuts, strict=True)
        ),
        norm=BatchNorm(epsilon=1e-3, decay=0.9, averages="zero_debiased"),
        head=Head(num_classes=hps.num_classes, spatial_squeeze=True, logits="dense"),
        initializer="cifar",
        weight_decay=hps.weight_decay_rate,
    )


def _parts(**parts: SpecModel | str | None) -> dict[str, Any]:
    """The parts that are not None: a unit's JSON leaves out fields that were not given."""
    return {name: part for name, part in parts.items() if part is not None}


def _block(
    scope: str, unit: UnitKind, depth: int, inner: int | None, num_units: int, stride: int, *, last: bool = False
) -> Block:
    """A block of units of one depth, where the first or the last strides."""
    strided = [UnitArgs(depth=depth, depth_bottleneck=inner, stride=stride)] if stride > 1 else []
    rest = num_units - len(strided)
    even = [UnitArgs(depth=depth, depth_bottleneck=inner, stride=1, repeat=rest)] if rest else []
    return Block(scope=scope, unit=unit, args=tuple(even + strided if last else strided + even))

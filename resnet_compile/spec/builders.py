"""Specs in a line a block, under the originals' own names.

A block is a run of units of one depth. The blocks of TF-slim and of Keras's version 2 bear their stride in the last
unit, all others in the first. Arguments that make no block are a `SpecError`.
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
    """A block of TF-slim's original bottlenecks, as its `resnet_v1_block`.

    Args:
        scope: The block's name.
        base_depth: Channels inside the bottlenecks; the units' outputs have four times as many.
        num_units: How many units.
        stride: Stride of the last unit; the others have stride 1.
    """
    return _block(scope, BottleneckV1(), 4 * base_depth, base_depth, num_units, stride, last=True)


@checked_call(SpecModel)
def resnet_v2_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A block of pre-activation bottlenecks, as TF-slim's `resnet_v2_block`; arguments as `resnet_v1_block`."""
    return _block(scope, BottleneckV2(), 4 * base_depth, base_depth, num_units, stride, last=True)


@checked_call(SpecModel)
def keras_v2_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A stack of Keras's `ResNetV2`, as its `stack2`; arguments as `resnet_v1_block`."""
    return _block(scope, KerasV2Bottleneck(), 4 * base_depth, base_depth, num_units, stride, last=True)


@checked_call(SpecModel)
def keras_block(scope: str, base_depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A stack of Keras's `ResNet`, as its `stack1`: Caffe's bottlenecks with biases, of which the first projects
    whatever its depth; arguments as `caffe_block`.
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
    """A layer of torchvision's networks of basic units, and of timm's of the same name.

    Args:
        scope: The block's name.
        depth: What torchvision calls planes.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
        attention: What weighs the residuals' channels.
        shortcut: What stands for the units' own shortcut.
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
    """A layer of torchvision's networks of bottlenecks, and of timm's of the same name.

    Args:
        scope: The block's name.
        base_depth: What torchvision calls planes; the units' outputs have four times as many channels.
        num_units: How many units.
        stride: Stride of the first unit; the others have stride 1.
        groups: Groups of the 3x3 convolutions.
        base_width: Channels of a group for each 64 of `base_depth`.
        attention: What weighs the residuals' channels.
        shortcut: What stands for the units' own shortcut.
        padding: `same` for TensorFlow's SAME.
    """
    parts = _parts(attention=attention, shortcut=shortcut, padding=padding)
    unit = TorchvisionBottleneck(groups=groups, base_width=base_width, **parts)
    return _block(scope, unit, 4 * base_depth, base_depth, num_units, stride)


@checked_call(SpecModel)
def timm_preact_block(
    scope: str, base_depth: Depth, num_units: Positive, stride: Stride, *, shortcut: Shortcut | None = None
) -> Block:
    """A stage of timm's `ResNetV2`; arguments as `torchvision_bottleneck_block`."""
    unit = TimmPreactBottleneck(**_parts(shortcut=shortcut))
    return _block(scope, unit, 4 * base_depth, base_depth, num_units, stride)


@checked_call(SpecModel)
def preact_basic_block(scope: str, depth: Depth, num_units: Positive, stride: Stride) -> Block:
    """A layer of pre-activation units of two 3x3 convolutions; arguments as `torchvision_basic_block`."""
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
    """A block of TensorFlow's official `resnet`, as its `block_layer`: the first unit projects whatever its depth.

    Args:
        scope: The block's name.
        base_depth: What the original calls filters; the outputs of bottlenecks have four times as many channels.
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
    """A stack of MLPerf Tiny's ResNet-8: basic units with biases and TensorFlow's SAME padding, whose projection has no
    normalisation; arguments as `torchvision_basic_block`.
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
        first_shortcut: What the first unit's shortcut starts from.
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
    """A group of the CIFAR system's bottlenecks, a quarter as wide inside; arguments as `cifar_plain_block`."""
    unit = CifarBottleneck(relu_leakiness=relu_leakiness, first_shortcut=first_shortcut)
    return _block(scope, unit, depth, depth // 4, num_units, stride)


class HParams(NamedTuple):
    """The CIFAR system's hyperparameters, with the values that its training program sets."""

    batch_size: int = 128
    """Images at a time, in training."""

    num_classes: int = 10
    """10, or 100."""

    min_lrn_rate: float = 0.0001
    """Nothing reads it, as nothing does in the original."""

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

    `batch_size`, `min_lrn_rate`, `lrn_rate` and `optimizer` say how it is trained and do not change it.

    Args:
        hps: The hyperparameters.
        name: The network's name.
        filters: Channels of the root and of the three groups; None for the system's own, by `use_bottleneck`.
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
    """The parts that are given, so that a unit without them is written without them."""
    return {name: part for name, part in parts.items() if part is not None}


def _block(
    scope: str, unit: UnitKind, depth: int, inner: int | None, num_units: int, stride: int, *, last: bool = False
) -> Block:
    """Units of one depth; the first or the last has the stride."""
    strided = [UnitArgs(depth=depth, depth_bottleneck=inner, stride=stride)] if stride > 1 else []
    rest = num_units - len(strided)
    even = [UnitArgs(depth=depth, depth_bottleneck=inner, stride=1, repeat=rest)] if rest else []
    return Block(scope=scope, unit=unit, args=tuple(even + strided if last else strided + even))

"""The kinds of residual unit, a variant each, and the parts that they are combined with.

What differs in wiring is a kind of its own: where the norm stands, where the stride sits, what the shortcut starts
from. What systems combine is a part, absent by default.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resnet_compile.limits import MAX_DEPTH, MAX_REPEAT
from resnet_compile.spec.base import Depth, PositionalModel, SpecModel, Stride
from resnet_compile.spec.parts import Attention, BlurPool, Shortcut

Leakiness = Annotated[float, Field(ge=0, lt=1)]
FirstShortcut = Literal["activated", "raw"]


class UnitModel(SpecModel):
    """What all kinds can be combined with."""

    kind: str

    bottleneck: ClassVar[bool] = False
    """Whether the args have a `depth_bottleneck`."""

    fixed_activation: ClassVar[bool] = False
    """Whether the kind has an activation of its own, which the network's does not change."""

    attention: Attention | None = None
    """What weighs the residual's channels before the sum; null for nothing."""

    anti_aliasing: BlurPool | None = None
    """What takes the stride over from the convolution that bears it; null for nothing."""

    biases: bool = False
    """Whether every convolution has biases, those before a normalisation too."""

    padding: Literal["same"] | None = None
    """`same` pads every convolution by TensorFlow's SAME; null as the kind does."""

    shortcut: Shortcut | None = None
    """What the shortcut is where it is not the input; null as the kind has it."""


class BottleneckModel(UnitModel):
    """What all bottlenecks can be combined with.

    Their inner channels are `depth_bottleneck` * `base_width` // 64 * `groups`.
    """

    bottleneck: ClassVar[bool] = True

    groups: Annotated[int, Field(ge=1, le=MAX_DEPTH)] = 1
    """Groups of the 3x3 convolution: the cardinality of a ResNeXt."""

    base_width: Annotated[int, Field(ge=1, le=MAX_DEPTH)] = 64
    """Channels of a group where `depth_bottleneck` is 64; 64 leaves `depth_bottleneck` as it is."""


class BottleneckV2(BottleneckModel):
    """TF-slim's pre-activation bottleneck (`resnet_v2.bottleneck`): 1x1, strided 3x3, 1x1 on the batch-normalised,
    rectified input; the shortcut is the raw input, subsampled, or where the depth changes a biased 1x1 projection of
    the pre-activation. He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    kind: Literal["bottleneck_v2"] = "bottleneck_v2"


class BottleneckV1(BottleneckModel):
    """TF-slim's original bottleneck (`resnet_v1.bottleneck`): 1x1, strided 3x3, 1x1, each batch-normalised, rectified
    after the sum; the shortcut is the input, subsampled, or where the depth changes a batch-normalised 1x1 projection.
    He et al. 2015, Deep Residual Learning for Image Recognition.
    """

    kind: Literal["bottleneck_v1"] = "bottleneck_v1"


class KerasV2Bottleneck(BottleneckModel):
    """The bottleneck of Keras's `ResNetV2`: `bottleneck_v2`, but for a block's first unit, which projects whatever its
    depth. In every published network the two are the same.
    """

    kind: Literal["keras_v2_bottleneck"] = "keras_v2_bottleneck"


class CaffeBottleneck(BottleneckModel):
    """The bottleneck as He et al. released it for Caffe: the stride is the first 1x1's and the projection's; the
    shortcut is a batch-normalised 1x1 projection where the stride or the depth changes, else the input.
    """

    kind: Literal["caffe_bottleneck"] = "caffe_bottleneck"


class TorchvisionBasic(UnitModel):
    """torchvision's `BasicBlock`: strided 3x3, 3x3, each batch-normalised, rectified after the sum; the shortcut is a
    batch-normalised 1x1 projection where the stride or the depth changes, else the input.
    """

    kind: Literal["torchvision_basic"] = "torchvision_basic"


class TorchvisionBottleneck(BottleneckModel):
    """torchvision's `Bottleneck`, which many call v1.5: 1x1, strided and grouped 3x3, 1x1, each batch-normalised,
    rectified after the sum; the shortcut is a batch-normalised 1x1 projection where the stride or the depth changes,
    else the input.
    """

    kind: Literal["torchvision_bottleneck"] = "torchvision_bottleneck"


class TimmPreactBottleneck(BottleneckModel):
    """timm's pre-activation bottleneck (`resnetv2.PreActBottleneck` with batch norm): 1x1, strided 3x3, 1x1 on the
    batch-normalised, rectified input, without any bias; the shortcut is a 1x1 projection of the pre-activation in a
    block's first unit, whatever its depth, and where the stride or the depth changes, else the raw input.
    """

    kind: Literal["timm_preact_bottleneck"] = "timm_preact_bottleneck"


class PreactBasic(UnitModel):
    """The pre-activation basic unit: strided 3x3, 3x3 on the batch-normalised, rectified input, without any bias; the
    shortcut is a 1x1 projection of the pre-activation where the stride or the depth changes, else the raw input.
    He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    kind: Literal["preact_basic"] = "preact_basic"


class CifarPlain(UnitModel):
    """The plain unit of TensorFlow's CIFAR system: two 3x3 convolutions with TensorFlow's SAME padding, the first
    strided, on the batch-normalised input after a leaky ReLU. Where the depth changes, the shortcut is average-pooled
    by the stride and its channels are padded with zeros, half of them before and half after.
    """

    kind: Literal["cifar_plain"] = "cifar_plain"
    fixed_activation: ClassVar[bool] = True

    relu_leakiness: Leakiness = 0.1
    """Slope of the leaky ReLU below zero."""

    first_shortcut: FirstShortcut = "raw"
    """What the shortcut of the block's first unit starts from: its activated or its raw input. That of the others is
    always the raw one.
    """


class CifarBottleneck(BottleneckModel):
    """The bottleneck of TensorFlow's CIFAR system: strided 1x1, 3x3, 1x1 on the batch-normalised input after a leaky
    ReLU. Where the depth changes, the shortcut is a strided 1x1 projection without normalisation.
    """

    kind: Literal["cifar_bottleneck"] = "cifar_bottleneck"
    fixed_activation: ClassVar[bool] = True

    relu_leakiness: Leakiness = 0.1
    """Slope of the leaky ReLU below zero."""

    first_shortcut: FirstShortcut = "raw"
    """What the shortcut of the block's first unit starts from: its activated or its raw input. That of the others is
    always the raw one.
    """


UnitKind = (
    BottleneckV1
    | BottleneckV2
    | CaffeBottleneck
    | CifarBottleneck
    | CifarPlain
    | KerasV2Bottleneck
    | PreactBasic
    | TimmPreactBottleneck
    | TorchvisionBasic
    | TorchvisionBottleneck
)
Unit = Annotated[UnitKind, Field(discriminator="kind", description="The kind of every unit in the block.")]


class UnitArgs(PositionalModel):
    """The arguments of one unit, or of `repeat` equal units in a row; `(256, 64, 1)` is one too, as in TF-slim."""

    places: ClassVar[tuple[str, ...]] = ("depth", "depth_bottleneck", "stride", "repeat")

    depth: Depth
    """Channels of the unit's output."""

    depth_bottleneck: Depth | None = None
    """Channels inside a bottleneck; given for bottleneck kinds and for no other."""

    widths: Annotated[tuple[Depth, ...], Field(strict=False)] | None = None
    """Channels of each convolution but the last, where they differ: two in a bottleneck, which then has no
    `depth_bottleneck`, and one in other kinds. Given so, they are taken as they are.
    """

    stride: Stride = 1
    """The unit's nominal stride, before `output_stride` has its say."""

    repeat: Annotated[int, Field(ge=1, le=MAX_REPEAT)] = 1
    """How many equal units these arguments stand for."""

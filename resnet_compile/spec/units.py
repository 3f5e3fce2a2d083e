"""The kinds of residual unit, a variant each, and the parts that combine with them.

Units with another wiring are another kind: where the norm stands, where the stride sits, where the shortcut starts. A
part combines with any kind, and is absent by default.
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
    """The parts that combine with all kinds."""

    kind: str

    bottleneck: ClassVar[bool] = False
    """Whether the args have a `depth_bottleneck`."""

    fixed_activation: ClassVar[bool] = False
    """Whether the kind has its own activation instead of the network's."""

    attention: Attention | None = None
    """The gate on the residual's channels before the sum; null for none."""

    anti_aliasing: BlurPool | None = None
    """The blur that takes the stride from the unit's convolution; null for none."""

    biases: bool = False
    """Whether every convolution has biases, even before a normalisation."""

    padding: Literal["same"] | None = None
    """`same` pads every convolution by TensorFlow's SAME; null pads by the kind's own rule."""

    shortcut: Shortcut | None = None
    """The shortcut where it is not the input; null for the kind's own."""


class BottleneckModel(UnitModel):
    """The parts that combine with all bottlenecks.

    Inner channels: `depth_bottleneck` * `base_width` // 64 * `groups`.
    """

    bottleneck: ClassVar[bool] = True

    groups: Annotated[int, Field(ge=1, le=MAX_DEPTH)] = 1
    """Groups of the 3x3 convolution: the cardinality of a ResNeXt."""

    base_width: Annotated[int, Field(ge=1, le=MAX_DEPTH)] = 64
    """Channels of a group if `depth_bottleneck` is 64; 64 leaves `depth_bottleneck` as it is."""


class BottleneckV2(BottleneckModel):
    """TF-slim's pre-activation bottleneck (`resnet_v2.bottleneck`): 1x1, strided 3x3, 1x1 on the batch-normalised,
    rectified input. The shortcut is the raw input, subsampled; where the depth changes, a biased 1x1 projection of the
    pre-activation. He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    kind: Literal["bottleneck_v2"] = "bottleneck_v2"


class BottleneckV1(BottleneckModel):
    """TF-slim's original bottleneck (`resnet_v1.bottleneck`): 1x1, strided 3x3, 1x1, each batch-normalised, rectified
    after the sum. The shortcut is the input, subsampled; where the depth changes, a batch-normalised 1x1 projection.
    He et al. 2015, Deep Residual Learning for Image Recognition.
    """

    kind: Literal["bottleneck_v1"] = "bottleneck_v1"


class KerasV2Bottleneck(BottleneckModel):
    """The bottleneck of Keras's `ResNetV2`: `bottleneck_v2`, except that a block's first unit projects whatever its
    depth. In every published network the two are the same.
    """

    kind: Literal["keras_v2_bottleneck"] = "keras_v2_bottleneck"


class CaffeBottleneck(BottleneckModel):
    """The bottleneck as He et al. released it for Caffe: the first 1x1 convolution and the projection stride. The
    shortcut is a batch-normalised 1x1 projection where the unit strides or its depth changes, else the input.
    """

    kind: Literal["caffe_bottleneck"] = "caffe_bottleneck"


class TorchvisionBasic(UnitModel):
    """torchvision's `BasicBlock`: strided 3x3, 3x3, each batch-normalised, rectified after the sum. The shortcut is a
    batch-normalised 1x1 projection where the unit strides or its depth changes, else the input.
    """

    kind: Literal["torchvision_basic"] = "torchvision_basic"


class TorchvisionBottleneck(BottleneckModel):
    """torchvision's `Bottleneck`, also known as v1.5: 1x1, strided and grouped 3x3, 1x1, each batch-normalised,
    rectified after the sum. The shortcut is a batch-normalised 1x1 projection where the unit strides or its depth
    changes, else the input.
    """

    kind: Literal["torchvision_bottleneck"] = "torchvision_bottleneck"


class TimmPreactBottleneck(BottleneckModel):
    """timm's pre-activation bottleneck (`resnetv2.PreActBottleneck` with batch norm): 1x1, strided 3x3, 1x1 on the
    batch-normalised, rectified input, without biases. The shortcut is a 1x1 projection of the pre-activation in a
    block's first unit and wherever a unit strides or its depth changes, else the raw input.
    """

    kind: Literal["timm_preact_bottleneck"] = "timm_preact_bottleneck"


class PreactBasic(UnitModel):
    """The pre-activation basic unit: strided 3x3, 3x3 on the batch-normalised, rectified input, without biases. The
    shortcut is a 1x1 projection of the pre-activation where the unit strides or its depth changes, else the raw input.
    He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    kind: Literal["preact_basic"] = "preact_basic"


class CifarModel(UnitModel):
    """The settings of both units of TensorFlow's CIFAR system."""

    fixed_activation: ClassVar[bool] = True

    relu_leakiness: Leakiness = 0.1
    """Slope of the leaky ReLU below zero."""

    first_shortcut: FirstShortcut = "raw"
    """The start of the shortcut in the block's first unit: the activated or the raw input. In the other units it is the
    raw input.
    """


class CifarPlain(CifarModel):
    """The plain unit of TensorFlow's CIFAR system: two 3x3 convolutions with TensorFlow's SAME padding, the first
    strided, on the batch-normalised input after a leaky ReLU. Where the depth changes, the shortcut is average-pooled
    by the stride and its channels are padded with zeros, half of them before and half after.
    """

    kind: Literal["cifar_plain"] = "cifar_plain"


class CifarBottleneck(CifarModel, BottleneckModel):
    """The bottleneck of TensorFlow's CIFAR system: strided 1x1, 3x3, 1x1 on the batch-normalised input after a leaky
    ReLU. Where the depth changes, the shortcut is a strided 1x1 projection without normalisation.
    """

    kind: Literal["cifar_bottleneck"] = "cifar_bottleneck"


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
    """The arguments of one unit, or of `repeat` equal units in a row. They can be a tuple, such as `(256, 64, 1)`, as
    in TF-slim.
    """

    places: ClassVar[tuple[str, ...]] = ("depth", "depth_bottleneck", "stride", "repeat")

    depth: Depth
    """Channels of the unit's output."""

    depth_bottleneck: Depth | None = None
    """Channels inside a bottleneck; for bottleneck kinds only."""

    widths: Annotated[tuple[Depth, ...], Field(strict=False)] | None = None
    """Channels of each convolution except the last: two in a bottleneck, instead of a `depth_bottleneck`, and one in
    other kinds. `base_width` and `groups` do not scale them.
    """

    stride: Stride = 1
    """The unit's nominal stride, which `output_stride` may reduce."""

    repeat: Annotated[int, Field(ge=1, le=MAX_REPEAT)] = 1
    """The number of equal units."""

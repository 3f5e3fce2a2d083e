"""The kinds of root block, which turns the image into the first feature map."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.spec.base import Depth, SpecModel
from resnet_compile.spec.parts import MaxRootPool, RootPool, SevenStem, Stem


class ImagenetModel(SpecModel):
    """A root block for ImageNet, by name."""

    kind: str

    depth: Depth = 64
    """Channels of the root convolution; 64 in every published network."""


class ImagenetRoot(ImagenetModel):
    """TF-slim's v2 root: a biased 7x7 convolution of stride 2 padded (3, 3), without normalisation or activation, then
    a 3x3 max pool of stride 2 with TensorFlow's SAME padding.
    """

    kind: Literal["imagenet"] = "imagenet"


class ImagenetV1Root(ImagenetModel):
    """TF-slim's v1 root: a 7x7 convolution of stride 2 padded (3, 3), batch-normalised and rectified, then a 3x3 max
    pool of stride 2 with TensorFlow's SAME padding.
    """

    kind: Literal["imagenet_v1"] = "imagenet_v1"


class TorchvisionRoot(ImagenetModel):
    """torchvision's root: a 7x7 convolution of stride 2 padded (3, 3), batch-normalised and rectified, then a 3x3 max
    pool of stride 2 padded (1, 1) with minus infinity.
    """

    kind: Literal["torchvision"] = "torchvision"


class TimmPreactRoot(ImagenetModel):
    """The root of timm's pre-activation networks: a 7x7 convolution of stride 2 padded (3, 3), without bias,
    normalisation or activation, then a 3x3 max pool of stride 2 padded (1, 1) with minus infinity.
    """

    kind: Literal["timm_preact"] = "timm_preact"


class KerasV2Root(ImagenetModel):
    """The root of Keras's `ResNetV2`: a biased 7x7 convolution of stride 2 padded (3, 3), without normalisation or
    activation, then a 3x3 max pool of stride 2 padded (1, 1) with zeros.
    """

    kind: Literal["keras_v2"] = "keras_v2"


class CifarRoot(SpecModel):
    """The root of CIFAR networks: a 3x3 convolution of stride 1, without bias, normalisation or activation; no pool."""

    kind: Literal["cifar"] = "cifar"

    depth: Depth = 16
    """Channels of the root convolution; 16 in every published network."""


class StemRoot(SpecModel):
    """A root block of parts: a stem of convolutions, and a pool. The other kinds name certain parts."""

    kind: Literal["stem"] = "stem"

    stem: Annotated[Stem, Field(description="The convolutions.")] = SevenStem()
    depth: Depth = 64
    """Channels of the last convolution."""

    norm: bool = True
    """Whether the last convolution is normalised and activated."""

    biases: bool = False
    """Whether the convolutions have biases."""

    padding: Literal["same"] | None = None
    """`same` pads the convolutions by TensorFlow's SAME; null pads both sides equally."""

    pool: Annotated[RootPool | None, Field(description="The pool after the convolutions; null for none.")] = (
        MaxRootPool()
    )


RootKind = ImagenetRoot | ImagenetV1Root | TorchvisionRoot | TimmPreactRoot | KerasV2Root | CifarRoot | StemRoot
Root = Annotated[RootKind, Field(discriminator="kind", description="The root block; null leaves it out.")]

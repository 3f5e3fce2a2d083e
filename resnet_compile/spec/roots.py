"""The kinds of root block: what turns the image into the first feature map."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.spec.base import Depth, SpecModel


class ImagenetRoot(SpecModel):
    """TF-slim's v2 root: a biased 7x7 convolution of stride 2 padded (3, 3), without normalisation or activation, then
    a 3x3 max pool of stride 2 with TensorFlow's SAME padding.
    """

    kind: Literal["imagenet"] = "imagenet"

    depth: Depth = 64
    """Channels of the root convolution; 64 in every published network."""


Root = Annotated[ImagenetRoot, Field(description="The root block; null leaves it out.")]

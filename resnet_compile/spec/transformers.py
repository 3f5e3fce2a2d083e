"""Specs of transformers' residual networks, from the fields of its `ResNetConfig`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.checked import Classes, Positive, checked_call
from resnet_compile.errors import SpecError
from resnet_compile.spec.base import Depth, NetworkName, SpecModel
from resnet_compile.spec.builders import caffe_block, torchvision_basic_block, torchvision_bottleneck_block
from resnet_compile.spec.network import BatchNorm, Block, Head, Input, NetworkSpec
from resnet_compile.spec.roots import TorchvisionRoot

_Sizes = Annotated[tuple[Depth, ...], Field(strict=False, min_length=1)]
_Depths = Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]


@checked_call(SpecModel)
def transformers_network(
    name: NetworkName,
    *,
    num_channels: Positive = 3,
    embedding_size: Depth = 64,
    hidden_sizes: _Sizes = (256, 512, 1024, 2048),
    depths: _Depths = (3, 4, 6, 3),
    layer_type: Literal["basic", "bottleneck"] = "bottleneck",
    hidden_act: Literal["relu"] = "relu",
    downsample_in_first_stage: bool = False,
    downsample_in_bottleneck: bool = False,
    num_labels: Classes = 1000,
) -> NetworkSpec:
    """The network of `ResNetForImageClassification` for a configuration, on images of 224 by 224.

    Args:
        name: The network's name.
        num_channels: Channels of a pixel.
        embedding_size: Channels of the root block.
        hidden_sizes: Channels of every stage's output; a bottleneck has a quarter of them inside.
        depths: Units of every stage.
        layer_type: The kind of unit.
        hidden_act: Only `relu`: the original uses any other activation in some places and a ReLU in the rest.
        downsample_in_first_stage: Whether the first stage strides too.
        downsample_in_bottleneck: Whether a bottleneck strides in its first convolution. Basic units ignore it.
        num_labels: Classes.

    Raises:
        SpecError: An argument is wrong, or there are more or fewer sizes than depths.
    """
    if len(hidden_sizes) != len(depths):
        raise SpecError(
            f"depths must be {len(hidden_sizes)}, one for each of hidden_sizes, got {len(depths)}", where="depths"
        )

    def stage(index: int, size: int, units: int) -> Block:
        scope, stride = f"block{index + 1}", 2 if index or downsample_in_first_stage else 1
        if layer_type == "basic":
            return torchvision_basic_block(scope, size, units, stride)
        block = caffe_block if downsample_in_bottleneck else torchvision_bottleneck_block
        return block(scope, size // 4, units, stride)

    return NetworkSpec(
        name=name,
        input=Input(height=224, width=224, channels=num_channels),
        root=TorchvisionRoot(depth=embedding_size),
        blocks=tuple(
            stage(index, size, units) for index, (size, units) in enumerate(zip(hidden_sizes, depths, strict=True))
        ),
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=num_labels, logits="dense", predictions=None),
        initializer="torchvision",
    )

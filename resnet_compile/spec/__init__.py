"""The spec language: Pydantic models, loading with limits, the JSON Schema, the catalogue."""

from resnet_compile.spec.builders import (
    HParams,
    caffe_block,
    cifar_bottleneck_block,
    cifar_network,
    cifar_plain_block,
    keras_v2_block,
    resnet_v1_block,
    resnet_v2_block,
    timm_preact_block,
    torchvision_basic_block,
    torchvision_bottleneck_block,
)
from resnet_compile.spec.catalogue import catalogue, load_spec
from resnet_compile.spec.loading import build_spec, parse_spec, read_spec
from resnet_compile.spec.network import BatchNorm, Block, Head, Input, NetworkSpec
from resnet_compile.spec.roots import (
    CifarRoot,
    ImagenetRoot,
    ImagenetV1Root,
    KerasV2Root,
    TimmPreactRoot,
    TorchvisionRoot,
)
from resnet_compile.spec.schema import network_schema, network_schema_text
from resnet_compile.spec.units import (
    BottleneckV1,
    BottleneckV2,
    CaffeBottleneck,
    CifarBottleneck,
    CifarPlain,
    KerasV2Bottleneck,
    TimmPreactBottleneck,
    TorchvisionBasic,
    TorchvisionBottleneck,
    UnitArgs,
)
from resnet_compile.spec.writing import spec_text

__all__ = [
    "BatchNorm",
    "Block",
    "BottleneckV1",
    "BottleneckV2",
    "CaffeBottleneck",
    "CifarBottleneck",
    "CifarPlain",
    "CifarRoot",
    "HParams",
    "Head",
    "ImagenetRoot",
    "ImagenetV1Root",
    "Input",
    "KerasV2Bottleneck",
    "KerasV2Root",
    "NetworkSpec",
    "TimmPreactBottleneck",
    "TimmPreactRoot",
    "TorchvisionBasic",
    "TorchvisionBottleneck",
    "TorchvisionRoot",
    "UnitArgs",
    "build_spec",
    "caffe_block",
    "catalogue",
    "cifar_bottleneck_block",
    "cifar_network",
    "cifar_plain_block",
    "keras_v2_block",
    "load_spec",
    "network_schema",
    "network_schema_text",
    "parse_spec",
    "read_spec",
    "resnet_v1_block",
    "resnet_v2_block",
    "spec_text",
    "timm_preact_block",
    "torchvision_basic_block",
    "torchvision_bottleneck_block",
]

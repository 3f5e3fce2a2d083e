"""The spec language: Pydantic models, loading with limits, the JSON Schema, the catalogue."""

from resnet_compile.spec.builders import resnet_v2_block
from resnet_compile.spec.catalogue import catalogue, load_spec
from resnet_compile.spec.loading import build_spec, parse_spec, read_spec
from resnet_compile.spec.network import BatchNorm, Block, Head, Input, NetworkSpec
from resnet_compile.spec.roots import ImagenetRoot
from resnet_compile.spec.schema import network_schema, network_schema_text
from resnet_compile.spec.units import BottleneckV2, UnitArgs

__all__ = [
    "BatchNorm",
    "Block",
    "BottleneckV2",
    "Head",
    "ImagenetRoot",
    "Input",
    "NetworkSpec",
    "UnitArgs",
    "build_spec",
    "catalogue",
    "load_spec",
    "network_schema",
    "network_schema_text",
    "parse_spec",
    "read_spec",
    "resnet_v2_block",
]

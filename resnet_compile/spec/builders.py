"""Specs in a line a block, under TF-slim's own names."""

from __future__ import annotations

from resnet_compile.spec.network import Block
from resnet_compile.spec.units import BottleneckV2, UnitArgs


def resnet_v2_block(scope: str, base_depth: int, num_units: int, stride: int) -> Block:
    """A block of pre-activation bottlenecks, as TF-slim's `resnet_v2_block`.

    Args:
        scope: The block's name.
        base_depth: Channels inside the bottlenecks; the units' outputs have four times as many.
        num_units: How many units.
        stride: Stride of the last unit; the others have stride 1.
    """
    unit = {"depth": 4 * base_depth, "depth_bottleneck": base_depth}
    args = [UnitArgs(**unit, repeat=num_units - 1)] if num_units > 1 else []
    return Block(scope=scope, unit=BottleneckV2(), args=(*args, UnitArgs(**unit, stride=stride)))

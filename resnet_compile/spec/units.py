"""The kinds of residual unit, a variant each. What differs between systems is a kind of its own, never a flag."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resnet_compile.spec.base import MAX_REPEAT, Depth, SpecModel, Stride


class BottleneckV2(SpecModel):
    """TF-slim's pre-activation bottleneck (`resnet_v2.bottleneck`): 1x1, strided 3x3, 1x1 on the batch-normalised,
    rectified input; the shortcut is the raw input, subsampled, or where the depth changes a biased 1x1 projection of
    the pre-activation. He et al. 2016, Identity Mappings in Deep Residual Networks.
    """

    kind: Literal["bottleneck_v2"] = "bottleneck_v2"

    bottleneck: ClassVar[bool] = True


Unit = Annotated[BottleneckV2, Field(description="The kind of every unit in the block.")]


class UnitArgs(SpecModel):
    """The arguments of one unit, or of `repeat` equal units in a row."""

    depth: Depth
    """Channels of the unit's output."""

    depth_bottleneck: Depth | None = None
    """Channels inside a bottleneck; given for bottleneck kinds and for no other."""

    stride: Stride = 1
    """The unit's nominal stride, before `output_stride` has its say."""

    repeat: Annotated[int, Field(ge=1, le=MAX_REPEAT)] = 1
    """How many equal units these arguments stand for."""

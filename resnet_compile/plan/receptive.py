"""The part of the image that each value depends on: its receptive field.

Along one axis, position 0 of a value sees the pixels from `first` to `last`, and position n the same moved by n times
`stride` pixels. The image itself has first = last = 0 and stride 1. A window of span k and stride s, with p rows of
padding before its source, makes

    first' = first - p * stride,  last' = last + (k - 1 - p) * stride,  stride' = s * stride

so a field grows by (k - 1) * stride, as in Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional
Neural Networks". A sum sees what either of its branches sees. The field of a value at the border reaches beyond the
image, into padding. A mean over the whole image has no field of this kind, and neither has what comes after it. The
factors of channel attention come from such a mean and do not count here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from resnet_compile.plan.geometry import Padding, effective_kernel
from resnet_compile.plan.layers import (
    AveragePool,
    Blur,
    ChannelConv,
    ChannelGate,
    ChannelPad,
    Conv,
    Dense,
    GlobalPool,
    Layer,
    MaxPool,
    NormActivation,
)
from resnet_compile.plan.network import Plan


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The pixels that the value's position in row 0 and column 0 depends on.

    Attributes:
        stride: Pixels from one position to the next, in rows and in columns.
        top: The first row.
        left: The first column.
        bottom: The last row.
        right: The last column.
    """

    stride: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top + 1, self.right - self.left + 1


_PIXEL = ReceptiveField(1, 0, 0, 0, 0)


def receptive_fields(plan: Plan) -> dict[str, ReceptiveField | None]:
    """The receptive field of every layer, unit and block, by scope; None for the whole image."""
    fields: dict[str, ReceptiveField | None] = {}

    def after(layers: tuple[Layer, ...], field: ReceptiveField | None) -> ReceptiveField | None:
        for layer in layers:
            field = fields[layer.scope] = _seen(layer, field)
        return field

    field = after(plan.root, _PIXEL)
    for block in plan.blocks:
        for unit in block.units:
            if unit.preactivation:
                fields[unit.preactivation.scope] = field
            field = _both(after(unit.shortcut.layers, field), after(unit.residual, field))
            fields[unit.scope] = field
        fields[block.scope] = field
    after(plan.head.layers, field)
    return fields


def _seen(layer: Layer, field: ReceptiveField | None) -> ReceptiveField | None:
    """What a layer sees whose source sees `field`."""
    match layer:
        case GlobalPool() | Dense():
            return None
        case Conv():
            return _moved(field, effective_kernel(layer.kernel, layer.rate), layer.stride, layer.padding)
        case MaxPool() | Blur():
            return _moved(field, layer.kernel, layer.stride, layer.padding)
        case AveragePool():
            return _moved(field, layer.stride, layer.stride, layer.padding)
        case ChannelConv() | ChannelGate() | ChannelPad() | NormActivation():
            return field
        case _:
            assert_never(layer)


def _moved(field: ReceptiveField | None, span: int, stride: int, padding: Padding) -> ReceptiveField | None:
    if field is None:
        return None
    jump = field.stride
    return ReceptiveField(
        jump * stride,
        field.top - padding.top * jump,
        field.left - padding.left * jump,
        field.bottom + (span - 1 - padding.top) * jump,
        field.right + (span - 1 - padding.left) * jump,
    )


def _both(one: ReceptiveField | None, other: ReceptiveField | None) -> ReceptiveField | None:
    """What a sum sees."""
    if one is None or other is None:
        return None
    top, left = min(one.top, other.top), min(one.left, other.left)
    return ReceptiveField(one.stride, top, left, max(one.bottom, other.bottom), max(one.right, other.right))

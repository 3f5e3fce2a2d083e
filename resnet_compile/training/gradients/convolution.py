"""Convolutions and their gradients, in the form that suits a shape and a provider best.

For taps i (in rows; columns go alike), stride s, rate r and p rows of padding before,

    y[o] = sum over i of w[i] x[s o + r i - p],
    dx[h] = sum over o and i with s o + r i - p = h of w[i] dy[o],
    dw[i] = sum over o of dy[o] x[s o + r i - p].
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np

from resnet_compile.graph import Attribute, Node, Value, apply
from resnet_compile.training.gradients.geometry import Geometry
from resnet_compile.training.gradients.rule import Adjoint, Applied, Emitter, Rule, Target, apply_unchanged
from resnet_compile.training.gradients.weights import channels_first, weights_adjoint, weights_adjoint_of_columns

ForwardForm = Literal["convolution", "product"]
InputForm = Literal["product", "flipped", "transposed", "cropped"]

# onnxruntime's CPU provider multiplies matrices in panels of so many columns, however few of them there are.
_PANEL = 16
# In multiply-adds: what it takes to move a value of a map to its place and back, and of a column, through three copies.
_MOVE, _GATHER = 30, 90
# Kernels of more output channels than so many for a pixel take longer to turn than the map to make.
_HEAVY = 4


def forward_form(geometry: Geometry, target: Target) -> ForwardForm:
    """How to make the output.

    * ``convolution``: the operator itself, which on the CPU is one matrix product for each image.
    * ``product``: one product for all images. So few pixels has an image deep in a network that most of a panel of the
      product's columns would be empty; all images together fill it.
    """
    return "product" if target == "cpu" and _gathering_pays(geometry) else "convolution"


def _gathering_pays(geometry: Geometry) -> bool:
    """Whether the empty columns of one product an image cost more than to bring the pixels of all images together."""
    empty = -geometry.pixels % _PANEL / geometry.pixels
    column = geometry.inner * geometry.taps
    gathering = _MOVE * (geometry.inner + geometry.outer) + (_GATHER * column if geometry.taps > 1 else 0)
    return empty * geometry.outer * column > gathering


def input_form(geometry: Geometry, target: Target) -> InputForm:
    """How to make the input's adjoint; on the CPU by measurement.

    * ``product``: one matrix product for all images, as forward.
    * ``flipped``: a convolution with the kernel turned round and its channels swapped; for stride 1, where the maps
      outweigh the kernel that has to be rearranged.
    * ``transposed``: ConvTranspose, with `rest` rows of output padding.
    * ``cropped``: the same without pads, cut to size; CUDA's convolutions have equal pads on both sides.
    """
    if target == "cuda":
        equal = all(window.before == window.after for window in geometry.windows)
        return "transposed" if equal else "cropped"
    if geometry.strided or not all(window.turns for window in geometry.windows):
        return "transposed"
    if _gathering_pays(geometry.mirrored()):
        return "product"
    return "flipped" if geometry.outer <= _HEAVY * geometry.batch * geometry.pixels else "transposed"


def _forward(node: Node, name: str, emit: Emitter) -> Applied:
    applied = apply_unchanged(node, name, emit)
    geometry = Geometry.of(applied)
    if forward_form(geometry, emit.target) == "convolution":
        return applied
    columns = _columns(geometry, applied.x, emit)
    weights = emit.reshape(applied.node.input(1), (geometry.groups, geometry.outer, geometry.inner * geometry.taps))
    swapped = _multiplied(geometry, weights, columns, emit)
    if node.optional(2):
        biases = emit.reshape(applied.node.input(2), (geometry.depth, 1, 1, 1))
        swapped = emit.apply("Add", swapped, biases)
    y = apply("Transpose", swapped, name=name, perm=(1, 0, 2, 3))
    return Applied(node, y, (columns,))


def _columns(geometry: Geometry, x: Value, emit: Emitter, *, backward: bool = False) -> Value:
    """What each output pixel of each image reads, as a column: [groups, channel and tap, image and pixel].

    Args:
        geometry: The convolution's.
        x: Its input.
        emit: Where to write.
        backward: Whether the taps of a channel stand in reverse order.
    """
    groups, pixels = geometry.groups, geometry.batch * geometry.pixels
    rows, columns = geometry.windows
    swapped = channels_first(x, emit)
    padded = emit.pad(swapped, (0, 0, rows.before, columns.before), (0, 0, rows.after, columns.after))
    taps = list(product(range(rows.kernel), range(columns.kernel)))
    seen = [emit.slice(padded, {2: rows.seen(i), 3: columns.seen(j)}) for i, j in (taps[::-1] if backward else taps)]
    stacked = emit.concat([emit.reshape(each, (groups, geometry.inner, 1, pixels)) for each in seen], 2)
    return emit.reshape(stacked, (groups, geometry.inner * geometry.taps, pixels))


def _multiplied(geometry: Geometry, weights: Value, columns: Value, emit: Emitter) -> Value:
    """Output maps, [depth, N, rows, columns], of kernels that are the rows of a matrix."""
    shape = (geometry.depth, geometry.batch, geometry.rows.output, geometry.columns.output)
    return emit.reshape(emit.apply("MatMul", weights, columns), shape)


def _backward(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    geometry, dy = Geometry.of(applied), adjoint.output
    dx = _input_adjoint(geometry, dy, applied.node.input(1), emit) if adjoint.needed[0] else None
    dw = None
    if adjoint.needed[1] and applied.saved:
        dw = weights_adjoint_of_columns(geometry, applied.saved[0], dy, emit)
    elif adjoint.needed[1]:
        dw = weights_adjoint(geometry, applied.x, dy, emit)
    biases = (emit.sum(dy, (0, 2, 3)) if adjoint.needed[2] else None,) if len(applied.node.inputs) > 2 else ()
    return dx, dw, *biases


def _input_adjoint(geometry: Geometry, dy: Value, weights: Value, emit: Emitter) -> Value:
    form = input_form(geometry, emit.target)
    if form == "product":
        return _product(geometry, dy, weights, emit)
    if form == "flipped":
        return _flipped(geometry, dy, weights, emit)
    windows = geometry.windows
    attributes: dict[str, Attribute] = {
        "strides": tuple(window.stride for window in windows),
        "dilations": tuple(window.rate for window in windows),
        "group": geometry.groups,
    }
    if form == "transposed":
        pads = (*(window.before for window in windows), *(window.after for window in windows))
        extra = tuple(window.rest for window in windows)
        return emit.apply("ConvTranspose", dy, weights, pads=pads, output_padding=extra, **attributes)
    extra = tuple(max(window.rest - window.after, 0) for window in windows)
    full = emit.apply("ConvTranspose", dy, weights, output_padding=extra, **attributes)
    return emit.slice(full, {2 + axis: (w.before, w.before + w.size, 1) for axis, w in enumerate(windows)})


def _product(geometry: Geometry, dy: Value, weights: Value, emit: Emitter) -> Value:
    """With dx[h] = sum over i of w[i] dy[h + p - r i]: a convolution whose taps run backward."""
    back = geometry.mirrored()
    columns = _columns(back, dy, emit, backward=True)
    swapped = emit.reshape(_swapped(geometry, weights, emit), (back.groups, back.outer, back.inner * back.taps))
    return channels_first(_multiplied(back, swapped, columns, emit), emit)


def _flipped(geometry: Geometry, dy: Value, weights: Value, emit: Emitter) -> Value:
    """The same by a convolution, whose kernel is turned round instead.

    A permutation matrix turns it; Slice with negative steps takes several times as long.
    """
    swapped, taps, back = _swapped(geometry, weights, emit), geometry.taps, geometry.mirrored()
    if taps > 1:
        dtype = weights.type.dtype
        backward = emit.tensor(f"backward/{taps}", np.eye(taps, dtype=dtype)[::-1], dtype)
        swapped = emit.apply("MatMul", emit.reshape(swapped, (geometry.source * geometry.outer, taps)), backward)
    return emit.apply(
        "Conv",
        dy,
        emit.reshape(swapped, (geometry.source, geometry.outer, *geometry.kernel)),
        kernel_shape=geometry.kernel,
        dilations=tuple(window.rate for window in back.windows),
        group=geometry.groups,
        pads=(*(window.before for window in back.windows), *(window.after for window in back.windows)),
    )


def _swapped(geometry: Geometry, weights: Value, emit: Emitter) -> Value:
    """The kernel with input and output channels in each other's place: [groups, input, output], and taps if several."""
    shape, taps = (geometry.groups, geometry.outer, geometry.inner), geometry.taps
    if taps == 1:  # a product that reads it will see to it on its way
        return emit.transpose(emit.reshape(weights, shape), (0, 2, 1))
    return emit.transpose(emit.reshape(weights, (*shape, taps)), (0, 2, 1, 3))


RULES = {"Conv": Rule(_backward, _forward)}

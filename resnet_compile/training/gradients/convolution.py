"""Convolutions and their input gradients, in the forms that `fastest` chooses. The formulas are in `fastest`."""

from __future__ import annotations

from itertools import product

import numpy as np

from resnet_compile.graph import Attribute, Node, Value, apply
from resnet_compile.training.gradients.fastest import fastest_forward, fastest_input_adjoint
from resnet_compile.training.gradients.geometry import Geometry
from resnet_compile.training.gradients.rule import Adjoint, Applied, Emitter, Rule, apply_unchanged
from resnet_compile.training.gradients.weights import channels_first, weights_adjoint, weights_adjoint_of_columns


def _forward(node: Node, name: str, emit: Emitter) -> Applied:
    applied = apply_unchanged(node, name, emit)
    geometry = Geometry.of(applied)
    if fastest_forward(geometry, emit.target) == "convolution":
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
    """The im2col matrix of x: [groups, channel and tap, image and pixel].

    Args:
        geometry: The convolution's geometry.
        x: The convolution's input, [N, C, H, W].
        emit: The emitter of nodes.
        backward: Whether the taps of a channel are in reverse order.
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
    """The product of a kernel matrix and an im2col matrix, as maps [depth, N, rows, columns]."""
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
    form = fastest_input_adjoint(geometry, emit.target)
    if form == "im2col":
        return _by_columns(geometry, dy, weights, emit)
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


def _by_columns(geometry: Geometry, dy: Value, weights: Value, emit: Emitter) -> Value:
    """dx[h] = sum over i of w[i] dy[h + p - r i], as one matrix product."""
    back = geometry.mirrored()
    columns = _columns(back, dy, emit, backward=True)
    swapped = emit.reshape(_swapped(geometry, weights, emit), (back.groups, back.outer, back.inner * back.taps))
    return channels_first(_multiplied(back, swapped, columns, emit), emit)


def _flipped(geometry: Geometry, dy: Value, weights: Value, emit: Emitter) -> Value:
    """dx[h] = sum over i of w[i] dy[h + p - r i], as a Conv with a flipped kernel.

    A permutation matrix flips the kernel; Slice with negative steps takes several times as long.
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
    """The kernel with its channels swapped: [groups, input, output], and an axis of taps if there are several."""
    shape, taps = (geometry.groups, geometry.outer, geometry.inner), geometry.taps
    if taps == 1:  # onnxruntime fuses this Transpose into the product that reads it
        return emit.transpose(emit.reshape(weights, shape), (0, 2, 1))
    return emit.transpose(emit.reshape(weights, (*shape, taps)), (0, 2, 1, 3))


RULES = {"Conv": Rule(_backward, _forward)}

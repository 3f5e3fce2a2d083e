"""Gradients of pools."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from resnet_compile.errors import GraphError
from resnet_compile.graph import Attributes, Node, Value, apply_many
from resnet_compile.training.gradients.rule import Adjoint, Applied, Emitter, Rule, apply_unchanged


def _max_pool_forward(node: Node, name: str, emit: Emitter) -> Applied:
    if _subsamples(node.attributes):
        return apply_unchanged(node, name, emit)
    y, places = apply_many("MaxPool", *node.inputs, names=(name, f"{name}/indices"), **node.attributes)
    return Applied(node, y, (places,))


def _max_pool(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The adjoint of each output is added to that of the input that was the maximum, by its index in the tensor.

    Windows overlap, so one input can be the maximum of several outputs. (MaxUnpool would keep one adjoint only, and a
    comparison of inputs and maximum would count ties several times.)
    """
    if not applied.saved:
        return (_spread(applied, adjoint.output, emit),)
    shape, outputs = applied.x.static_shape, math.prod(adjoint.output.static_shape)
    (places,) = applied.saved
    zeros = emit.apply("Expand", emit.scalar(0.0, adjoint.output, rank=1), emit.integers((math.prod(shape),)))
    flat = (emit.reshape(value, (outputs,)) for value in (places, adjoint.output))
    return (emit.reshape(emit.apply("ScatterElements", zeros, *flat, axis=0, reduction="add"), shape),)


def _subsamples(attributes: Attributes) -> bool:
    """Whether windows are single pixels, so that no index of a maximum is needed.

    Such pools have no padding, since padding is narrower than a window.
    """
    return attributes.integers("kernel_shape") == (1, 1)


def _spread(applied: Applied, dy: Value, emit: Emitter) -> Value:
    """Each adjoint at the position that its pixel was read from, with zeros between.

    Within a row a product with a matrix of zeros and ones spreads the elements; rows are padded.
    """
    batch, channels, height, width = dy.static_shape
    rows, columns = applied.x.static_shape[2:]
    down, right = applied.node.attributes.integers("strides", 2)
    places = np.zeros((width, columns), dy.type.dtype)
    places[np.arange(width), right * np.arange(width)] = 1
    matrix = emit.tensor(f"places/{width}x{columns}/{right}", places, dy.type.dtype)
    wide = emit.apply("MatMul", emit.reshape(dy, (batch * channels * height, width)), matrix)
    apart = emit.pad(emit.reshape(wide, (batch, channels, height, 1, columns)), (0,) * 5, (0, 0, 0, down - 1, 0))
    spread = emit.reshape(apart, (batch, channels, height * down, columns))
    return emit.slice(spread, {2: (0, rows, 1)})


def _average_pool(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """Every element of a window gets an equal share of its adjoint; elements outside all windows get zero."""
    window, pads = applied.node.attributes.integers("kernel_shape"), applied.node.attributes.integers("pads", 4)
    if window != applied.node.attributes.integers("strides", 2):
        raise GraphError("an average pool with overlapping windows has no gradient", where=emit.scope)
    batch, channels, height, width = adjoint.output.static_shape
    shape = (batch, channels, height * window[0], width * window[1])
    spread = _nearest(_share(adjoint.output, window, pads, applied.x.static_shape[2:], emit), shape, emit)
    first = {axis + 2: pads[axis] for axis in (0, 1)}
    ends = {axis: min(start + applied.x.static_shape[axis], shape[axis]) for axis, start in first.items()}
    inside = emit.slice(spread, {axis: (start, ends[axis], 1) for axis, start in first.items()})
    rest = tuple(whole - covered for whole, covered in zip(applied.x.static_shape, inside.static_shape, strict=True))
    return (emit.pad(inside, (0, 0, 0, 0), rest),)


def _share(dy: Value, window: Sequence[int], pads: Sequence[int], sides: Sequence[int], emit: Emitter) -> Value:
    """Each window's adjoint, divided by the number of its elements without padding."""
    if not any(pads):
        return emit.scaled(dy, 1 / math.prod(window))
    rows, columns = (
        [min(start + taps, side) - max(start, 0) for start in range(-before, taps * count - before, taps)]
        for taps, before, side, count in zip(window, pads[:2], sides, dy.static_shape[2:], strict=True)
    )
    shares = (1 / np.outer(rows, columns)).astype(dy.type.dtype)[None, None]
    name = "_".join(map(str, (*window, *pads, *sides)))
    return emit.apply("Mul", dy, emit.tensor(f"shares/{name}", shares, dy.type.dtype))


def _global_average_pool(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """Every pixel gets an equal share of its channel's adjoint."""
    shape = applied.x.static_shape
    share = emit.scaled(adjoint.output, 1 / math.prod(shape[2:]))
    return (emit.apply("Expand", share, emit.integers(shape)),)


def _nearest(x: Value, shape: tuple[int, ...], emit: Emitter) -> Value:
    """Every element repeated along rows and columns."""
    return emit.apply(
        "Resize",
        x,
        None,
        None,
        emit.integers(shape),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


RULES = {
    "AveragePool": Rule(_average_pool),
    "GlobalAveragePool": Rule(_global_average_pool),
    "MaxPool": Rule(_max_pool, _max_pool_forward),
}

"""Gradients of sums, products and operators that only move elements."""

from __future__ import annotations

from resnet_compile.errors import GraphError
from resnet_compile.graph import Value
from resnet_compile.training.gradients.rule import Adjoint, Applied, Emitter, Rule


def _add(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule da = dy and db = dy, each summed over the axes along which it was broadcast."""
    return tuple(
        _unbroadcast(adjoint.output, applied.node.input(place).static_shape, emit) if needed else None
        for place, needed in enumerate(adjoint.needed)
    )


def _mul(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule da = dy b and db = dy a, each summed over the axes along which it was broadcast."""
    factors = applied.node.input(0), applied.node.input(1)
    return tuple(
        _unbroadcast(emit.apply("Mul", adjoint.output, other), own.static_shape, emit) if needed else None
        for needed, own, other in zip(adjoint.needed, factors, reversed(factors), strict=True)
    )


def _unbroadcast(dy: Value, shape: tuple[int, ...], emit: Emitter) -> Value:
    extra = len(dy.shape) - len(shape)
    kept = (*(0 for _ in range(extra)), *shape)
    axes = [axis for axis, (dim, whole) in enumerate(zip(kept, dy.shape, strict=True)) if dim != whole]
    return emit.reshape(emit.sum(dy, axes, keep=True), shape)


def _gemm(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule y = x w^T + b: dx = dy w, dw = dy^T x, db = the sum of dy's rows."""
    if not applied.node.attributes.integer("transB") or applied.node.attributes.integer("transA"):
        raise GraphError("the only product with a gradient is x w^T + b", where=emit.scope)
    dy, needed = adjoint.output, adjoint.needed
    return (
        emit.apply("Gemm", dy, applied.node.input(1)) if needed[0] else None,
        emit.apply("Gemm", dy, applied.x, transA=1) if needed[1] else None,
        *((emit.sum(dy, (0,)) if needed[2] else None,) if len(needed) > 2 else ()),
    )


def _reshaped(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    return (emit.reshape(adjoint.output, applied.x.static_shape),)


def _transpose(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    order = applied.node.attributes.integers("perm")
    return (emit.transpose(adjoint.output, [order.index(axis) for axis in range(len(order))]),)


def _pad(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule dx = dy without the border; a reflected border is added to the elements that it reflects."""
    pads, shape = applied.node.input(1).maker.attributes.integers("value_ints"), applied.x.static_shape
    dx = adjoint.output
    for axis, side in enumerate(shape):
        before, after = pads[axis], pads[axis + len(shape)]
        kept = emit.slice(dx, {axis: (before, before + side, 1)})
        mirrored = applied.node.attributes.text("mode") == "reflect"
        dx = _unmirrored(dx, kept, axis, before, after, emit) if mirrored else kept
    return dx, *(None for _ in applied.node.inputs[1:])


def _unmirrored(dy: Value, kept: Value, axis: int, before: int, after: int, emit: Emitter) -> Value:
    """The kept part, plus both borders reversed: they reflect the elements next to the first and the last."""
    side, whole = kept.static_shape[axis], dy.static_shape[axis]
    parts = [kept]
    if before:
        turned = emit.slice(dy, {axis: (before - 1, -whole - 1, -1)})
        parts.append(_placed(turned, axis, 1, side, emit))
    if after:
        turned = emit.slice(dy, {axis: (whole - 1, before + side - 1, -1)})
        parts.append(_placed(turned, axis, side - 1 - after, side, emit))
    return emit.total(parts)


def _placed(x: Value, axis: int, start: int, side: int, emit: Emitter) -> Value:
    """The value padded with zeros along an axis, to the length `side`, so that it begins at `start`."""
    rank = range(len(x.shape))
    end = side - start - x.static_shape[axis]
    return emit.pad(x, [start if each == axis else 0 for each in rank], [end if each == axis else 0 for each in rank])


RULES = {
    "Add": Rule(_add),
    "Flatten": Rule(_reshaped),
    "Gemm": Rule(_gemm),
    "Identity": Rule(_reshaped),
    "Mul": Rule(_mul),
    "Pad": Rule(_pad),
    "Transpose": Rule(_transpose),
}

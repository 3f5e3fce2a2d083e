"""Shape rules of the operators that training and quantisation add to those of inference.

Axes, shapes and bounds are inputs in ONNX; a shape rule knows those that a Constant node holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from resnet_compile.errors import GraphError
from resnet_compile.graph.ir import Attribute, Dim, Shape, Type, Value

Inputs = tuple[Value | None, ...]
Attributes = Mapping[str, Attribute]


def reshape(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """The shape given, whose elements must be as many as the input's."""
    x, shape = _required(inputs, 0), _ints(inputs, 1)
    if _size(x.shape) != math.prod(shape):
        raise GraphError(f"{x.type} has not the elements of {list(shape)}")
    return (Type(x.type.dtype, shape),)


def expand(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """The shape given, of the input's rank, where each of the input's axes has its length or 1."""
    x, shape = _required(inputs, 0), _ints(inputs, 1)
    if len(x.shape) != len(shape) or any(a not in (1, b) for a, b in zip(x.shape, shape, strict=True)):
        raise GraphError(f"{x.type} does not expand to {list(shape)}")
    return (Type(x.type.dtype, shape),)


def reduce_sum(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """The axes given keep a length of 1, or go."""
    x, axes = _required(inputs, 0), _ints(inputs, 1)
    if any(not 0 <= axis < len(x.shape) for axis in axes):
        raise GraphError(f"{x.type} has not all axes of {list(axes)}")
    if attributes.get("keepdims", 1):
        return (Type(x.type.dtype, tuple(1 if axis in axes else dim for axis, dim in enumerate(x.shape))),)
    return (Type(x.type.dtype, tuple(dim for axis, dim in enumerate(x.shape) if axis not in axes)),)


def matmul(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """Matrices in the last two axes, of one batch of them."""
    a, b = _required(inputs, 0), _required(inputs, 1)
    if len(a.shape) < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        raise GraphError(f"{a.type} and {b.type} have no product")
    return (Type(a.type.dtype, (*a.shape[:-1], b.shape[-1])),)


def slice_(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """Of each axis given what a Python slice of the same start, end and step takes."""
    x = _required(inputs, 0)
    starts, ends, axes, steps = (_ints(inputs, place) for place in range(1, 5))
    shape = list(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        length = shape[axis]
        if not isinstance(length, int):
            raise GraphError(f"axis {axis} of {x.type} has no known length")
        # ONNX has no way to say "past the first element" but an end far below zero.
        stop = None if step < 0 and end < -length else end
        shape[axis] = len(range(*slice(start, stop, step).indices(length)))
    return (Type(x.type.dtype, tuple(shape)),)


def concat(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """One axis as long as all of the inputs' together; the others are the same in all."""
    first, axis = _required(inputs, 0), attributes.get("axis")
    if not isinstance(axis, int):
        raise GraphError("an axis is required")
    total = 0
    for place in range(len(inputs)):
        x = _required(inputs, place)
        length = x.shape[axis]
        others = x.shape[:axis] + x.shape[axis + 1 :]
        if not isinstance(length, int) or others != first.shape[:axis] + first.shape[axis + 1 :]:
            raise GraphError(f"{x.type} does not continue {first.type} along axis {axis}")
        total += length
    return (Type(first.type.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :])),)


def gather(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """One axis becomes as long as the list of indices."""
    x, indices, axis = _required(inputs, 0), _required(inputs, 1), attributes.get("axis", 0)
    if not isinstance(axis, int) or not 0 <= axis < len(x.shape) or len(indices.shape) != 1:
        raise GraphError(f"{indices.type} is no list of places along an axis of {x.type}")
    return (Type(x.type.dtype, (*x.shape[:axis], indices.shape[0], *x.shape[axis + 1 :])),)


def conv_transpose(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """Rows: stride * (rows - 1) + k_eff + output_padding - pads; weights are [input, output / group, rows, columns]."""
    x, weights = _required(inputs, 0), _required(inputs, 1)
    rank = len(weights.shape) - 2
    group = attributes.get("group", 1)
    depth = weights.shape[1]
    if not isinstance(group, int) or not isinstance(depth, int) or x.shape[1] != weights.shape[0]:
        raise GraphError(f"{x.type} does not fit weights {weights.type}")
    strides, dilations, extra = (
        _tuple(attributes, name, (default,) * rank)
        for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    pads = _tuple(attributes, "pads", (0,) * 2 * rank)
    spatial: list[Dim] = []
    for axis in range(rank):
        rows, taps = x.shape[2 + axis], weights.shape[2 + axis]
        if not isinstance(rows, int) or not isinstance(taps, int):
            raise GraphError(f"{x.type} has rows or columns of unknown number")
        span = strides[axis] * (rows - 1) + (taps - 1) * dilations[axis] + 1
        spatial.append(span + extra[axis] - pads[axis] - pads[axis + rank])
    return (Type(x.type.dtype, (x.shape[0], depth * group, *spatial)),)


def resize(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """The shape given as the fourth input; scales, the third, are left out."""
    return (Type(_required(inputs, 0).type.dtype, _ints(inputs, 3)),)


def scatter_elements(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """The first input's; each update has its index."""
    data, indices, updates = (_required(inputs, place) for place in range(3))
    if indices.shape != updates.shape or data.type.dtype != updates.type.dtype:
        raise GraphError(f"{updates.type} at {indices.type} does not fit {data.type}")
    return (data.type,)


def arg_max(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """Indices; the axis keeps a length of 1."""
    x, axis = _required(inputs, 0), attributes.get("axis", 0)
    if not isinstance(axis, int) or not attributes.get("keepdims", 1):
        raise GraphError("an axis that stays is required")
    return (Type("int64", (*x.shape[:axis], 1, *x.shape[axis + 1 :])),)


def cast_to_float(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """float32 or float16, which are type numbers 1 and 10 in ONNX."""
    if attributes.get("to") not in (1, 10):
        raise GraphError("only float32 and float16 can be cast to")
    return (Type("float32" if attributes["to"] == 1 else "float16", _required(inputs, 0).shape),)


def quantize(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """Integers of the zero point's type, which has a value wherever the scale has one."""
    x, zero_point = _required(inputs, 0), _required(inputs, 2)
    _fit_scale(x, _required(inputs, 1), zero_point, attributes)
    return (Type(zero_point.type.dtype, x.shape),)


def dequantize(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    """Numbers of the scale's type; integers and zero point have one type."""
    x, scale, zero_point = (_required(inputs, place) for place in range(3))
    _fit_scale(x, scale, zero_point, attributes)
    if x.type.dtype != zero_point.type.dtype:
        raise GraphError(f"{x.type} and the zero point {zero_point.type} are not of one type")
    return (Type(scale.type.dtype, x.shape),)


def _fit_scale(x: Value, scale: Value, zero_point: Value, attributes: Attributes) -> None:
    axis = attributes.get("axis", 1)
    allowed: list[Shape] = [()]
    if isinstance(axis, int) and axis < len(x.shape):
        allowed.append((x.shape[axis],))
    if scale.shape not in allowed or scale.shape != zero_point.shape:
        raise GraphError(f"{x.type} has not one scale, nor one for each place along an axis, in {scale.type}")


def _required(inputs: Inputs, place: int) -> Value:
    value = inputs[place] if place < len(inputs) else None
    if value is None:
        raise GraphError(f"input {place} is required")
    return value


def _ints(inputs: Inputs, place: int) -> tuple[int, ...]:
    """The integers that an input holds."""
    node = _required(inputs, place).node
    if node is None or node.operator != "Constant":
        raise GraphError(f"input {place} must be a Constant")
    return _tuple(node.attributes, "value_ints", ())


def _tuple(attributes: Attributes, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = attributes.get(name, default)
    if not isinstance(value, tuple):
        raise GraphError(f"{name} must be integers, not {value!r}")
    return tuple(int(item) for item in value)


def _size(shape: Shape) -> int:
    if not all(isinstance(dim, int) for dim in shape):
        raise GraphError(f"the shape {shape} is not known")
    return math.prod(dim for dim in shape if isinstance(dim, int))

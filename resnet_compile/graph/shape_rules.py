"""Shape inference for operators without windows.

A length may be unknown (None) or symbolic. Two lengths fit unless they are different numbers. Axes, shapes and bounds
are inputs in ONNX; shape inference reads them from Constant nodes and from initializers.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from resnet_compile.errors import GraphError
from resnet_compile.graph.ir import ONNX_TYPES, Dim, Node, Shape, Type, Value, made_by
from resnet_compile.graph.tensors import ConstantTensor

_DTYPES = {number: dtype for dtype, number in ONNX_TYPES.items()}


def like_first(node: Node) -> tuple[Type, ...]:
    return (node.input(0).type,)


def broadcast(node: Node) -> tuple[Type, ...]:
    """NumPy's broadcasting, for two values of one element type."""
    a, b = node.input(0), node.input(1)
    if a.type.dtype != b.type.dtype:
        raise GraphError(f"{a!r} and {b!r} have different types")
    rank = max(len(a.shape), len(b.shape))
    left, right = ((1,) * (rank - len(value.shape)) + value.shape for value in (a, b))
    return (Type(a.type.dtype, tuple(map(_broadcast, left, right))),)


def compare(node: Node) -> tuple[Type, ...]:
    """NumPy's broadcasting, with a boolean result."""
    (type_,) = broadcast(node)
    return (Type("bool", type_.shape),)


def batch_normalization(node: Node) -> tuple[Type, ...]:
    """The type of the first input; the other inputs have one value for each of its channels."""
    x = node.input(0)
    for statistic in map(node.input, range(1, 5)):
        if statistic.type != Type(x.type.dtype, (x.shape[1],)):
            raise GraphError(f"{statistic!r} must have one value for each channel of {x.type}")
    return (x.type,)


def global_average_pool(node: Node) -> tuple[Type, ...]:
    """The input's shape, with rows and columns of length 1."""
    x = node.input(0)
    return (Type(x.type.dtype, (*x.shape[:2], *(1 for _ in x.shape[2:]))),)


def flatten(node: Node) -> tuple[Type, ...]:
    """The first axis, and one axis for all the others."""
    x = node.input(0)
    rest = _elements(x.shape[1:])
    return (Type(x.type.dtype, (x.shape[0], rest.length if rest else None)),)


def transpose(node: Node) -> tuple[Type, ...]:
    x, order = node.input(0), node.attributes.integers("perm")
    if sorted(order) != list(range(len(x.shape))):
        raise GraphError(f"{order} is not a permutation of the axes of {x.type}")
    return (Type(x.type.dtype, tuple(x.shape[axis] for axis in order)),)


def constant(node: Node) -> tuple[Type, ...]:
    """An int64 list."""
    return (Type("int64", (len(node.attributes.integers("value_ints")),)),)


def gemm(node: Node) -> tuple[Type, ...]:
    """A matrix product with a bias for each column."""
    x, weights, biases = node.input(0), node.input(1), node.optional(2)
    if len(weights.shape) != 2 or len(x.shape) != 2:
        raise GraphError("two matrices are required")
    rows, inner = x.shape[::-1] if node.attributes.integer("transA") else x.shape
    weights_inner, columns = weights.shape[::-1] if node.attributes.integer("transB") else weights.shape
    if not _fit(inner, weights_inner) or x.type.dtype != weights.type.dtype:
        raise GraphError(f"{x.type} does not fit weights {weights.type}")
    if biases and biases.type != Type(x.type.dtype, (columns,)):
        raise GraphError(f"{biases!r} must have one value for each of {columns} columns")
    return (Type(x.type.dtype, (rows, columns)),)


def pad(node: Node) -> tuple[Type, ...]:
    """Each axis grows by its two pads."""
    x, pads = node.input(0), _held(node.input(1)) or ()
    if len(pads) != 2 * len(x.shape):
        raise GraphError(f"a Constant of two pads for each axis of {x.type} is required")
    both = zip(x.shape, pads[: len(x.shape)], pads[len(x.shape) :], strict=True)
    return (Type(x.type.dtype, tuple(_longer(dim, before + after) for dim, before, after in both)),)


def reshape(node: Node) -> tuple[Type, ...]:
    """The given shape; 0 keeps the input's length, and one -1 is inferred."""
    x, given = node.input(0), list_of(node, 1)
    if given.count(-1) > 1 or any(
        length < -1 or (length == 0 and at >= len(x.shape)) for at, length in enumerate(given)
    ):
        raise GraphError(f"{list(given)} is not a shape for {x.type}")
    shape: list[Dim] = [x.shape[at] if length == 0 else length for at, length in enumerate(given)]
    if -1 in shape:
        place = shape.index(-1)
        shape[place] = _quotient(x.shape, (*shape[:place], *shape[place + 1 :]))
    ours, theirs = _elements(x.shape), _elements(tuple(shape))
    if ours and theirs and ours.names == theirs.names and ours.number != theirs.number:
        raise GraphError(f"{x.type} and {list(given)} differ in their number of elements")
    return (Type(x.type.dtype, tuple(shape)),)


def expand(node: Node) -> tuple[Type, ...]:
    """The given shape, of the input's rank; each input axis has that length or 1."""
    x, shape = node.input(0), list_of(node, 1)
    if len(x.shape) != len(shape) or any(a != 1 and not _fit(a, b) for a, b in zip(x.shape, shape, strict=True)):
        raise GraphError(f"{x.type} cannot be expanded to {list(shape)}")
    return (Type(x.type.dtype, shape),)


def reduce_sum(node: Node) -> tuple[Type, ...]:
    """The input's shape, with the given axes of length 1 or dropped."""
    x = node.input(0)
    axes = list_of(node, 1) if len(node.inputs) > 1 else node.attributes.integers("axes")
    if any(not 0 <= axis < len(x.shape) for axis in axes):
        raise GraphError(f"{x.type} lacks some of the axes {list(axes)}")
    if node.attributes.integer("keepdims"):
        return (Type(x.type.dtype, tuple(1 if axis in axes else dim for axis, dim in enumerate(x.shape))),)
    return (Type(x.type.dtype, tuple(dim for axis, dim in enumerate(x.shape) if axis not in axes)),)


def matmul(node: Node) -> tuple[Type, ...]:
    """A product of matrices in the last two axes; the others fit, or one has length 1."""
    a, b = node.input(0), node.input(1)
    pairs = [*zip(a.shape[:-2], b.shape[:-2], strict=False)]
    batches = len(a.shape) == len(b.shape) and all(1 in pair or _fit(*pair) for pair in pairs)
    if len(a.shape) < 2 or not batches or not _fit(a.shape[-1], b.shape[-2]) or a.type.dtype != b.type.dtype:
        raise GraphError(f"{a.type} and {b.type} have no product")
    return (Type(a.type.dtype, (*map(_broadcast, a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])),)


def slice_(node: Node) -> tuple[Type, ...]:
    """Each given axis gets the length of a Python slice with the same start, end and step. The length is unknown if
    these are not Constants.
    """
    x = node.input(0)
    shape = list(x.shape)
    if any(_held(node.input(place)) is None for place in (1, 2)):
        for axis in list_of(node, 3):
            shape[axis] = None
        return (Type(x.type.dtype, tuple(shape)),)
    for start, end, axis, step in zip(*(list_of(node, place) for place in range(1, 5)), strict=True):
        length = shape[axis]
        # In ONNX a slice down to and including the first element has an end far below zero.
        if isinstance(length, int):
            stop = None if step < 0 and end < -length else end
            shape[axis] = len(range(*slice(start, stop, step).indices(length)))
        else:
            shape[axis] = None
    return (Type(x.type.dtype, tuple(shape)),)


def concat(node: Node) -> tuple[Type, ...]:
    """The sum of the inputs' lengths along one axis; the other axes must be equal."""
    first, axis = node.input(0), node.attributes.integer("axis")
    total: Dim = 0
    for x in map(node.input, range(len(node.inputs))):
        length, others = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
        if others != first.shape[:axis] + first.shape[axis + 1 :] or x.type.dtype != first.type.dtype:
            raise GraphError(f"{x.type} does not continue {first.type} along axis {axis}")
        total = total + length if isinstance(total, int) and isinstance(length, int) else None
    return (Type(first.type.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :])),)


def gather(node: Node) -> tuple[Type, ...]:
    """The input's shape, with the number of indices along one axis."""
    x, indices, axis = node.input(0), node.input(1), node.attributes.integer("axis")
    if not 0 <= axis < len(x.shape) or len(indices.shape) != 1:
        raise GraphError(f"{indices.type} is not a list of indices along an axis of {x.type}")
    return (Type(x.type.dtype, (*x.shape[:axis], indices.shape[0], *x.shape[axis + 1 :])),)


def resize(node: Node) -> tuple[Type, ...]:
    """The shape in the fourth input. If it is not a Constant, images and channels keep their lengths and the rest is
    unknown. The third input, scales, is not used.
    """
    x = node.input(0)
    given: Shape | None = _held(node.input(3))
    return (Type(x.type.dtype, given or (*x.shape[:2], *(None for _ in x.shape[2:]))),)


def shape(node: Node) -> tuple[Type, ...]:
    """An int64 list with an item for each axis from `start` up to, but not including, `end`."""
    rank = len(node.input(0).shape)
    start, end = node.attributes.integer("start"), node.attributes.get("end", rank)
    if not (isinstance(end, int) and 0 <= start < end <= rank):
        raise GraphError(f"{node.input(0).type} has no axes {start} to {end}")
    return (Type("int64", (end - start,)),)


def scatter_elements(node: Node) -> tuple[Type, ...]:
    """The type of the first input; indices and updates have one shape."""
    data, indices, updates = map(node.input, range(3))
    if indices.shape != updates.shape or data.type.dtype != updates.type.dtype:
        raise GraphError(f"{updates.type} at {indices.type} does not fit {data.type}")
    return (data.type,)


def top_k(node: Node) -> tuple[Type, ...]:
    """The greatest values and their indices; `k` of each along the axis."""
    x, (count,), axis = node.input(0), list_of(node, 1), node.attributes.integer("axis")
    if not 0 <= axis < len(x.shape):
        raise GraphError(f"{x.type} has no axis {axis}")
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return Type(x.type.dtype, shape), Type("int64", shape)


def arg_max(node: Node) -> tuple[Type, ...]:
    """Indices; the axis has length 1."""
    x, axis = node.input(0), node.attributes.integer("axis")
    return (Type("int64", (*x.shape[:axis], 1, *x.shape[axis + 1 :])),)


def cast(node: Node) -> tuple[Type, ...]:
    """The element type in the attribute `to`."""
    return (Type(_DTYPES[node.attributes.integer("to")], node.input(0).shape),)


def quantize(node: Node) -> tuple[Type, ...]:
    """Integers of the zero point's type; zero point and scale have one shape."""
    x, zero_point = node.input(0), node.input(2)
    _fit_scale(node, x, node.input(1), zero_point)
    return (Type(zero_point.type.dtype, x.shape),)


def dequantize(node: Node) -> tuple[Type, ...]:
    """Floats of the scale's type; input and zero point have one type."""
    x, scale, zero_point = map(node.input, range(3))
    _fit_scale(node, x, scale, zero_point)
    if x.type.dtype != zero_point.type.dtype:
        raise GraphError(f"{x.type} and the zero point {zero_point.type} have different types")
    return (Type(scale.type.dtype, x.shape),)


def _fit_scale(node: Node, x: Value, scale: Value, zero_point: Value) -> None:
    axis = node.attributes.integer("axis")
    allowed: list[Shape] = [(), (x.shape[axis],)] if axis < len(x.shape) else [()]
    if scale.shape not in allowed or scale.shape != zero_point.shape:
        raise GraphError(f"{scale.type} must be one scale for {x.type}, or one for each index along an axis")


def list_of(node: Node, place: int) -> tuple[int, ...]:
    """The integers in an input.

    Raises:
        GraphError: The input is not a Constant.
    """
    if (held := _held(node.input(place))) is None:
        raise GraphError(f"input {place} must be a Constant")
    return held


def _held(value: Value) -> tuple[int, ...] | None:
    """The integers that a value is known to hold."""
    if made := made_by(value, "Constant"):
        return made.attributes.integers("value_ints")
    if not isinstance(value.contents, ConstantTensor) or value.type.dtype != "int64":
        return None
    return tuple(value.contents.values.tolist())


def _fit(a: Dim, b: Dim) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))


def _broadcast(a: Dim, b: Dim) -> Dim:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int) and isinstance(b, int):
        raise GraphError(f"axes of {a} and {b} do not broadcast")
    return a if isinstance(a, int) else b  # the number, if one of the lengths is one


def _longer(dim: Dim, more: int) -> Dim:
    return dim + more if isinstance(dim, int) else None if more else dim


class _Elements(NamedTuple):
    """The number of elements of a shape: a number times named lengths."""

    names: Counter[str]
    number: int

    @property
    def length(self) -> Dim:
        """The product as the length of one axis; None if it is neither a number nor a name alone."""
        names = list(self.names.elements())
        if not names or self.number == 0:
            return self.number
        return names[0] if len(names) == self.number == 1 else None


def _elements(dims: Shape) -> _Elements | None:
    """The number of elements; None if a length is unknown."""
    if None in dims:
        return None
    number = math.prod(dim for dim in dims if isinstance(dim, int))
    return _Elements(Counter(dim for dim in dims if isinstance(dim, str)), number)


def _quotient(dims: Shape, others: Shape) -> Dim:
    """The elements of `dims` over those of `others`; common named lengths cancel."""
    ours, theirs = _elements(dims), _elements(others)
    if ours is None or theirs is None or theirs.names - ours.names:
        return None
    if theirs.number == 0 or ours.number % theirs.number:
        raise GraphError(f"the elements of {list(dims)} do not fill {[*others, -1]}")
    return _Elements(ours.names - theirs.names, ours.number // theirs.number).length

"""Shape inference for operators with windows over rows and columns. Layout is NCHW; weights are OIHW."""

from __future__ import annotations

from math import ceil

from resnet_compile.errors import GraphError
from resnet_compile.graph.attributes import AttributeRule
from resnet_compile.graph.ir import Dim, Node, Shape, Type

STRIDES = {"strides": AttributeRule("ints", 1), "pads": AttributeRule("ints", 0)}
DILATIONS = {"dilations": AttributeRule("ints", 1), "group": AttributeRule("int", 1)}
SAME = {"auto_pad": AttributeRule("text", "NOTSET", allowed=("NOTSET", "SAME_UPPER"))}
KERNEL = AttributeRule("ints", required=True)


def conv(node: Node) -> tuple[Type, ...]:
    """Two or three spatial axes by `window`; each group reads its own channels."""
    x, weights, biases = node.input(0), node.input(1), node.optional(2)
    if len(weights.shape) != len(x.shape) or len(x.shape) not in (4, 5):
        raise GraphError("an input and weights, both 4-D or both 5-D, are required")
    group, inner = node.attributes.integer("group"), weights.shape[1]
    if not isinstance(inner, int) or x.shape[1] != inner * group or x.type.dtype != weights.type.dtype:
        raise GraphError(f"{x.type} does not fit weights {weights.type} in {group} groups")
    if biases and biases.type != Type(x.type.dtype, weights.shape[:1]):
        raise GraphError(f"{biases!r} must have one value for each output channel of weights {weights.type}")
    kernel = node.attributes.get("kernel_shape", weights.shape[2:])
    if kernel != weights.shape[2:]:
        raise GraphError(f"kernel_shape is {kernel} and the weights are {weights.type}")
    rates = node.attributes.integers("dilations", len(weights.shape) - 2)
    return (Type(x.type.dtype, (x.shape[0], weights.shape[0], *window(node, x.shape, weights.shape[2:], rates))),)


def fused_conv(node: Node) -> tuple[Type, ...]:
    """As `conv`; the added value has the output's type."""
    (made,) = conv(node)
    added = node.optional(3)
    if added and added.type != made:
        raise GraphError(f"{added!r} must be of the result's type, {made}")
    return (made,)


def pool(node: Node) -> tuple[Type, ...]:
    """Rows and columns by `window`."""
    x = node.input(0)
    kernel = node.attributes.integers("kernel_shape", len(x.shape) - 2)
    return (Type(x.type.dtype, (*x.shape[:2], *window(node, x.shape, kernel, (1,) * len(kernel)))),)


def max_pool(node: Node) -> tuple[Type, ...]:
    """The maxima, and their indices in the flattened input."""
    (pooled,) = pool(node)
    return pooled, Type("int64", pooled.shape)


def window(node: Node, shape: Shape, kernel: tuple[Dim, ...], rates: tuple[int, ...]) -> tuple[Dim, ...]:
    """The output's rows and columns; None if those of the input or the kernel are unknown."""
    rank = len(kernel)
    strides, pads = node.attributes.integers("strides", rank), node.attributes.integers("pads", 2 * rank)
    same = "auto_pad" in node.attributes and node.attributes.text("auto_pad") == "SAME_UPPER"
    whole = "ceil_mode" in node.attributes and node.attributes.integer("ceil_mode") == 1

    def one_axis(axis: int) -> Dim:
        size, taps, stride = shape[2 + axis], kernel[axis], strides[axis]
        if not isinstance(size, int) or not isinstance(taps, int):
            return None
        if same:
            return ceil(size / stride)
        free = size + pads[axis] + pads[axis + rank] - (taps - 1) * rates[axis] - 1
        out = (-(-free // stride) if whole else free // stride) + 1
        if out < 1:
            raise GraphError(f"a window of {taps} does not fit {size} rows or columns")
        return out

    return tuple(one_axis(axis) for axis in range(rank))


def conv_transpose(node: Node) -> tuple[Type, ...]:
    """Rows: stride * (rows - 1) + k_eff + output_padding - pads; weights are [input, output / group, rows, columns]."""
    x, weights = node.input(0), node.input(1)
    rank, depth = len(weights.shape) - 2, weights.shape[1]
    if not isinstance(depth, int) or x.shape[1] != weights.shape[0] or x.type.dtype != weights.type.dtype:
        raise GraphError(f"{x.type} does not fit weights {weights.type}")
    strides, rates, extra = (
        node.attributes.integers(name, rank) for name in ("strides", "dilations", "output_padding")
    )
    pads = node.attributes.integers("pads", 2 * rank)

    def one_axis(axis: int) -> Dim:
        rows, taps = x.shape[2 + axis], weights.shape[2 + axis]
        if not isinstance(rows, int) or not isinstance(taps, int):
            return None
        span = strides[axis] * (rows - 1) + (taps - 1) * rates[axis] + 1
        return span + extra[axis] - pads[axis] - pads[axis + rank]

    spatial = (one_axis(axis) for axis in range(rank))
    return (Type(x.type.dtype, (x.shape[0], depth * node.attributes.integer("group"), *spatial)),)

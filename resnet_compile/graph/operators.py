"""The operators: one row each, with the rule that gives its outputs' types.

Every operator here means the same from opset 17 on, so a graph does not know the opset it will be written for. Layout
is NCHW throughout; weights are OIHW.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from resnet_compile.errors import GraphError
from resnet_compile.graph import shape_rules
from resnet_compile.graph.ir import Attribute, Dim, DType, Node, Shape, Type, Value

Inputs = tuple[Value | None, ...]
Attributes = Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of ONNX's default domain.

    Attributes:
        inputs: The least and the greatest number of inputs.
        infer: The types of the outputs, from the inputs and the attributes.
    """

    inputs: tuple[int, int]
    infer: Callable[[Inputs, Attributes], tuple[Type, ...]]


def apply(operator: str, *inputs: Value | None, name: str, **attributes: Attribute) -> Value:
    """The first output of an operator applied to values, under the given name."""
    return apply_many(operator, *inputs, names=(name,), **attributes)[0]


def apply_many(
    operator: str, *inputs: Value | None, names: tuple[str, ...], **attributes: Attribute
) -> tuple[Value, ...]:
    """The outputs of an operator applied to values, as many as there are names.

    Raises:
        GraphError: The operator is unknown or cannot take these inputs.
    """
    if operator not in OPERATORS:
        raise GraphError(f"unknown operator {operator}", where=names[0])
    row = OPERATORS[operator]
    if not row.inputs[0] <= len(inputs) <= row.inputs[1]:
        raise GraphError(
            f"{operator} takes {row.inputs[0]} to {row.inputs[1]} inputs, not {len(inputs)}", where=names[0]
        )
    try:
        types = row.infer(inputs, attributes)
    except GraphError as error:
        raise GraphError(f"{operator}: {error.message}", where=names[0]) from None
    node = Node(operator, inputs, attributes)
    return tuple(Value(name, type_, node, index) for index, (name, type_) in enumerate(zip(names, types, strict=False)))


def infer(node: Node) -> tuple[Type, ...]:
    """The types of a node's outputs, worked out anew."""
    return OPERATORS[node.operator].infer(node.inputs, node.attributes)


def _first(inputs: Inputs) -> Value:
    if inputs[0] is None:
        raise GraphError("the first input is required")
    return inputs[0]


def _like_first(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    return (_first(inputs).type,)


def _conv(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x, weights = _first(inputs), inputs[1]
    if weights is None or len(weights.shape) != len(x.shape) or len(x.shape) not in (4, 5):
        raise GraphError("an input and weights, both 4-D or both 5-D, are required")
    group = attributes.get("group", 1)
    if not isinstance(group, int) or not isinstance(weights.shape[1], int) or x.shape[1] != weights.shape[1] * group:
        raise GraphError(f"{x.type} does not fit weights {weights.type} in {group} groups")
    spatial = _window(x.shape, weights.shape[2:], attributes)
    return (Type(x.type.dtype, (x.shape[0], weights.shape[0], *spatial)),)


def _pool(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x = _first(inputs)
    spatial = _window(x.shape, _ints(attributes, "kernel_shape", (1, 1)), attributes)
    return (Type(x.type.dtype, (*x.shape[:2], *spatial)),)


def _max_pool(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    (pooled,) = _pool(inputs, attributes)
    return pooled, Type("int64", pooled.shape)


def _window(shape: Shape, kernel: tuple[Dim, ...], attributes: Attributes) -> tuple[Dim, ...]:
    """Rows and columns of what a sliding window gives."""
    rank = len(kernel)
    strides, dilations = _ints(attributes, "strides", (1,) * rank), _ints(attributes, "dilations", (1,) * rank)
    pads = _ints(attributes, "pads", (0,) * 2 * rank)
    same = attributes.get("auto_pad", "NOTSET") == "SAME_UPPER"

    def one_axis(axis: int) -> Dim:
        size, taps, stride = shape[2 + axis], kernel[axis], strides[axis]
        if not isinstance(size, int) or not isinstance(taps, int):
            return None
        if same:
            return ceil(size / stride)
        out = (size + pads[axis] + pads[axis + rank] - (taps - 1) * dilations[axis] - 1) // stride + 1
        if out < 1:
            raise GraphError(f"a window of {taps} does not fit {size} rows or columns")
        return out

    return tuple(one_axis(axis) for axis in range(rank))


def _ints(attributes: Attributes, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = attributes.get(name, default)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise GraphError(f"{name} must be integers, not {value!r}")
    return tuple(int(item) for item in value)


def _batch_normalization(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x = _first(inputs)
    for statistic in inputs[1:]:
        if statistic is None or statistic.shape != (x.shape[1],):
            raise GraphError(f"{statistic!r} has not one value for each channel of {x.type}")
    return (x.type,)


def _global_average_pool(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x = _first(inputs)
    return (Type(x.type.dtype, (*x.shape[:2], *(1 for _ in x.shape[2:]))),)


def _flatten(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x = _first(inputs)
    rest = 1
    for dim in x.shape[1:]:
        if not isinstance(dim, int):
            return (Type(x.type.dtype, (x.shape[0], None)),)
        rest *= dim
    return (Type(x.type.dtype, (x.shape[0], rest)),)


def _transpose(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x = _first(inputs)
    order = _ints(attributes, "perm", tuple(reversed(range(len(x.shape)))))
    if sorted(order) != list(range(len(x.shape))):
        raise GraphError(f"{order} is no order of the axes of {x.type}")
    return (Type(x.type.dtype, tuple(x.shape[axis] for axis in order)),)


def _broadcast(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    a, b = _first(inputs), inputs[1]
    if b is None or a.type.dtype != b.type.dtype:
        raise GraphError(f"{a!r} and {b!r} are not of one type")
    rank = max(len(a.shape), len(b.shape))
    left: Shape = (1,) * (rank - len(a.shape)) + a.shape
    right: Shape = (1,) * (rank - len(b.shape)) + b.shape
    return (Type(a.type.dtype, tuple(_broadcast_dim(x, y) for x, y in zip(left, right, strict=True))),)


def _compare(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    (type_,) = _broadcast(inputs, attributes)
    return (Type("bool", type_.shape),)


def _broadcast_dim(a: Dim, b: Dim) -> Dim:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int) and isinstance(b, int):
        raise GraphError(f"axes of {a} and {b} do not broadcast")
    return a if isinstance(a, int) else b  # an unnamed or named length against another: the known one holds


def _constant(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    return (Type("int64", (len(_ints(attributes, "value_ints", ())),)),)


def _gemm(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    x, weights, biases = _first(inputs), inputs[1], inputs[2] if len(inputs) > 2 else None
    if weights is None or len(weights.shape) != 2 or len(x.shape) != 2:
        raise GraphError("two matrices are required")
    rows, inner = x.shape[::-1] if attributes.get("transA") else x.shape
    weights_inner, columns = weights.shape[::-1] if attributes.get("transB") else weights.shape
    if inner != weights_inner:
        raise GraphError(f"{x.type} does not fit weights {weights.type}")
    if biases is not None and biases.shape != (columns,):
        raise GraphError(f"{biases!r} has not one value for each of {columns} columns")
    return (Type(x.type.dtype, (rows, columns)),)


def _pad(inputs: Inputs, attributes: Attributes) -> tuple[Type, ...]:
    # The pads are an input in ONNX; only those of a Constant node are known to a shape rule.
    x, made = _first(inputs), inputs[1].node if inputs[1] else None
    pads = _ints(made.attributes, "value_ints", ()) if made and made.operator == "Constant" else ()
    if len(pads) != 2 * len(x.shape):
        raise GraphError(f"a Constant of two pads for each axis of {x.type} is required")
    both = zip(x.shape, pads[: len(x.shape)], pads[len(x.shape) :], strict=True)
    return (Type(x.type.dtype, tuple(_padded(dim, before + after) for dim, before, after in both)),)


def _padded(dim: Dim, pads: int) -> Dim:
    if pads == 0:
        return dim
    return dim + pads if isinstance(dim, int) else None


OPERATORS: Mapping[str, Operator] = {
    "Add": Operator((2, 2), _broadcast),
    "ArgMax": Operator((1, 1), shape_rules.arg_max),
    "AveragePool": Operator((1, 1), _pool),
    "BatchNormalization": Operator((5, 5), _batch_normalization),
    "Cast": Operator((1, 1), shape_rules.cast_to_float),
    "Clip": Operator((1, 3), _like_first),
    "Concat": Operator((1, 2**16), shape_rules.concat),
    "Constant": Operator((0, 0), _constant),
    "Conv": Operator((2, 3), _conv),
    "ConvTranspose": Operator((2, 2), shape_rules.conv_transpose),
    "DequantizeLinear": Operator((3, 3), shape_rules.dequantize),
    "Div": Operator((2, 2), _broadcast),
    "Equal": Operator((2, 2), _compare),
    "Expand": Operator((2, 2), shape_rules.expand),
    "Flatten": Operator((1, 1), _flatten),
    "Gather": Operator((2, 2), shape_rules.gather),
    "Gemm": Operator((2, 3), _gemm),
    "GlobalAveragePool": Operator((1, 1), _global_average_pool),
    "HardSigmoid": Operator((1, 1), _like_first),
    "Identity": Operator((1, 1), _like_first),
    "LeakyRelu": Operator((1, 1), _like_first),
    "LogSoftmax": Operator((1, 1), _like_first),
    "MatMul": Operator((2, 2), shape_rules.matmul),
    "Max": Operator((2, 2), _broadcast),
    "MaxPool": Operator((1, 1), _max_pool),
    "Min": Operator((2, 2), _broadcast),
    "Mul": Operator((2, 2), _broadcast),
    "Pad": Operator((2, 3), _pad),
    "Pow": Operator((2, 2), _broadcast),
    "QuantizeLinear": Operator((3, 3), shape_rules.quantize),
    "ReduceSum": Operator((2, 2), shape_rules.reduce_sum),
    "Relu": Operator((1, 1), _like_first),
    "Reshape": Operator((2, 2), shape_rules.reshape),
    "Resize": Operator((4, 4), shape_rules.resize),
    "ScatterElements": Operator((3, 3), shape_rules.scatter_elements),
    "Slice": Operator((5, 5), shape_rules.slice_),
    "Softmax": Operator((1, 1), _like_first),
    "Sqrt": Operator((1, 1), _like_first),
    "Sub": Operator((2, 2), _broadcast),
    "Transpose": Operator((1, 1), _transpose),
}


def constant(name: str, dtype: DType, shape: tuple[int, ...]) -> Value:
    """An initializer; its contents are found in the graph's data under its name."""
    return Value(name, Type(dtype, shape), initializer=True)

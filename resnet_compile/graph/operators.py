"""The operators, one row each: inputs, attributes, shape inference and traits.

A graph does not depend on the opset it will be written for: an operator means the same in all opsets that have it, from
11 on. Rules mark newer attributes, and `Operator.later` other newer forms of a node. `latest_form` finds a graph's
newest form; `passes.older_forms` rewrites some in older ones. Layout is NCHW throughout; weights are OIHW. (Gradients
are in `training.gradients`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from resnet_compile.errors import GraphError
from resnet_compile.graph import shape_rules, windows
from resnet_compile.graph.attributes import AttributeRule
from resnet_compile.graph.ir import ONNX_TYPES, Graph, Node, Type


class Form(NamedTuple):
    """A form of an operator's nodes that is newer than the operator.

    Attributes:
        since: The first opset that has it.
        words: Its description, to follow the operator's name.
        fits: Whether a node has it.
    """

    since: int
    words: str
    fits: Callable[[Node], bool]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of ONNX's default domain, or of one of onnxruntime's; its name then begins with the domain's.

    Attributes:
        inputs: The least and the greatest number of inputs.
        infer: Shape inference: the types of a node's outputs.
        attributes: The rules of its attributes.
        moves: Whether each output element is an element of its first input, or 0.
        integer: Whether it computes new numbers and has an 8-bit integer form.
        single: Whether it needs float32 inside, for example for a long sum.
        later: Its newer forms, apart from attributes.
    """

    inputs: tuple[int, int]
    infer: Callable[[Node], tuple[Type, ...]]
    attributes: Mapping[str, AttributeRule] = field(default_factory=dict)
    moves: bool = False
    integer: bool = False
    single: bool = False
    later: tuple[Form, ...] = ()


def operator_of(node: Node, where: str) -> Operator:
    """The row of a node's operator.

    Raises:
        GraphError: The operator is unknown.
    """
    if node.operator not in OPERATORS:
        raise GraphError(f"unknown operator {node.operator}", where=where)
    return OPERATORS[node.operator]


def infer(node: Node, where: str) -> tuple[Type, ...]:
    """The types of a node's outputs, by its operator's shape inference.

    Raises:
        GraphError: The operator is unknown, or cannot take these inputs.
    """
    least, most = operator_of(node, where).inputs
    if not least <= len(node.inputs) <= most:
        takes = f"{least} to {most}" if least < most else str(least)
        raise GraphError(f"{node.operator} must have {takes} inputs, got {len(node.inputs)}", where=where)
    try:
        return OPERATORS[node.operator].infer(node)
    except GraphError as error:
        raise GraphError(f"{node.operator}: {error.message}", where=where) from None


_AXIS = AttributeRule("int", 0)
_AXIS_REQUIRED = AttributeRule("int", required=True)
_NUMBER = AttributeRule("float", required=True)
_LIST = AttributeRule("ints", required=True)
_SWITCH = AttributeRule("int", 0, allowed=(0, 1))
_KEEPDIMS = AttributeRule("int", 1, allowed=(0, 1))
_TEXT = AttributeRule("text", required=True)
_BORDER = AttributeRule("text", "constant", allowed=("constant", "reflect"))
_CHANNELS = {"axis": AttributeRule("int", 1, since=13)}
_ALONG = {"axis": _AXIS_REQUIRED}
_CONVOLUTION = {"kernel_shape": AttributeRule("ints"), **windows.STRIDES, **windows.DILATIONS, **windows.SAME}
# Before, a Softmax was over its axis and all behind that; axes of a sum were an attribute; Max and Min had floats only.
_ONE_AXIS = Form(13, "over an axis before the last", lambda node: not _over_last(node))
_AXES_READ = Form(13, "with its axes as an input", lambda node: len(node.inputs) > 1)
_WHOLE = Form(12, "of whole numbers", lambda node: "int" in node.input(0).type.dtype)


def _over_last(node: Node) -> bool:
    rank = len(node.input(0).shape)
    return node.attributes.integer("axis") % rank == rank - 1


OPERATORS: Mapping[str, Operator] = {
    "Add": Operator((2, 2), shape_rules.broadcast, integer=True),
    "ArgMax": Operator((1, 1), shape_rules.arg_max, {"axis": _AXIS, "keepdims": AttributeRule("int", 1, allowed=(1,))}),
    "AveragePool": Operator(
        (1, 1), windows.pool, {"kernel_shape": windows.KERNEL, **windows.STRIDES, **windows.SAME}, integer=True
    ),
    "BatchNormalization": Operator((5, 5), shape_rules.batch_normalization, {"epsilon": _NUMBER}),
    "Cast": Operator(
        (1, 1), shape_rules.cast, {"to": AttributeRule("int", required=True, allowed=tuple(ONNX_TYPES.values()))}
    ),
    "Ceil": Operator((1, 1), shape_rules.like_first),
    "Clip": Operator((1, 3), shape_rules.like_first),
    "Concat": Operator((1, 2**16), shape_rules.concat, {"axis": _AXIS_REQUIRED}),
    "Constant": Operator((0, 0), shape_rules.constant, {"value_ints": AttributeRule("ints", required=True, since=12)}),
    "Conv": Operator((2, 3), windows.conv, _CONVOLUTION, integer=True),
    "ConvTranspose": Operator(
        (2, 2),
        windows.conv_transpose,
        {"output_padding": AttributeRule("ints", 0), **windows.STRIDES, **windows.DILATIONS},
    ),
    "CumSum": Operator((2, 2), shape_rules.like_first, single=True),
    "DequantizeLinear": Operator((3, 3), shape_rules.dequantize, _CHANNELS),
    "Div": Operator((2, 2), shape_rules.broadcast),
    "Equal": Operator((2, 2), shape_rules.compare),
    "Expand": Operator((2, 2), shape_rules.expand, moves=True),
    "Floor": Operator((1, 1), shape_rules.like_first),
    "Flatten": Operator((1, 1), shape_rules.flatten, {"axis": AttributeRule("int", 1, allowed=(1,))}, moves=True),
    "Gather": Operator((2, 2), shape_rules.gather, {"axis": _AXIS}, moves=True),
    "Gemm": Operator((2, 3), shape_rules.gemm, {"transA": _SWITCH, "transB": _SWITCH}),
    "GlobalAveragePool": Operator((1, 1), shape_rules.global_average_pool, integer=True, single=True),
    "HardSigmoid": Operator((1, 1), shape_rules.like_first, {"alpha": _NUMBER, "beta": _NUMBER}),
    "Identity": Operator((1, 1), shape_rules.like_first, moves=True),
    "LeakyRelu": Operator((1, 1), shape_rules.like_first, {"alpha": AttributeRule("float", 0.01)}, integer=True),
    "LogSoftmax": Operator((1, 1), shape_rules.like_first, _ALONG, single=True, later=(_ONE_AXIS,)),
    "MatMul": Operator((2, 2), shape_rules.matmul),
    "Max": Operator((2, 2), shape_rules.broadcast, later=(_WHOLE,)),
    "MaxPool": Operator(
        (1, 1),
        windows.max_pool,
        {"kernel_shape": windows.KERNEL, "ceil_mode": _SWITCH, **windows.STRIDES, **windows.SAME},
        moves=True,
    ),
    "Min": Operator((2, 2), shape_rules.broadcast, later=(_WHOLE,)),
    "Mul": Operator((2, 2), shape_rules.broadcast, integer=True),
    "Pad": Operator((2, 3), shape_rules.pad, {"mode": _BORDER}, moves=True),
    "Pow": Operator((2, 2), shape_rules.broadcast),
    "QuantizeLinear": Operator((3, 3), shape_rules.quantize, _CHANNELS),
    "ReduceSum": Operator(
        (1, 2),
        shape_rules.reduce_sum,
        {"axes": AttributeRule("ints", before=13), "keepdims": _KEEPDIMS},
        single=True,
        later=(_AXES_READ,),
    ),
    "Relu": Operator((1, 1), shape_rules.like_first, integer=True),
    "Reshape": Operator((2, 2), shape_rules.reshape, moves=True),
    "Resize": Operator(
        (4, 4),
        shape_rules.resize,
        {
            "mode": _TEXT,
            "coordinate_transformation_mode": _TEXT,
            "nearest_mode": AttributeRule("text", "round_prefer_floor"),
            "antialias": AttributeRule("int", 0, allowed=(0, 1), since=18),
            "cubic_coeff_a": AttributeRule("float", -0.75),
            "exclude_outside": _SWITCH,
        },
    ),
    "Round": Operator((1, 1), shape_rules.like_first),
    "ScatterElements": Operator(
        (3, 3),
        shape_rules.scatter_elements,
        {"axis": _AXIS, "reduction": AttributeRule("text", "none", allowed=("none", "add"), since=16)},
    ),
    "Shape": Operator(
        (1, 1), shape_rules.shape, {"start": AttributeRule("int", 0, since=15), "end": AttributeRule("int", since=15)}
    ),
    "Sigmoid": Operator((1, 1), shape_rules.like_first, integer=True),
    "Slice": Operator((5, 5), shape_rules.slice_, moves=True),
    "Softmax": Operator((1, 1), shape_rules.like_first, _ALONG, single=True, later=(_ONE_AXIS,)),
    "Sqrt": Operator((1, 1), shape_rules.like_first),
    "Sub": Operator((2, 2), shape_rules.broadcast),
    "TopK": Operator((2, 2), shape_rules.top_k, {"axis": AttributeRule("int", -1)}),
    "Transpose": Operator((1, 1), shape_rules.transpose, {"perm": _LIST}, moves=True),
    # onnxruntime's own: a convolution, what is added to it, and its activation. CUDA knows no other than ReLU
    # (contrib_ops/cuda/fused_conv.cc).
    "com.microsoft:FusedConv": Operator(
        (2, 4),
        windows.fused_conv,
        {**_CONVOLUTION, "activation": AttributeRule("text", required=True, allowed=("Relu",))},
    ),
    # onnxruntime's own for its CPU provider: a layout of blocks of channels, in values of the same shape
    # (RegisterNchwcSchemas of core/graph/contrib_ops/contrib_defs.cc).
    "com.microsoft.nchwc:Conv": Operator((2, 2), windows.conv, _CONVOLUTION),
    "com.microsoft.nchwc:ReorderInput": Operator((1, 1), shape_rules.like_first),
    "com.microsoft.nchwc:ReorderOutput": Operator((1, 1), shape_rules.like_first, {"channels": _AXIS_REQUIRED}),
}


def domain_and_type(operator: str) -> tuple[str, str]:
    """An operator's domain, empty for ONNX's default one, and its name without the domain."""
    domain, _, kind = operator.rpartition(":")
    return domain, kind


class LatestForm(NamedTuple):
    """The newest form in a graph.

    Attributes:
        since: The first opset that has it; 0 if all have.
        words: Its description.
        where: The name of a value that it makes.
    """

    since: int = 0
    words: str = ""
    where: str = ""


def newer_forms(node: Node) -> Iterator[tuple[int, str]]:
    """The features of a node that are newer than its operator, each with the first opset that has it."""
    row = OPERATORS[node.operator]
    for name in node.attributes:
        if since := row.attributes[name].since:
            yield since, f"{node.operator} with {name}"
    for form in row.later:
        if form.fits(node):
            yield form.since, f"{node.operator} {form.words}"


_WITH_NEWER_FORMS = {
    name for name, row in OPERATORS.items() if row.later or any(rule.since for rule in row.attributes.values())
}


def latest_form(graph: Graph) -> LatestForm:
    """The newest form in a graph: that of the highest opset."""
    latest = LatestForm()
    for value in graph.values():
        if value.node and value.node.operator in _WITH_NEWER_FORMS:
            for since, words in newer_forms(value.node):
                if since > latest.since:
                    latest = LatestForm(since, words, value.name)
    return latest

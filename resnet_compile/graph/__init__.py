"""The IR: immutable typed values and nodes, one row per operator, walking, rewriting, listing, verifying."""

from resnet_compile.graph.ir import ConstantTensor, Dim, DType, Graph, Node, Shape, Tensor, Type, Value, rename, rewrite
from resnet_compile.graph.listing import listing
from resnet_compile.graph.operators import OPERATORS, apply, apply_many, constant
from resnet_compile.graph.verify import verify

__all__ = [
    "OPERATORS",
    "ConstantTensor",
    "DType",
    "Dim",
    "Graph",
    "Node",
    "Shape",
    "Tensor",
    "Type",
    "Value",
    "apply",
    "apply_many",
    "constant",
    "listing",
    "rename",
    "rewrite",
    "verify",
]

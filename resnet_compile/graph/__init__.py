"""The intermediate representation (IR): values and nodes, one row per operator, building, rewriting, verifying."""

from resnet_compile.graph.attributes import Attribute, Attributes
from resnet_compile.graph.build import Builder, apply, apply_many, cast, initializer, output_of, unbound
from resnet_compile.graph.ir import (
    ONNX_TYPES,
    Dim,
    DType,
    Graph,
    Node,
    Readers,
    Shape,
    Tensor,
    Type,
    Value,
    made_by,
)
from resnet_compile.graph.listing import listing
from resnet_compile.graph.operators import OPERATORS, domain_and_type, latest_form, newer_forms
from resnet_compile.graph.rewriting import bound, rebuilt, rename, rewrite
from resnet_compile.graph.tensors import ConstantTensor, ScaledTensor, Unbound, Vector, VectorTensor, exact
from resnet_compile.graph.verify import Verifier, verify

__all__ = [
    "ONNX_TYPES",
    "OPERATORS",
    "Attribute",
    "Attributes",
    "Builder",
    "ConstantTensor",
    "DType",
    "Dim",
    "Graph",
    "Node",
    "Readers",
    "ScaledTensor",
    "Shape",
    "Tensor",
    "Type",
    "Unbound",
    "Value",
    "Vector",
    "VectorTensor",
    "Verifier",
    "apply",
    "apply_many",
    "bound",
    "cast",
    "domain_and_type",
    "exact",
    "initializer",
    "latest_form",
    "listing",
    "made_by",
    "newer_forms",
    "output_of",
    "rebuilt",
    "rename",
    "rewrite",
    "unbound",
    "verify",
]

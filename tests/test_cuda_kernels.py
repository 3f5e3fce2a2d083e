"""Every operator of every graph for CUDA has a kernel in onnxruntime's CUDA provider, for its types and its opset.

`tools/cuda_kernels.py` wrote the tables: of the oldest onnxruntime that pyproject.toml allows, and of the newest tried.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema
from support.specs import narrowed

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.graph import Graph, Node, Value, domain_and_type
from resnet_compile.quantize import quantize
from resnet_compile.schemes import SCHEMES
from resnet_compile.spec.catalogue import catalogue
from resnet_compile.training import StepOptions, compile_step

TABLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "cuda_kernels.json").read_text())
# An end that is no end.
OPEN = 2**31 - 1
TYPES = {"float32": "float", "float64": "double"}
OWN_SCHEMAS = {(each.domain, each.name): each for each in get_all_operator_schema()}


def types_of(node: Node, outputs: tuple[Value, ...], schema: onnx.defs.OpSchema) -> Iterator[tuple[str, str]]:
    """The type that each of a node's type parameters has."""
    for formal, values in ((schema.inputs, node.inputs), (schema.outputs, outputs)):
        for place, value in enumerate(values):
            if value is not None:
                name = np.dtype(value.type.dtype).name
                parameter = formal[min(place, len(formal) - 1)]
                # onnxruntime's schemas are of a class of its own, with another word for it.
                yield getattr(parameter, "type_str", None) or parameter.typeStr, f"tensor({TYPES.get(name, name)})"


def has_kernel(table: dict[str, Any], node: Node, outputs: tuple[Value, ...], opset: int) -> bool:
    """Whether a row is for the node's operator.

    As onnxruntime looks it up (KernelRegistry::VerifyKernelDef, core/framework/kernel_registry.cc): a row begins with
    the version of the operator, or it has an end and the version lies within.
    """
    domain, kind = domain_and_type(node.operator)
    schema = OWN_SCHEMAS[domain, kind] if domain else onnx.defs.get_schema(kind, opset)
    since, types = schema.since_version, set(types_of(node, outputs, schema))
    return any(
        (first == since or (last != OPEN and first <= since <= last))
        and all(kind in allowed[name] for name, kind in types if name in allowed)
        for first, last, allowed in table.get(node.operator, [])
    )


def missing(graph: Graph, table: dict[str, Any], opset: int) -> set[str]:
    return {
        f"{node.operator} of {', '.join(str(value.type.dtype) for value in node.inputs if value)}"
        for node, outputs in graph.nodes()
        # onnxruntime makes an initializer of a Constant when it reads the graph.
        if node.operator != "Constant" and not has_kernel(table, node, outputs, opset)
    }


FORMS: dict[str, dict[str, Any]] = {"float32": {}, "float16": {"dtype": "float16"}, "fused": {"fused_conv": True}}


@cache
def network_graph(name: str, form: str) -> Graph:
    options = CompileOptions(target="cuda", outputs="all", **FORMS[form])
    return compile(narrowed(load_spec(name)), options).graph


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", catalogue())
def test_every_network_for_cuda_runs_on_cuda(name: str, form: str) -> None:
    for version, table in TABLES.items():
        assert missing(network_graph(name, form), table, 18) == set(), version


@pytest.mark.parametrize(
    ("name", "others"),
    [("tiny", set()), ("cifar_resnet32", {"Pad of uint8, int64, uint8"}), ("torchvision_resnet50", set())],
)
def test_cuda_leaves_the_biases_of_8_bits_to_the_cpu(name: str, others: set[str]) -> None:
    """They are in 32 bits, for which it has no kernel, as for channels that are padded in 8: these are TensorRT's."""
    graph = quantize(narrowed(load_spec(name)), CompileOptions(dtype="int8", batch=1, size=(32, 32))).model.graph
    for version, table in TABLES.items():
        assert missing(graph, table, 18) == {"DequantizeLinear of int32, float32, int32"} | others, version


@pytest.mark.parametrize("name", ["tiny", "torchvision_resnet50"])
def test_the_8_bits_of_tensorrt_have_kernels_on_cuda_too(name: str) -> None:
    """Which runs what TensorRT leaves."""
    options = CompileOptions(dtype="int8", target="tensorrt", batch=1, size=(32, 32))
    graph = quantize(narrowed(load_spec(name)), options).model.graph
    for version, table in TABLES.items():
        assert missing(graph, table, 18) == set(), version


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_preprocessing_runs_on_cuda(scheme: str) -> None:
    graph = compile(load_spec("tiny"), CompileOptions(target="cuda", preprocess=scheme)).graph
    for version, table in TABLES.items():
        assert missing(graph, table, 18) == set(), version


@pytest.mark.parametrize("version", TABLES)
@pytest.mark.parametrize("name", ["tiny", "cifar_resnet32", "torchvision_resnet18", "resnet50"])
def test_every_training_step_for_cuda_runs_on_cuda(name: str, version: str) -> None:
    step = compile_step(narrowed(load_spec(name)), StepOptions(batch=2, target="cuda"))
    assert missing(step.graph, TABLES[version], 18) == set()


def test_the_table_is_as_onnxruntimes_own_page_has_it() -> None:
    """Rows of docs/OperatorKernels.md (github.com/microsoft/onnxruntime, 001d12d), read by hand."""
    table = TABLES["1.31.1"]

    def types(operator: str, first: int, name: str) -> set[str]:
        return {kind for row in table[operator] if row[0] == first for kind in row[2][name]}

    floats = {"tensor(bfloat16)", "tensor(double)", "tensor(float)", "tensor(float16)"}
    assert types("Relu", 14, "T") == floats
    assert types("Max", 13, "T") == floats | {f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (32, 64)}
    assert types("Pad", 18, "T") >= {"tensor(bool)", "tensor(double)", "tensor(float)", "tensor(float16)"}


def test_a_kernel_of_another_opset_or_type_is_none() -> None:
    graph = network_graph("tiny", "float32")
    (relu, outputs), *_ = [(node, made) for node, made in graph.nodes() if node.operator == "Softmax"]
    old = {"Softmax": [[1, 10, {"T": ["tensor(float)"]}], [13, OPEN, {"T": ["tensor(float16)"]}]]}
    assert not has_kernel(old, relu, outputs, 18)
    assert has_kernel({"Softmax": [[13, OPEN, {"T": ["tensor(float)"]}]]}, relu, outputs, 18)
    assert not has_kernel({"Softmax": [[11, OPEN, {"T": ["tensor(float)"]}]]}, relu, outputs, 18)
    assert has_kernel({"Softmax": [[11, 13, {"T": ["tensor(float)"]}]]}, relu, outputs, 18)

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
from support.specs import narrowed

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.graph import Graph, Node, Value
from resnet_compile.spec.catalogue import catalogue
from resnet_compile.training import StepOptions, compile_step

TABLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "cuda_kernels.json").read_text())
# An end that is no end.
OPEN = 2**31 - 1
TYPES = {"float32": "float", "float64": "double"}


def types_of(node: Node, outputs: tuple[Value, ...], schema: onnx.defs.OpSchema) -> Iterator[tuple[str, str]]:
    """The type that each of a node's type parameters has."""
    for formal, values in ((schema.inputs, node.inputs), (schema.outputs, outputs)):
        for place, value in enumerate(values):
            if value is not None:
                name = np.dtype(value.type.dtype).name
                yield formal[min(place, len(formal) - 1)].type_str, f"tensor({TYPES.get(name, name)})"


def has_kernel(table: dict[str, Any], node: Node, outputs: tuple[Value, ...], opset: int) -> bool:
    """Whether a row is for the node's operator.

    As onnxruntime looks it up (KernelRegistry::VerifyKernelDef, core/framework/kernel_registry.cc): a row begins with
    the version of the operator, or it has an end and the version lies within.
    """
    schema = onnx.defs.get_schema(node.operator, opset)
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


@cache
def network_graph(name: str, dtype: str) -> Graph:
    options = CompileOptions(target="cuda", dtype=dtype, outputs="all")
    return compile(narrowed(load_spec(name)), options).graph


@pytest.mark.parametrize("version", TABLES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", catalogue())
def test_every_network_for_cuda_runs_on_cuda(name: str, dtype: str, version: str) -> None:
    assert missing(network_graph(name, dtype), TABLES[version], 18) == set()


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

"""The step in onnxruntime's blocked layout: the same numbers as in the layout of ONNX."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from support.models import runner
from support.tolerances import ROUNDING, relative_error

from resnet_compile import load_spec
from resnet_compile.errors import ResnetCompileError
from resnet_compile.graph import Graph, Type, Value, apply, initializer
from resnet_compile.graph.tensors import ConstantTensor
from resnet_compile.passes.blocked_layout import blocked_layout
from resnet_compile.serialize import ModelFormat, to_proto
from resnet_compile.training import compile_step, machine
from resnet_compile.training.machine import block_size, blocked_step
from resnet_compile.training.options import StepOptions

BLOCK = block_size()
blocked = pytest.mark.skipif(not BLOCK, reason="onnxruntime has no blocked layout on this processor")


def convolution(channels: int, depth: int, kernel: int, **attributes: Any) -> Graph:
    x = Value("x", Type("float32", (2, channels, 9, 11)))
    weights = Value("weights", Type("float32", (depth, channels // attributes.get("group", 1), kernel, kernel)))
    return Graph("one", (x, weights), (apply("Conv", x, weights, name="y", **attributes),))


def every(convolution: Value) -> bool:
    return True


def run(graph: Graph) -> np.ndarray:
    generator = np.random.default_rng(0)
    feeds = {value.name: generator.standard_normal(value.static_shape, np.float32) for value in graph.inputs}
    return runner(to_proto(graph, ModelFormat()))(feeds)[graph.outputs[0].name]


def operators(graph: Graph) -> Counter[str]:
    return Counter(value.node.operator for value in graph.values() if value.node)


@blocked
@pytest.mark.parametrize(
    ("channels", "depth", "kernel", "attributes"),
    [
        (32, 16, 1, {}),
        (16, 48, 3, {"pads": (1, 1, 1, 1)}),
        (32, 32, 3, {"pads": (0, 1, 1, 0), "strides": (2, 2)}),
        (16, 32, 3, {"pads": (2, 2, 2, 2), "dilations": (2, 2)}),
        (16, 16, 5, {"strides": (1, 3)}),
    ],
)
def test_a_convolution_has_the_same_result(channels: int, depth: int, kernel: int, attributes: dict[str, Any]) -> None:
    graph = convolution(channels, depth, kernel, **attributes)
    result = blocked_layout(graph, BLOCK, every)
    assert result.done == 1
    assert "Conv" not in operators(result.graph)
    assert relative_error(run(result.graph), run(graph)) <= ROUNDING


@blocked
def test_blocks_of_another_size_have_another_result() -> None:
    graph = convolution(32, 32, 3)
    assert relative_error(run(blocked_layout(graph, 24 - BLOCK, every).graph), run(graph)) > 0.1


def test_few_pixels_and_kernels_of_one_do_not_pay() -> None:
    graph = convolution(16, 16, 3)
    x, weights = graph.inputs
    for images, done in ((16, 0), (17, 1)):  # of 7x9 pixels
        many = Value("x", Type("float32", (images, *x.static_shape[1:])))
        assert blocked_layout(Graph("one", (many, weights), (apply("Conv", many, weights, name="y"),)), 16).done == done
    one = convolution(16, 16, 1, pads=(20, 20, 20, 20))
    assert (blocked_layout(one, 16).done, blocked_layout(one, 16, every).done) == (0, 1)


def test_parts_of_blocks_groups_biases_and_constant_weights_stay() -> None:
    graphs = [convolution(24, 16, 3), convolution(16, 24, 3), convolution(32, 32, 3, group=2)]
    plain = convolution(16, 16, 3)
    x, weights = plain.inputs
    constant = initializer("constant", ConstantTensor(np.ones(weights.static_shape, np.float32)))
    biases = Value("biases", Type("float32", (16,)))
    graphs.append(Graph("one", (x,), (apply("Conv", x, constant, name="y"),)))
    graphs.append(Graph("one", (x, weights, biases), (apply("Conv", x, weights, biases, name="y"),)))
    for graph in graphs:
        result = blocked_layout(graph, 16, every)
        assert (result.done, operators(result.graph)) == (0, operators(graph))


@blocked
def test_an_input_and_weights_that_two_convolutions_read_move_once() -> None:
    graph = convolution(16, 16, 3)
    x, weights = graph.inputs
    two = Graph("two", (x, weights), (graph.outputs[0], apply("Conv", x, weights, name="z", dilations=(2, 2))))
    made = operators(blocked_layout(two, BLOCK, every).graph)
    assert made["com.microsoft.nchwc:ReorderInput"] == made["Transpose"] == 1
    assert made["com.microsoft.nchwc:ReorderOutput"] == 2


def test_without_such_operators_the_step_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> np.ndarray:
        if operators(arguments[0])["com.microsoft.nchwc:Conv"]:  # type: ignore[arg-type]
            raise ResnetCompileError("no such operator")
        return np.zeros(1)

    monkeypatch.setattr(machine, "_run", refused)
    step = compile_step(load_spec("tiny"), StepOptions(batch=2))
    assert blocked_step(step) == (step, 0)

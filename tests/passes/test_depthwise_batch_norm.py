"""Batch normalisation as a depthwise convolution; that it computes the same is shown in test_exactness."""

import numpy as np
from support.adversarial import calibrated
from support.contents import arrays_of, single

from resnet_compile import CompileOptions, load_spec
from resnet_compile.graph import Graph, Type, Value, apply, verify
from resnet_compile.passes.depthwise_batch_norm import depthwise_batch_norm


def normalised(shape: tuple[int | str, ...], variance: float) -> Graph:
    x = Value("x", Type("float32", shape))
    values = {"gamma": 3.0, "beta": 5.0, "moving_mean": 2.0, "moving_variance": variance}
    statistics = (single(f"bn/{role}", np.full(4, value)) for role, value in values.items())
    return Graph("g", (x,), (apply("BatchNormalization", x, *statistics, name="y", epsilon=0.0),))


def test_scale_and_shift_are_those_of_the_definition() -> None:
    result = depthwise_batch_norm(normalised(("n", 4, 3, "w"), variance=4.0))
    (y,) = verify(result.graph, bound=True).outputs
    assert y.node is not None
    assert (y.name, y.node.operator, y.node.attributes["group"]) == ("y", "Conv", 4)
    # 3 / sqrt(4) x + (5 - 3 / sqrt(4) 2)
    assert (arrays_of(result.graph)["bn/scale"] == np.full((4, 1, 1, 1), 1.5)).all()
    assert (arrays_of(result.graph)["bn/shift"] == np.full(4, 2.0)).all()


def test_what_cannot_be_rewritten_is_named() -> None:
    flat = depthwise_batch_norm(normalised(("n", 4), variance=4.0))
    assert (flat.done, flat.refused) == (0, ("y: its input has no rows and columns",))
    infinite = depthwise_batch_norm(normalised(("n", 4, 3, 3), variance=0.0))
    assert (infinite.done, infinite.refused) == (0, ("y: its scale or shift is not a finite number",))


def test_every_norm_of_a_network_is_rewritten() -> None:
    graph, _ = calibrated(load_spec("tiny"), CompileOptions(outputs="all"), "both", 0)
    before = [value for value in graph.values() if value.node and value.node.operator == "BatchNormalization"]
    result = depthwise_batch_norm(graph)
    assert result.done == len(before) > 5
    assert not [1 for value in result.graph.values() if value.node and value.node.operator == "BatchNormalization"]
    assert [output.name for output in result.graph.outputs] == [output.name for output in graph.outputs]

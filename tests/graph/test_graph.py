"""The IR: walking, rewriting, and rules that are kept because a broken one is found."""

from dataclasses import replace

import numpy as np
import pytest

from resnet_compile.errors import GraphError
from resnet_compile.graph import (
    Attributes,
    ConstantTensor,
    Graph,
    Node,
    Type,
    Value,
    apply,
    apply_many,
    initializer,
    listing,
    rename,
    rewrite,
    unbound,
    verify,
)

X = Value("x", Type("float32", ("batch", 3, 8, 8)))
ROWS = Value("rows", Type("float32", ("batch", 3)))


def diamond() -> Graph:
    """relu(x) used twice, so that walking and rewriting must not double it."""
    a = apply("Relu", X, name="a")
    b = apply("MaxPool", a, name="b", kernel_shape=(1, 1))
    return Graph("diamond", (X,), (apply("Add", a, b, name="sum"),))


def test_values_come_after_what_they_are_made_from() -> None:
    assert [value.name for value in diamond().values()] == ["x", "a", "b", "sum"]


def test_a_deep_graph_is_walked_without_recursion() -> None:
    value = X
    for index in range(20_000):
        value = apply("Relu", value, name=f"v{index}")
    graph = Graph("deep", (X,), (value,))
    assert sum(1 for _ in graph.nodes()) == 20_000
    assert rename(graph, {"v0": "first"}).outputs[0].name == "v19999"


def test_rewriting_shares_what_it_keeps() -> None:
    graph = diamond()
    rewritten = rewrite(graph, lambda value, _: X if value.name == "b" else None)
    assert listing(rewritten).count("Relu") == 1
    assert "MaxPool" not in listing(rewritten)
    assert "MaxPool" in listing(graph)


def test_a_node_of_several_outputs_stays_one() -> None:
    relu = apply("Relu", X, name="relu")
    pooled, indices = apply_many("MaxPool", relu, names=("pooled", "indices"), kernel_shape=(2, 2))
    rewritten = rewrite(Graph("g", (X,), (pooled, indices)), lambda value, _: X if value is relu else None)
    ((node, made),) = verify(rewritten).nodes()
    assert node.inputs == (X,)
    assert made == rewritten.outputs
    assert [(value.name, value.index) for value in made] == [("pooled", 0), ("indices", 1)]


def test_renaming_reaches_every_use() -> None:
    text = listing(rename(diamond(), {"a": "activated"}))
    assert "activated: float32[batch, 3, 8, 8] = Relu(x)" in text
    assert "Add(activated, b)" in text


def test_a_sound_graph_passes() -> None:
    assert verify(diamond()).outputs[0].name == "sum"


def broken_graphs() -> dict[str, tuple[Graph, str]]:
    graph = diamond()
    total = graph.outputs[0]
    weights = initializer("w", ConstantTensor(np.zeros(5, np.float32)))
    return {
        "two values of one name": (
            Graph("g", (X,), (apply("Add", apply("Relu", X, name="a"), apply("Relu", X, name="a"), name="s"),)),
            "a: two values have this name",
        ),
        "an input of an output's name": (Graph("g", (X,), (apply("Relu", X, name="x"),)), "two values have this name"),
        "a wrong type": (replace(graph, outputs=(replace(total, type=Type("float32", (1,))),)), "but Add makes"),
        "an unknown operator": (
            Graph("g", (X,), (Value("y", X.type, Node("Gelu", (X,), Attributes({}, {}))),)),
            "unknown operator Gelu",
        ),
        "an undeclared input": (replace(graph, inputs=()), "x: is neither an input, nor"),
        "an output that is an input": (Graph("g", (X,), (X,)), "an output that no node makes"),
        "contents missing": (
            Graph(
                "g",
                (X,),
                (apply("BatchNormalization", X, *[unbound("s", "float32", (3,))] * 4, name="y", epsilon=1.0),),
            ),
            "s: an initializer without contents",
        ),
        "contents of another shape": (
            Graph("g", (), (apply("Identity", replace(weights, type=Type("float32", (4,))), name="y"),)),
            r"w: is float32\[4\], but its contents are float32\[5\]",
        ),
    }


@pytest.mark.parametrize("fault", broken_graphs())
def test_a_broken_rule_is_found(fault: str) -> None:
    graph, words = broken_graphs()[fault]
    with pytest.raises(GraphError, match=words):
        verify(graph, bound=True)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "words"),
    [
        ("Gelu", (X,), {}, "unknown operator"),
        ("Relu", (X, X), {}, "must have 1 inputs, got 2"),
        ("Conv", (X, unbound("w", "float32", (4, 5, 3, 3))), {}, "does not fit weights"),
        ("Conv", (X, unbound("w", "float32", (4, 3, 9, 9))), {}, "a window of 9 does not fit 8"),
        ("Conv", (X, unbound("w", "float32", (4, 3))), {}, "4-D"),
        (
            "BatchNormalization",
            (X, *[unbound("s", "float32", (2,))] * 4),
            {"epsilon": 1.0},
            "one value for each channel",
        ),
        ("Transpose", (X,), {"perm": (0, 1, 2, 2)}, "is not a permutation of the axes"),
        ("Add", (X, unbound("w", "float32", (5,))), {}, "axes of 8 and 5 do not broadcast"),
        ("Add", (X, unbound("w", "int64", (1,))), {}, "have different types"),
        ("MaxPool", (X,), {"kernel_shape": 3}, "kernel_shape must be integers"),
        ("Gemm", (X, unbound("w", "float32", (3, 4))), {}, "two matrices"),
        ("Gemm", (ROWS, unbound("w", "float32", (4, 3))), {}, "does not fit weights"),
        ("Gemm", (ROWS, unbound("w", "float32", (3, 4)), unbound("b", "float32", (3,))), {}, "each of 4 columns"),
        ("Pad", (X, unbound("p", "int64", (8,))), {}, "a Constant of two pads for each axis"),
        ("Pad", (X, apply("Constant", name="p", value_ints=(1, 1))), {}, "a Constant of two pads for each axis"),
    ],
)
def test_an_operator_refuses_what_it_cannot_take(operator: str, inputs: tuple, attributes: dict, words: str) -> None:
    with pytest.raises(GraphError, match=words) as caught:
        apply(operator, *inputs, name="y", **attributes)
    assert caught.value.where == "y"


def test_a_two_way_broadcast_keeps_what_is_known() -> None:
    bias = unbound("b", "float32", (1, 3, 1, 1))
    assert apply("Add", X, bias, name="y").shape == ("batch", 3, 8, 8)
    assert apply("Add", bias, X, name="y").shape == ("batch", 3, 8, 8)


def test_a_matrix_product_may_take_either_matrix_transposed() -> None:
    weights, biases = unbound("w", "float32", (4, 3)), unbound("b", "float32", (4,))
    assert apply("Gemm", ROWS, weights, biases, name="y", transB=1).shape == ("batch", 4)
    columns = Value("columns", Type("float32", (3, "batch")))
    assert apply("Gemm", columns, weights, name="y", transA=1, transB=1).shape == ("batch", 4)


def test_padding_an_axis_of_unknown_length_leaves_it_unknown() -> None:
    pads = apply("Constant", name="p", value_ints=(0, 1, 0, 0, 1, 2, 0, 3))
    assert apply("Pad", X, pads, name="y").shape == (None, 6, 8, 11)

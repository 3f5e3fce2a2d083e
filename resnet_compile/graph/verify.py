"""The rules every graph keeps, as a table of checks; tests judge each stage's output by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from resnet_compile.errors import GraphError
from resnet_compile.graph.ir import Graph
from resnet_compile.graph.operators import OPERATORS, infer


def verify(graph: Graph, *, bound: bool = False) -> Graph:
    """Returns the graph it was given.

    Args:
        graph: What to check.
        bound: Whether every initializer must have its contents.

    Raises:
        GraphError: The graph breaks a rule; all broken rules are in the message, `where` names the first.
    """
    faults = [fault for check in _CHECKS for fault in check(graph)]
    if bound:
        faults.extend(_contents(graph))
    if faults:
        where, _ = faults[0]
        raise GraphError("; ".join(f"{name}: {message}" for name, message in faults), where=where)
    return graph


def _names_are_unique(graph: Graph) -> Iterator[tuple[str, str]]:
    counts = Counter(value.name for value in {*graph.values(), *graph.inputs})
    return ((name, "two values bear this name") for name, count in counts.items() if count > 1)


def _operators_are_known(graph: Graph) -> Iterator[tuple[str, str]]:
    return (
        (made[0].name, f"unknown operator {node.operator}")
        for node, made in graph.nodes()
        if node.operator not in OPERATORS
    )


def _types_follow_from_inputs(graph: Graph) -> Iterator[tuple[str, str]]:
    for node, made in graph.nodes():
        if node.operator in OPERATORS:
            types = infer(node)
            for value in made:
                if value.type != types[value.index]:
                    yield value.name, f"has type {value.type} where {node.operator} makes {types[value.index]}"


def _leaves_are_declared(graph: Graph) -> Iterator[tuple[str, str]]:
    for value in graph.values():
        if value.node is None and not value.initializer and value not in graph.inputs:
            yield value.name, "is made by no node, and is neither an input nor an initializer"


def _outputs_are_computed(graph: Graph) -> Iterator[tuple[str, str]]:
    return ((output.name, "an output that no node makes") for output in graph.outputs if output.node is None)


def _contents(graph: Graph) -> Iterator[tuple[str, str]]:
    for value in graph.initializers():
        tensor = graph.data.get(value.name)
        if tensor is None:
            yield value.name, "an initializer without contents"
        elif (tensor.dtype, tensor.shape) != (value.type.dtype, value.shape):
            yield value.name, f"is {value.type} and its contents are {tensor.dtype}{list(tensor.shape)}"


_CHECKS = (
    _names_are_unique,
    _operators_are_known,
    _types_follow_from_inputs,
    _leaves_are_declared,
    _outputs_are_computed,
)

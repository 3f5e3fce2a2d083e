"""The rules that every graph keeps, as a table of checks that run after each stage.

Values and nodes never change, so a `Verifier` only checks those that it has not seen before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from resnet_compile.errors import GraphError
from resnet_compile.graph.ir import Graph, Value
from resnet_compile.graph.operators import infer
from resnet_compile.graph.tensors import Unbound

Fault = tuple[str, str]


def verify(graph: Graph, *, bound: bool = False) -> Graph:
    """Checks a graph and returns it; raises as `Verifier.verify`."""
    return Verifier().verify(graph, "the graph", bound=bound)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks a graph after each step of its making."""

    _sound: set[Value] = field(default_factory=set)

    def verify(self, graph: Graph, made_by: str, *, bound: bool = False) -> Graph:
        """Checks a graph and returns it.

        Args:
            graph: The graph.
            made_by: The step that made it, for errors.
            bound: Whether every initializer must have its contents.

        Raises:
            GraphError: The graph breaks rules. The message has all of them, and `where` is the place of the first.
        """
        values = list(graph.values())
        faults = [*_names(graph, values), *self._types(values), *_leaves(graph, values), *_outputs(graph)]
        if bound:
            faults += [
                (value.name, "an initializer without contents")
                for value in values
                if isinstance(value.contents, Unbound)
            ]
        if faults:
            message = "; ".join(f"{name}: {fault}" for name, fault in faults)
            raise GraphError(f"{made_by} breaks a rule: {message}", where=faults[0][0])
        return graph

    def _types(self, values: list[Value]) -> Iterator[Fault]:
        """Every operator is known, and every type is the one that its node's inputs and attributes give."""
        for value in values:
            if value.node is None or value in self._sound:
                continue
            try:
                types = infer(value.node, value.name)
            except GraphError as error:
                yield value.name, error.message
                continue
            if value.type != types[value.index]:
                yield value.name, f"has type {value.type} where {value.node.operator} makes {types[value.index]}"
            self._sound.add(value)


def _names(graph: Graph, values: list[Value]) -> Iterator[Fault]:
    counts = Counter(value.name for value in {*values, *graph.inputs})
    return ((name, "two values bear this name") for name, count in counts.items() if count > 1)


def _leaves(graph: Graph, values: list[Value]) -> Iterator[Fault]:
    inputs = frozenset(graph.inputs)
    for value in values:
        if value.contents is not None:
            if (value.contents.dtype, value.contents.shape) != (value.type.dtype, value.shape):
                held = f"{value.contents.dtype}{list(value.contents.shape)}"
                yield value.name, f"is {value.type} and its contents are {held}"
        elif value.node is None and value not in inputs:
            yield value.name, "is not made by a node, and is neither an input nor an initializer"


def _outputs(graph: Graph) -> Iterator[Fault]:
    return ((output.name, "an output that no node makes") for output in graph.outputs if output.node is None)

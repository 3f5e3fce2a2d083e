"""The invariants of graphs, checked after each stage.

Values and nodes never change, so a `Verifier` checks the types of new ones only.
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
    """Checks a graph after each step that makes one."""

    _sound: set[Value] = field(default_factory=set)

    def verify(self, graph: Graph, made_by: str, *, bound: bool = False) -> Graph:
        """Checks a graph and returns it.

        Args:
            graph: The graph.
            made_by: The step that made it, for errors.
            bound: Whether every initializer must have its contents.

        Raises:
            GraphError: The graph breaks a rule. The message lists all faults; `where` is the first one's place.
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
        """Faults of operators and types: each operator must be known, each type the result of shape inference."""
        for value in values:
            if value.node is None or value in self._sound:
                continue
            try:
                types = infer(value.node, value.name)
            except GraphError as error:
                yield value.name, error.message
                continue
            if value.type != types[value.index]:
                yield value.name, f"has type {value.type}, but {value.node.operator} makes {types[value.index]}"
            self._sound.add(value)


def _names(graph: Graph, values: list[Value]) -> Iterator[Fault]:
    counts = Counter(value.name for value in {*values, *graph.inputs})
    return ((name, "two values have this name") for name, count in counts.items() if count > 1)


def _leaves(graph: Graph, values: list[Value]) -> Iterator[Fault]:
    inputs = frozenset(graph.inputs)
    for value in values:
        if value.contents is not None:
            if (value.contents.dtype, value.contents.shape) != (value.type.dtype, value.shape):
                held = f"{value.contents.dtype}{list(value.contents.shape)}"
                yield value.name, f"is {value.type}, but its contents are {held}"
        elif value.node is None and value not in inputs:
            yield value.name, "is neither an input, nor an initializer, nor made by a node"


def _outputs(graph: Graph) -> Iterator[Fault]:
    return ((output.name, "an output that no node makes") for output in graph.outputs if output.node is None)

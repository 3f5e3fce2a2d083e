"""New graphs from old ones: values replaced, renamed, or bound to contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from resnet_compile.graph.build import output_of
from resnet_compile.graph.ir import Graph, Node, Tensor, Type, Value
from resnet_compile.graph.operators import infer
from resnet_compile.graph.tensors import Kept

Rule = Callable[[Value, Sequence[Value | None]], Value | None]


def rewrite(graph: Graph, rule: Rule, *, inputs: Mapping[Value, Value] | None = None) -> Graph:
    """The graph with some values replaced. Types are inferred again where sources change.

    Args:
        graph: The graph.
        rule: Called for each value in topological order, with the new inputs of its node. Returns the value's
            replacement, or None to keep the value (on its new inputs). Not called for replaced graph inputs.
        inputs: Replacements of graph inputs.
    """
    new: dict[Value, Value] = dict(inputs or {})
    nodes: dict[Node, tuple[Node, tuple[Type, ...]]] = {}
    for value in graph.values():
        if value in new:
            continue
        sources = tuple(source and new[source] for source in value.node.inputs) if value.node else ()
        if (replaced := rule(value, sources)) is not None:
            new[value] = replaced
        elif value.node is None or sources == value.node.inputs:
            new[value] = value
        else:
            if value.node not in nodes:
                node = replace(value.node, inputs=sources)
                nodes[value.node] = node, infer(node, value.name)
            node, types = nodes[value.node]
            new[value] = replace(value, node=node, type=types[value.index])
    return Graph(
        graph.name,
        tuple((inputs or {}).get(value, value) for value in graph.inputs),
        tuple(new[output] for output in graph.outputs),
    )


def rebuilt(value: Value, sources: Sequence[Value | None], name: str | None = None) -> Value:
    """The first output of a value's node on new inputs, with the given or the old name."""
    return output_of(replace(value.maker, inputs=tuple(sources)), name or value.name)


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with some values renamed, outputs included."""

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value.name not in names:
            return None
        return rebuilt(value, sources, names[value.name]) if value.node else replace(value, name=names[value.name])

    inputs = {value: replace(value, name=names[value.name]) for value in graph.inputs if value.name in names}
    return rewrite(graph, rule, inputs=inputs)


def bound(graph: Graph, tensors: Mapping[str, Tensor]) -> Graph:
    """The graph with contents for its unbound initializers, by name.

    Vectors are cached: they are small, and passes read them.
    """

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value.contents is None or value.name not in tensors:
            return None
        tensor = tensors[value.name]
        return replace(value, contents=Kept(tensor) if len(tensor.shape) == 1 else tensor)

    return rewrite(graph, rule)

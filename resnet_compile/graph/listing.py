"""A graph as text, one node per line, for tests and people."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_compile.graph.ir import Graph


def listing(graph: Graph) -> str:
    """The canonical listing. Graphs with equal listings compute the same function of the same parameters."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    inputs = ", ".join(f"{value.name}: {value.type}" for value in graph.inputs)
    yield f"{graph.name}({inputs})"
    for node, made in graph.nodes():
        outputs = ", ".join(f"{value.name}: {value.type}" for value in made)
        sources = ", ".join(source.name if source else "-" for source in node.inputs)
        attributes = "".join(f" {key}={node.attributes[key]!r}" for key in sorted(node.attributes))
        yield f"  {outputs} = {node.operator}({sources}){attributes}"
    yield f"  return {', '.join(output.name for output in graph.outputs)}"

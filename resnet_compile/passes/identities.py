"""Identity nodes, removed.

Identity(x) = x, so its readers can read x. Lowering makes such a node only for a block's end point, a second name of
its last unit's output. If the end point is a requested output, the node before it takes the output's name. If both
names are requested, ONNX needs the node.

A subsampling shortcut of stride 1, which would be an identity too, is never planned.
"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_compile.graph import Graph, Value, made_by, rebuilt, rewrite
from resnet_compile.passes.base import PassResult


def remove_identities(graph: Graph) -> PassResult:
    """Removes Identity nodes; requested outputs keep their names."""
    outputs = frozenset(graph.outputs)
    names: dict[Value, str] = {}  # the new names of values that become requested outputs
    refused = []
    for output in graph.outputs:
        if (identity := made_by(output, "Identity")) is None:
            continue
        source = identity.input(0)
        if source.node is None:
            refused.append(f"{output.name}: its source is an input of the graph")
        elif source in outputs or source in names:
            refused.append(f"{output.name}: its source is also requested, as {names.get(source, source.name)}")
        else:
            names[source] = output.name
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        identity = made_by(value, "Identity")
        if identity and (value not in outputs or names.get(identity.input(0)) == value.name):
            done += 1
            return sources[0]
        return rebuilt(value, sources, names[value]) if value in names else None

    return PassResult(rewrite(graph, rule), done, tuple(refused))

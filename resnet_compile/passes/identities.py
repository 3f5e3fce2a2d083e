"""Identity nodes.

Identity(x) = x, so its readers may as well read x. Lowering makes such a node only for a block's end point, which is
its last unit's output under a second name. Where that end point is a requested output, the node before it makes the
value under the output's name; but where both names are requested, ONNX needs the node.

A subsampling shortcut of stride 1, which would be an identity too, is never planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resnet_compile.graph import Graph, Value, rewrite
from resnet_compile.passes.base import PassResult, made_by


def remove_identities(graph: Graph) -> PassResult:
    """Removes Identity nodes; requested outputs keep their names."""
    outputs = frozenset(graph.outputs)
    names: dict[Value, str] = {}  # what the makers of requested outputs are to be called
    refused = []
    for output in graph.outputs:
        if (identity := made_by(output, "Identity")) is None:
            continue
        source = identity.inputs[0]
        if source is None or source.node is None or source in outputs or source in names:
            refused.append(f"{output.name}: what it reads is an output or input itself")
        else:
            names[source] = output.name
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        if identity := made_by(value, "Identity"):
            source = identity.inputs[0]
            if value not in outputs or (source and names.get(source) == value.name):
                done += 1
                return sources[0]
        if value in names and value.node:
            return replace(value, name=names[value], node=replace(value.node, inputs=tuple(sources)))
        return None

    return PassResult(rewrite(graph, rule), done, tuple(refused))

"""Equalises the ranges of the residual stream's channels, where that adds no node and changes nothing in float.

A map has one grid for all of its channels. A channel with a tenth of the widest channel's range therefore has only a
tenth of its steps. In a pre-activation network, convolutions, sums and pools make the stream, and only normalisations
read it, which are depthwise convolutions at this stage (`depthwise_batch_norm`). With a factor s[c] > 0 per channel::

    v[c] / s[c] = (W[c] / s[c]) * x + b[c] / s[c]        the convolutions that make it
    (v + w)[c] / s[c] = v[c] / s[c] + w[c] / s[c]        sums; a pool moves with its arguments
    a[c] v[c] = (s[c] a[c]) (v[c] / s[c])                the depthwise convolutions that read it

Weights have a scale for each output channel, so their integers do not change. s[c] is twice the channel's range over
the widest channel's range, at most 1; of all maps that share s, the largest value counts. Nagel et al. 2019, Data-Free
Quantization, 4.1, equalise pairs of layers so, without the headroom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_compile.graph import Graph, Node, Readers, Value, Vector, made_by, rewrite
from resnet_compile.passes.edits import Edits
from resnet_compile.quantize.calibration import Observed

_MOVERS = ("Identity", "MaxPool", "AveragePool")
_HEADROOM = 2
"""A channel's allowed range over its range in calibration. Without headroom, few calibration images clip all others."""
_LEAST = 1 / 16
"""The least factor: a channel that hardly varied in calibration may vary more on other images."""


@dataclass(frozen=True)
class Equalized:
    """A graph with equalised streams.

    Attributes:
        graph: The graph; values keep their names.
        factors: For each scaled value, by name, the factors that restore its channels.
        done: The number of equalised streams.
        refused: For each stream that was left alone, the reason in one sentence.
    """

    graph: Graph
    factors: Mapping[str, Vector]
    done: int
    refused: tuple[str, ...]

    def observed(self, before: Mapping[str, Observed]) -> Mapping[str, Observed]:
        """The statistics of the original graph, converted to those of this one."""
        return {name: each.over(self.factors[name]) if name in self.factors else each for name, each in before.items()}


def equalize(graph: Graph, observed: Mapping[str, Observed], told: Collection[str]) -> Equalized:
    """Equalises the channel ranges of every stream that only normalisations read.

    Args:
        graph: The network after the passes of int8.
        observed: The statistics of its values, by name.
        told: Outputs that may be scaled, because their reader applies the factors; all other outputs keep their values.
    """
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    kept = frozenset(output for output in outputs if output.name not in told)
    edits, factors, refused = Edits("equalized"), dict[str, Vector](), list[str]()
    streams = _streams(graph)
    for stream in streams:
        seen = [observed[value.name] for value in stream if value.name in observed]
        if reason := _reason(stream, read_by, kept) if seen else "nothing of it is in integers":
            total = next(value for value in stream if made_by(value, "Add"))
            refused.append(f"{total.name}: {reason}")
            continue
        factor = _factors(seen)
        for value in stream:
            factors[value.name] = factor
            if made_by(value, "Conv"):
                edits.output_scales[value] = 1 / factor
                if value.maker.optional(2):
                    edits.biases[value] = edits.bias(value) / factor
            for reader in read_by[value]:
                if made_by(reader, "Conv"):
                    edits.output_scales[reader] = factor
                elif made_by(reader, "Transpose"):
                    factors[reader.name] = factor

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        return edits.rebuild(value, sources, value.name) if edits.edited(value) else None

    return Equalized(rewrite(graph, rule), factors, len(streams) - len(refused), tuple(refused))


def _factors(observed: Sequence[Observed]) -> Vector:
    spans = [np.maximum(each.high, 0) - np.minimum(each.low, 0) for each in observed]
    span = np.max(spans, axis=0)
    widest = span.max()
    factors: Vector = np.clip(_HEADROOM * span / widest, _LEAST, 1) if widest > 0 else np.ones_like(span)
    return factors


def _streams(graph: Graph) -> list[list[Value]]:
    """The groups of maps that sums and pools tie together; only groups with a sum."""
    tied: dict[Value, list[Value]] = {}
    for value in graph.values():
        if value.node is None or len(value.shape) != 4 or value.type.dtype != "float32":
            continue
        group = tied[value] = [value]
        if value.node.operator in ("Add", *_MOVERS):
            for source in dict.fromkeys(each for each in value.node.inputs if each in tied):
                other = tied[source]
                if other is not group:
                    other.extend(group)
                    for each in group:
                        tied[each] = other
                    group = other
    groups = {id(group): group for group in tied.values()}
    return [group for group in groups.values() if any(made_by(value, "Add") for value in group)]


def _reason(stream: Sequence[Value], read_by: Readers, kept: Collection[Value]) -> str | None:
    """Why a stream cannot be equalised; None if it can."""
    members = frozenset(stream)
    for value in stream:
        if value in kept:
            return f"{value.name} is a requested output"
        if reason := _making(value, members, read_by):
            return reason
        for reader in read_by[value]:
            if reader not in members and (reason := _reading(reader, value, read_by, kept)):
                return reason
    return None


def _making(value: Value, members: frozenset[Value], read_by: Readers) -> str | None:
    node = value.maker
    if node.operator == "Conv":
        return None if _own_parameters(node, read_by) else f"{value.name} shares or computes its weights"
    sources = [source for source in node.inputs if source and source.contents is None]
    if node.operator not in ("Add", *_MOVERS) or len(sources) < len(node.inputs):
        return f"{value.name}, a {node.operator}, makes a part of it"
    if not members.issuperset(sources) or len({source.shape[1] for source in sources}) > 1:
        return f"{value.name} reads another map"
    return None


def _reading(reader: Value, value: Value, read_by: Readers, kept: Collection[Value]) -> str | None:
    node = reader.maker
    if node.operator == "Transpose" and not read_by[reader]:
        return f"{reader.name} is a requested output" if reader in kept else None
    depthwise = node.operator == "Conv" and node.attributes.integer("group") == value.shape[1] == reader.shape[1]
    if depthwise and node.input(0) is value and _own_parameters(node, read_by):
        return None
    return f"{reader.name}, a {node.operator}, reads it"


def _own_parameters(node: Node, read_by: Readers) -> bool:
    """Whether weights and biases are constants that no other node reads."""
    parameters = [each for each in node.inputs[1:] if each]
    return all(each.contents is not None and len(read_by[each]) == 1 for each in parameters)

"""Biases of the residual stream, moved into the normalisations that read it, where they cost nothing.

A value v + c, with c uniform over rows and columns, may be computed as v if its readers compensate for c:

    BatchNormalization(v + c; mean) = BatchNormalization(v; mean - c)
    MaxPool(v + c) = MaxPool(v) + c        padding is minus infinity
    (v + c) + (w + d) = (v + w) + (c + d)

So convolutions that feed the stream drop their biases, and the sum of all dropped ones goes into the means of the
normalisations that read the stream. A sum needs its true value if it is a requested output or has another kind of
reader. Then the convolution that makes one of its operands gets all of c + d as its biases.

The stream is rounded as v, not as v + c. Let m and s^2 be the mean and variance of v + c in a normalisation of scale a.
Its squared error, summed over channels, changes from u^2 a^2 (s^2 + m^2) to u^2 a^2 E[v^2] = u^2 a^2 (s^2 + (m - c)^2).
Up to twice the squared error (1.4 times the error) is allowed; beyond that the offset ends in that unit. Mostly c is
the larger part of m, so v is smaller than v + c.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from resnet_compile.graph import (
    Graph,
    Readers,
    Value,
    Vector,
    VectorTensor,
    exact,
    initializer,
    made_by,
    rebuilt,
    rewrite,
)
from resnet_compile.passes.base import PassResult
from resnet_compile.passes.batch_norm import affine
from resnet_compile.passes.edits import Edits

_MOST_GROWTH = 2.0


def hoist_biases(graph: Graph) -> PassResult:
    """Drops biases along the residual stream. A value that lacks its offset is called `.../hoisted`."""
    plan = _Plan(graph)
    edits = plan.edits

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if edits.edited(value):
            return edits.rebuild(value, sources, f"{value.name}/hoisted" if value in plan.offsets else value.name)
        if value in plan.offsets:
            return rebuilt(value, sources, f"{value.name}/hoisted")
        norm = made_by(value, "BatchNormalization")
        if norm is None or norm.input(0) not in plan.offsets:
            return None
        mean = _moved_mean(norm.input(3), plan.offsets[norm.input(0)])
        return rebuilt(value, (*sources[:3], mean, sources[4]))

    return PassResult(rewrite(graph, rule), plan.dropped, tuple(plan.refused))


def _moved_mean(mean: Value, offset: Vector) -> Value:
    name = f"{mean.name}/hoisted"
    return initializer(name, VectorTensor(name, mean.static_shape, lambda: exact(mean) - offset))


@dataclass
class _Plan:
    """The offset that each value lacks, and the edits of biases.

    Attributes:
        graph: The graph.
        edits: The biases of convolutions: None for dropped, a vector where an offset ends.
        offsets: The offset that each value lacks, by channel.
        refused: The reasons why an offset ends early, one sentence each.
    """

    graph: Graph
    edits: Edits = field(default_factory=lambda: Edits("hoisted"))
    offsets: dict[Value, Vector] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._read_by = self.graph.readers()
        self._carriers = _carriers(self.graph, self._read_by)
        for value in self.graph.values():
            if (conv := made_by(value, "Conv")) and value in self._carriers and conv.optional(2):
                self._carry(value, self.edits.bias(value))
            elif (pool := made_by(value, "MaxPool")) and (source := pool.input(0)) in self.offsets:
                self.offsets[value] = self.offsets[source]
            elif made_by(value, "Add"):
                self._add(value)

    @property
    def dropped(self) -> int:
        """The number of convolutions without their biases."""
        return sum(vector is None for vector in self.edits.biases.values())

    def _carry(self, value: Value, offset: Vector) -> bool:
        """Removes an offset from a value, unless that would cost precision."""
        growth = max(map(partial(_growth, offset), _norms(value, self._read_by)), default=0.0)
        if not growth <= _MOST_GROWTH:
            self.refused.append(f"{value.name}: squared errors would grow by {growth:.3g}, at most {_MOST_GROWTH:g}")
            return False
        self.offsets[value] = offset
        if made_by(value, "Conv"):
            self.edits.biases[value] = None
        return True

    def _add(self, total: Value) -> None:
        lacking = [self.offsets[source] for source in total.maker.inputs if source in self.offsets]
        if not lacking:
            return
        offset = np.sum(lacking, axis=0)
        if total in self._carriers and self._carry(total, offset):
            return
        sink = _sink(total, self._read_by, self.graph.outputs)
        assert sink is not None, "no operand of a sum without one lacks anything"
        # Its own biases were dropped before: this sum is its only reader, so nothing refused that.
        self.edits.biases[sink] = offset
        self.offsets.pop(sink, None)


def _growth(offset: Vector, norm: Value) -> float:
    """The factor on a normalisation's squared errors if its input lacks the offset."""
    scale = affine(norm.maker).scale
    mean, variance = exact(norm.maker.input(3)), exact(norm.maker.input(4))
    with np.errstate(all="ignore"):
        before = (scale**2) @ (variance + mean**2)
        after = (scale**2) @ (variance + (mean - offset) ** 2)
        return float(after / before) if after else 0.0


def _norms(value: Value, read_by: Readers) -> Iterator[Value]:
    """The normalisations that read a value, directly or after a max pool."""
    for reader in read_by[value]:
        if made_by(reader, "BatchNormalization"):
            yield reader
        elif made_by(reader, "MaxPool"):
            yield from _norms(reader, read_by)


def _carriers(graph: Graph, read_by: Readers) -> frozenset[Value]:
    """The values whose readers all compensate for an offset."""
    found: set[Value] = set()
    for value in reversed(list(graph.values())):
        if value in graph.outputs or not any(made_by(value, kind) for kind in ("Conv", "MaxPool", "Add")):
            continue
        if read_by[value] and all(_makes_up(reader, found, read_by, graph) for reader in read_by[value]):
            found.add(value)
    return frozenset(found)


def _makes_up(reader: Value, carriers: Collection[Value], read_by: Readers, graph: Graph) -> bool:
    """Whether a node can compensate for an operand's missing offset."""
    if made_by(reader, "Add"):
        return _sink(reader, read_by, graph.outputs) is not None
    return reader in carriers if made_by(reader, "MaxPool") else made_by(reader, "BatchNormalization") is not None


def _sink(total: Value, read_by: Readers, outputs: Collection[Value]) -> Value | None:
    """The operand of a sum that can take an offset as its biases."""
    for source in total.maker.inputs:
        if source and made_by(source, "Conv") and read_by[source] == (total,) and source not in outputs:
            return source
    return None

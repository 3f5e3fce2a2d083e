"""The biases of the residual stream, carried to where they cost nothing.

A value that is v + c, with c uniform over rows and columns, may be computed as v, if whoever reads it makes up for c:

    BatchNormalization(v + c; mean) = BatchNormalization(v; mean - c)
    MaxPool(v + c) = MaxPool(v) + c        a maximum moves with its arguments, and padding never wins
    (v + c) + (w + d) = (v + w) + (c + d)

So convolutions whose results go into the stream drop their biases, and the sums of what was dropped so far go into the
means of the normalisations that read the stream. Where a sum has to have its true value, as a requested output or
for a reader of another kind, the convolution that makes one of its operands gets all of c + d as its biases.

The stream is rounded as v and not as v + c. A normalisation of scale a, mean m and variance s^2, which are the
statistics of v + c, then sees errors of variance u^2 a^2 E[v^2] = u^2 a^2 (s^2 + (m - c)^2) where they were
u^2 a^2 (s^2 + m^2), summed over the channels. At most twice that, 1.4 times the error, is allowed; past it the offset
ends in that unit. Biases mostly are the larger part of m, and v is then the smaller number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from resnet_compile.graph import Graph, Tensor, Value, apply, constant, rewrite
from resnet_compile.passes.base import PassResult, Vector, VectorTensor, exact, made_by, readers
from resnet_compile.passes.batch_norm import affine
from resnet_compile.passes.edits import Edits, Readers

_MOST_GROWTH = 2.0


def hoist_biases(graph: Graph) -> PassResult:
    """Drops biases along the residual stream; values that lack an offset are called `.../hoisted`."""
    plan = _Plan(graph)
    edits, data = plan.edits, plan.edits.data

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if edits.edited(value):
            return edits.rebuild(value, sources, f"{value.name}/hoisted" if value in plan.offsets else value.name)
        if value.node and value in plan.offsets:
            return replace(value, name=f"{value.name}/hoisted", node=replace(value.node, inputs=tuple(sources)))
        norm = made_by(value, "BatchNormalization")
        if norm is None or norm.inputs[0] not in plan.offsets:
            return None
        mean = _moved_mean(norm.inputs[3], plan.offsets[norm.inputs[0]], data)
        x, gamma, beta, _, variance = sources
        return apply("BatchNormalization", x, gamma, beta, mean, variance, name=value.name, **norm.attributes)

    made = rewrite(graph, rule)
    return PassResult(replace(made, data=data), plan.dropped, tuple(plan.refused))


def _moved_mean(mean: Value | None, offset: Vector, data: dict[str, Tensor]) -> Value:
    assert mean is not None
    name, before = f"{mean.name}/hoisted", data[mean.name]
    data[name] = VectorTensor(name, before.shape, lambda: exact(before) - offset)
    return constant(name, "float32", before.shape)


@dataclass
class _Plan:
    """Which values lack which offset, and what becomes of biases.

    Attributes:
        graph: What is rewritten.
        edits: The biases of convolutions: None for dropped, a vector where an offset ends.
        offsets: What each value lacks, by channel.
        refused: Where an offset ends although it might have been carried on, and why.
    """

    graph: Graph
    edits: Edits = field(init=False)
    offsets: dict[Value, Vector] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.edits = Edits(dict(self.graph.data), "hoisted")
        self._read_by = readers(self.graph)
        self._carriers = _carriers(self.graph, self._read_by)
        for value in self.graph.values():
            if value.node is None:
                continue
            if value.node.operator == "Conv" and value in self._carriers and len(value.node.inputs) > 2:
                self._carry(value, self.edits.bias(value))
            elif value.node.operator == "MaxPool" and (source := value.node.inputs[0]) in self.offsets:
                self.offsets[value] = self.offsets[source]
            elif value.node.operator == "Add":
                self._add(value)

    @property
    def dropped(self) -> int:
        """How many convolutions lost their biases."""
        return sum(vector is None for vector in self.edits.biases.values())

    def _carry(self, value: Value, offset: Vector) -> bool:
        """Lets a value lack an offset, unless that would cost precision."""
        growth = max(map(partial(self._growth, offset), _norms(value, self._read_by)), default=0.0)
        if not growth <= _MOST_GROWTH:
            self.refused.append(f"{value.name}: squared errors would grow by {growth:.3g}, at most {_MOST_GROWTH:g}")
            return False
        self.offsets[value] = offset
        if made_by(value, "Conv"):
            self.edits.biases[value] = None
        return True

    def _add(self, total: Value) -> None:
        assert total.node is not None
        lacking = [self.offsets[source] for source in total.node.inputs if source in self.offsets]
        if not lacking:
            return
        offset = np.sum(lacking, axis=0)
        if total in self._carriers and self._carry(total, offset):
            return
        sink = _sink(total, self._read_by, self.graph.outputs)
        assert sink is not None, "no operand of a sum without one lacks anything"
        # What biases it had it lacks by now: nothing but this sum reads it, so nothing has refused to do without.
        self.edits.biases[sink] = offset
        self.offsets.pop(sink, None)

    def _growth(self, offset: Vector, norm: Value) -> float:
        """The factor on a normalisation's squared errors if what it reads lacks the offset."""
        assert norm.node is not None
        scale = affine(norm.node, self.edits.data).scale
        mean, variance = (exact(self.edits.data[source.name]) for source in norm.node.inputs[3:5] if source)
        with np.errstate(all="ignore"):
            before = (scale**2) @ (variance + mean**2)
            after = (scale**2) @ (variance + (mean - offset) ** 2)
            return float(after / before) if after else 0.0


def _norms(value: Value, read_by: Readers) -> Iterator[Value]:
    """The normalisations that read a value, directly or pooled."""
    for reader in read_by[value]:
        if made_by(reader, "BatchNormalization"):
            yield reader
        elif made_by(reader, "MaxPool"):
            yield from _norms(reader, read_by)


def _carriers(graph: Graph, read_by: Readers) -> frozenset[Value]:
    """The values whose readers all make up for an offset."""
    found: set[Value] = set()
    for value in reversed(list(graph.values())):
        if value in graph.outputs or not any(made_by(value, kind) for kind in ("Conv", "MaxPool", "Add")):
            continue
        if read_by[value] and all(_makes_up(reader, found, read_by, graph) for reader in read_by[value]):
            found.add(value)
    return frozenset(found)


def _makes_up(reader: Value, carriers: Collection[Value], read_by: Readers, graph: Graph) -> bool:
    """Whether a node can do with an operand that lacks an offset."""
    assert reader.node is not None
    match reader.node.operator:
        case "BatchNormalization":
            return True
        case "MaxPool":
            return reader in carriers
        case "Add":
            return _sink(reader, read_by, graph.outputs) is not None
    return False


def _sink(total: Value, read_by: Readers, outputs: Collection[Value]) -> Value | None:
    """The operand of a sum that can take an offset as its biases."""
    assert total.node is not None
    for source in total.node.inputs:
        if source and made_by(source, "Conv") and read_by[source] == (total,) and source not in outputs:
            return source
    return None

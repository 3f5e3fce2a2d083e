"""Decides what is computed in integers, and which activations are stored in 8 bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from resnet_compile.errors import OptionError
from resnet_compile.graph import OPERATORS, Graph, Value, made_by
from resnet_compile.plan.names import is_within


@dataclass(frozen=True)
class Placement:
    """What is computed in integers in a graph.

    Attributes:
        integer: The values that are computed in integers.
        sources: For each activation stored in 8 bits, the activation whose range sets its grid.
    """

    integer: frozenset[Value]
    sources: Mapping[Value, Value]

    @property
    def convolved(self) -> tuple[Value, ...]:
        """The inputs of integer convolutions, in order of names."""
        read = {conv.input(0) for value in self.integer if (conv := made_by(value, "Conv"))}
        return tuple(sorted(read, key=lambda value: value.name))


def place(graph: Graph, kept: Collection[str]) -> Placement:
    """Assigns integers to every operator that has an integer form, except in the scopes that are kept in float.

    Operators that only move numbers follow their input and keep its grid. A sum or convolution before a ReLU has no
    grid of its own: the ReLU's grid starts at 0, so clipping to that grid does the work of the ReLU.

    Raises:
        OptionError: Nothing is left for integers.
    """
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    integer = _integer(graph, kept)
    if not integer:
        raise OptionError("keep_float leaves nothing to compute in integers", where="keep_float")
    sources: dict[Value, Value] = {}
    for value in graph.values():
        held = value in integer or not integer.isdisjoint(read_by[value])
        if value.contents or value.type.dtype != "float32" or not held:
            continue
        if value in outputs or not _before_relu(value, read_by[value], integer):
            sources[value] = sources[value.maker.input(0)] if value in integer and _moves(value) else value
    return Placement(integer, sources)


def _integer(graph: Graph, kept: Collection[str]) -> frozenset[Value]:
    """The integer values: those with an integer form, and those that move such values."""
    integer: set[Value] = set()
    for value in graph.values():
        if value.node is None or value.type.dtype != "float32" or is_within(value.name, kept):
            continue
        if OPERATORS[value.node.operator].integer or (_moves(value) and value.node.input(0) in integer):
            integer.add(value)
    return frozenset(integer)


def _moves(value: Value) -> bool:
    return OPERATORS[value.maker.operator].moves


def _before_relu(value: Value, read_by: Sequence[Value], integer: Collection[Value]) -> bool:
    """Whether a ReLU is the only reader of a sum or convolution."""
    if value not in integer or not (made_by(value, "Conv") or made_by(value, "Add")):
        return False
    return len(read_by) == 1 and read_by[0] in integer and made_by(read_by[0], "Relu") is not None

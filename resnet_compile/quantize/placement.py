"""What of a graph computes in integers, and which activations are therefore held in 8 bits."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from resnet_compile.errors import OptionError
from resnet_compile.graph import OPERATORS, Graph, Value, made_by
from resnet_compile.plan import Plan


@dataclass(frozen=True)
class Placement:
    """Where a graph has integers.

    Attributes:
        integer: The values that are computed in integers.
        sources: For each activation that is held in 8 bits, the one whose range gives its grid.
    """

    integer: frozenset[Value]
    sources: Mapping[Value, Value]

    @property
    def convolved(self) -> tuple[Value, ...]:
        """What convolutions in integers read, in order of names."""
        read = {conv.input(0) for value in self.integer if (conv := made_by(value, "Conv"))}
        return tuple(sorted(read, key=lambda value: value.name))


def place(graph: Graph, kept: Collection[str]) -> Placement:
    """Decides what computes in integers: everything that can, but for what stands in the scopes that are kept in float.

    What only moves numbers goes by what it reads, and keeps its grid. The sum or convolution before a ReLU needs no
    grid of its own: the ReLU's has a zero point of 0, so that clipping to it is the ReLU.

    Raises:
        OptionError: Nothing is left.
    """
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    integer = _integer(graph, kept)
    if not integer:
        raise OptionError("nothing is left to compute in integers", where="keep_float")
    sources: dict[Value, Value] = {}
    for value in graph.values():
        held = value in integer or not integer.isdisjoint(read_by[value])
        if value.contents or value.type.dtype != "float32" or not held:
            continue
        if value in outputs or not _before_relu(value, read_by[value], integer):
            sources[value] = sources[value.maker.input(0)] if value in integer and _moves(value) else value
    return Placement(integer, sources)


def kept_scopes(plan: Plan, names: Sequence[str]) -> frozenset[str]:
    """The scopes whose operators stay in float32: those named, and the logits.

    Logits of 8 bits would make ties between classes, and the last layer has a thousandth of the multiplications.

    Args:
        plan: The network.
        names: End points, layers or what stands above them, such as `block4/unit_1`; with or without the network's
            name.

    Raises:
        OptionError: Nothing is called by one of the names.
    """
    ends = [*(layer.scope for layer in plan.layers), *(unit.scope for unit in plan.units)]
    ends += [end_point.name for end_point in plan.end_points]
    known = {scope for end in ends for scope in _with_parents(end)} - set(_with_parents(plan.name))
    logits = {plan.head.logits.scope} if plan.head.logits else set()
    return frozenset({_resolve(name, plan.name, known) for name in names} | logits)


def _resolve(name: str, network: str, known: Collection[str]) -> str:
    for candidate in (f"{network}/{name}", name):
        if candidate in known:
            return candidate
    near = difflib.get_close_matches(f"{network}/{name}", sorted(known), n=3)
    shown = " or ".join(match.removeprefix(f"{network}/") for match in near)
    raise OptionError(
        f"no end point or scope {name}", where="keep_float", hint=f"did you mean {shown}?" if shown else None
    )


def _with_parents(scope: str) -> Iterator[str]:
    while scope:
        yield scope
        scope = scope.rpartition("/")[0]


def _is_kept(name: str, scopes: Collection[str]) -> bool:
    return any(name == scope or name.startswith(f"{scope}/") for scope in scopes)


def _integer(graph: Graph, kept: Collection[str]) -> frozenset[Value]:
    """What computes in integers: what can, and what moves the numbers that this makes."""
    integer: set[Value] = set()
    for value in graph.values():
        if value.node is None or value.type.dtype != "float32" or _is_kept(value.name, kept):
            continue
        if OPERATORS[value.node.operator].integer or (_moves(value) and value.node.input(0) in integer):
            integer.add(value)
    return frozenset(integer)


def _moves(value: Value) -> bool:
    return OPERATORS[value.maker.operator].moves


def _before_relu(value: Value, read_by: Sequence[Value], integer: Collection[Value]) -> bool:
    """Whether a ReLU alone reads a sum or convolution."""
    if value not in integer or not (made_by(value, "Conv") or made_by(value, "Add")):
        return False
    return len(read_by) == 1 and read_by[0] in integer and made_by(read_by[0], "Relu") is not None

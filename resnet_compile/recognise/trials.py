"""Tries unit kinds on a graph, and takes the one that matches furthest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from resnet_compile.errors import SpecError, WeightsError
from resnet_compile.plan import UnitPlan
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.layers import Conv
from resnet_compile.plan.scope import LayerScope
from resnet_compile.plan.unit import UnitSite
from resnet_compile.plan.unit_kinds import plan_unit
from resnet_compile.recognise.hypotheses import Strides, arguments, strides_of, units_for
from resnet_compile.recognise.sketch import Sketch, UnitSketch, convolutions
from resnet_compile.spec import UnitArgs
from resnet_compile.spec.parts import ActivationKind
from resnet_compile.spec.units import UnitKind
from resnet_compile.weights.structure.model import Counterpart, Site, Walk
from resnet_compile.weights.structure.units import through_unit


@dataclass
class Run:
    """A run of matched units.

    Attributes:
        source: The map after the units.
        steps: The steps that the units lead to.
        blocks: The kind of each block, and the arguments of its units.
        strides: The strides of the units.
        made: The number of their parameters that the model does not hold directly.
        nearest: Where the run ends: how near the next unit came to matching, and the node.
    """

    source: FeatureMap
    steps: list[Counterpart]
    blocks: list[tuple[UnitKind, list[UnitArgs]]] = field(default_factory=list)
    strides: list[Strides] = field(default_factory=list)
    made: int = 0
    nearest: tuple[tuple[int, int, int], str] | None = None

    @property
    def rate(self) -> int:
        """The rate of the next unit."""
        return self.strides[-1].after if self.strides else 1

    @property
    def merit(self) -> tuple[int, int, tuple[int, int, int]]:
        """The sort key of runs, greater is better: length, parameters that the model holds, nearness at the end."""
        return len(self.strides), -self.made, self.nearest[0] if self.nearest else (0, 0, 0)


def units_of(model: Walk, found: Sketch, scope: LayerScope, begun: Run, *, activation: ActivationKind | None) -> Run:
    """Matches the units of a sketch with kinds of the spec language. Of kinds that match equally far, the first wins.

    Args:
        model: The graph.
        found: Its sketch.
        scope: The settings that the network's layers share.
        begun: The run before the units.
        activation: The network's activation, unless it is a ReLU.

    Raises:
        WeightsError: A unit is not in the spec language.
    """
    strides = dict.fromkeys(tuple(strides_of(found, late=late)) for late in (False, True))
    units = found.units
    while len(begun.strides) < len(units):
        at = len(begun.strides)
        kinds = [kind for kind in units_for(model, units[at:]) if not (kind.fixed_activation and activation)]
        tries = [(kind, told[at:]) for kind in kinds for told in strides]
        for exact in (True, False):
            best = _best(model, units[at:], tries, scope, begun, exact=exact)
            if best.strides:
                break
        else:
            raise _unknown(units[at], at, best)
        blocks, told = begun.blocks + best.blocks, begun.strides + best.strides
        begun = replace(best, blocks=blocks, strides=told, made=begun.made + best.made)
    return begun


def _best(
    model: Walk,
    units: Sequence[UnitSketch],
    tries: Sequence[tuple[UnitKind, Sequence[Strides]]],
    scope: LayerScope,
    begun: Run,
    *,
    exact: bool,
) -> Run:
    """The kind that matches furthest; `exact` kinds need only parameters that the model holds directly."""
    best, refused = Run(begun.source, begun.steps), set[UnitPlan]()
    for kind, strides in tries:
        run = _run(model, units, strides, kind, scope, begun, refused, exact=exact)
        best = max(best, run, key=lambda each: each.merit)
        if best.merit[:2] == (len(units), 0):
            break
    return best


def _unknown(unit: UnitSketch, at: int, best: Run) -> WeightsError:
    hint = best.nearest[1] if best.nearest else None
    return WeightsError(
        f"no unit kind of a spec matches the model's unit {at + 1}, which ends in {unit.total}",
        where=unit.total.outputs[0],
        hint=f"the nearest is another where {hint}" if hint else f"it has {len(unit.convs)} convolutions",
    )


def _run(
    model: Walk,
    units: Sequence[UnitSketch],
    strides: Sequence[Strides],
    kind: UnitKind,
    scope: LayerScope,
    begun: Run,
    refused: set[UnitPlan],
    *,
    exact: bool,
) -> Run:
    """How far a kind matches; `refused` are plans of the first unit that failed.

    A block begins where the depth changes or a shortcut projects; a graph shows blocks in no other way.
    """
    run, rate = Run(begun.source, begun.steps), begun.rate
    for at, (unit, told) in enumerate(zip(units, strides, strict=True)):
        if len(unit.convs) != (3 if kind.bottleneck else 2) or told.rate != rate:
            break
        projects = bool(convolutions(model, unit.shortcut))
        first = at == 0 or projects or unit.depth != units[at - 1].depth
        args, where = arguments(model, unit, kind, told.nominal), f"unit {at + 1}"
        site = UnitSite(
            kind, scope.inner(where), args, run.source, told.stride, told.rate, first=first, where=where, block=where
        )
        model.enter(Site("$.blocks[]", kind))
        try:
            planned = plan_unit(site)
            if planned in refused or not _alike(model, unit, planned):
                break
            if at == 0:
                refused.add(planned)  # until it is taken
            steps = through_unit(model, planned, run.steps)
        except (SpecError, WeightsError):
            run.nearest = model.nearest
            break
        made = _made(unit, steps[0], run.steps[0])
        if exact and made:
            break
        refused.discard(planned)
        if first:
            run.blocks.append((kind, []))
        run.blocks[-1][1].append(args)
        run.strides.append(told)
        run.source, run.steps, rate = planned.output, steps, told.after
        run.made += made
    return run


def _alike(model: Walk, unit: UnitSketch, planned: UnitPlan) -> bool:
    """Whether a plan has the parts of a sketch: a cheap test that rules out most candidates."""
    projections = [layer for layer in planned.shortcut.layers if isinstance(layer, Conv)]
    return (
        (planned.activation is None) == (unit.activation is None)
        and (planned.preactivation is not None) == unit.preactivated
        and len(projections) == len(convolutions(model, unit.shortcut))
    )


def _made(unit: UnitSketch, end: Counterpart, since: Counterpart) -> int:
    """The number of a unit's parameters that the model does not hold directly; folded norms do not count."""
    explicit = any(conv.normed for conv in unit.convs)
    filled = (tensor for step in end.all(since=since) for tensor in step.filled)
    return sum(not each.given and (explicit or each.parameter.role == "biases") for each in filled)

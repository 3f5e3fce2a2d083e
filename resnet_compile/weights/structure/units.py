"""Matches residual units of the model with the plan's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.errors import WeightsError
from resnet_compile.plan import UnitPlan
from resnet_compile.weights.structure.activations import activated
from resnet_compile.weights.structure.layers import chain
from resnet_compile.weights.structure.model import ATTRIBUTE, Counterpart, Place, Walk, Wanted, pixel
from resnet_compile.weights.structure.walk import distinct, takers


def through_unit(model: Walk, unit: UnitPlan, starts: Sequence[Counterpart]) -> list[Counterpart]:
    """Residual and shortcut that meet in one sum, from every place where the unit may start.

    Raises:
        WeightsError: There is none.
    """
    found, fault = [], None
    for start in starts:
        try:
            found.extend(_unit_from(model, unit, start))
        except WeightsError as error:
            fault = error
    if not found and fault:
        raise fault
    return distinct(found)


def _unit_from(model: Walk, unit: UnitPlan, start: Counterpart) -> list[Counterpart]:
    model.stage = 0
    begins = chain(model, [unit.preactivation], [start]) if unit.preactivation else [start]
    model.stage = 1
    residuals = chain(model, unit.residual, begins)
    model.stage = 2
    model.taken = {id(node) for end in residuals for step in end.all(since=start) for node in step.nodes}
    shortcuts = chain(model, unit.shortcut.layers, begins if unit.shortcut.from_preactivation else [start])
    model.stage, model.taken = 3, set()
    sums = distinct(_sums(model, unit, residuals, shortcuts))
    if not sums:
        raise model.error(Wanted(unit.scope, "a sum with the shortcut"))
    model.stage = 4
    ends = distinct(activated(model, unit.activation, iter(sums), unit.scope))
    if not ends:
        raise model.error(Wanted(unit.scope, "an activation"))
    return ends


def _sums(
    model: Walk, unit: UnitPlan, residuals: Sequence[Counterpart], shortcuts: Sequence[Counterpart]
) -> Iterator[Counterpart]:
    wanted = Wanted(unit.scope, "a sum with the shortcut")
    others: dict[int, list[tuple[Counterpart, Place]]] = {}
    for shortcut in shortcuts:
        for node, here in takers(model, shortcut, wanted, "Add", "Sum"):
            others.setdefault(id(node), []).append((shortcut, here))
    for residual in residuals:
        for node, here in takers(model, residual, wanted, "Add", "Sum"):
            met = others.get(id(node), [])
            for shortcut, there in met:
                if _adds(node, unit, here, there):
                    place = Place(node.outputs[0], here.axes, here.channels)
                    yield residual.on(place, node, also=shortcut)
            if not met:
                fault = "adds something else than the spec's shortcut"
                advice = f"see {model.site.path}.unit.shortcut and the depths and strides beside it"
                model.note(residual, wanted, node, fault, advice, closeness=ATTRIBUTE)


def _adds(node: OnnxNode, unit: UnitPlan, here: Place, there: Place) -> bool:
    """Whether a node adds two maps that lie alike in memory."""
    if unit.output.size == (1, 1):
        here, there = pixel(here), pixel(there)
    alike = here.axes == there.axes and here.border is None and there.border is None
    return alike and sorted(node.inputs) == sorted((here.value, there.value))

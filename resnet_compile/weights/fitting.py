"""Which networks of the catalogue a checkpoint fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan, plan_network
from resnet_compile.spec import catalogue, load_spec
from resnet_compile.weights.binding import STRUCTURE
from resnet_compile.weights.matching import classes_of, fits
from resnet_compile.weights.structure import match_structure


@dataclass(frozen=True, slots=True)
class Fit:
    """A network of the catalogue that a checkpoint fills, every parameter and with nothing left over.

    Attributes:
        name: The catalogue's name for it.
        naming: The naming table, or `structure`.
        prefix: What stands before every name in the checkpoint.
        num_classes: What the spec's `head.num_classes` has to be set to; None where it is right already.
    """

    name: str
    naming: str
    prefix: str
    num_classes: int | None = None


def fitting_specs(checkpoint: Checkpoint) -> Iterator[Fit]:
    """The networks of the catalogue that a checkpoint fills, by names or, for an ONNX model, by structure."""
    shapes = {name: checkpoint.info(name).shape for name in checkpoint}
    for name in catalogue():
        spec = load_spec(name)
        plan = plan_network(spec)
        if found := fits(plan.name, plan.parameters, shapes) if len(plan.parameters) <= len(shapes) else None:
            yield Fit(name, found.naming.name, found.prefix)
        elif isinstance(checkpoint, OnnxCheckpoint) and _has_structure(plan, checkpoint):
            yield Fit(name, STRUCTURE, "")
        elif classes := classes_of(plan.name, plan.parameters, shapes):
            resized = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
            if found := fits(resized.name, resized.parameters, shapes):
                yield Fit(name, found.naming.name, found.prefix, classes)


def _has_structure(plan: Plan, model: OnnxCheckpoint) -> bool:
    try:
        match_structure(plan, model)
    except WeightsError:
        return False
    return True

"""Which networks of the catalogue a checkpoint fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resnet_compile.errors import WeightsError
from resnet_compile.plan import plan_network
from resnet_compile.spec import NetworkSpec, catalogue, load_spec
from resnet_compile.weights.matching import Match, Shapes, classes_of, match


@dataclass(frozen=True, slots=True)
class Fit:
    """A network of the catalogue that a checkpoint fills, every parameter and with nothing left over.

    Attributes:
        name: The catalogue's name for it.
        naming: The naming table.
        prefix: What stands before every name in the checkpoint.
        num_classes: What the spec's `head.num_classes` has to be set to; None where it is right already.
    """

    name: str
    naming: str
    prefix: str
    num_classes: int | None = None


def fitting_specs(shapes: Shapes) -> Iterator[Fit]:
    """The networks of the catalogue that tensors of these names and shapes fill."""
    for name in catalogue():
        spec = load_spec(name)
        parameters = plan_network(spec).parameters
        if len(parameters) > len(shapes):
            continue
        if found := _matched(spec, shapes):
            yield Fit(name, found.naming.name, found.prefix)
        elif classes := classes_of(spec.name, parameters, shapes):
            resized = spec.model_copy(update={"head": spec.head.model_copy(update={"num_classes": classes})})
            if found := _matched(resized, shapes):
                yield Fit(name, found.naming.name, found.prefix, classes)


def _matched(spec: NetworkSpec, shapes: Shapes) -> Match | None:
    try:
        return match(spec.name, plan_network(spec).parameters, shapes)
    except WeightsError:
        return None

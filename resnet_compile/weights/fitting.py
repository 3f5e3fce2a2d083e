"""Which networks of the catalogue a checkpoint fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan, plan_network
from resnet_compile.spec import NetworkSpec, catalogue, load_spec
from resnet_compile.weights.matching import Choice, Match, classes_of, fits, match
from resnet_compile.weights.sections import ROOT, SeveralSectionsError
from resnet_compile.weights.source import Tensors
from resnet_compile.weights.structure import STRUCTURE, match_structure


@dataclass(frozen=True, slots=True)
class Fit:
    """A network of the catalogue that a checkpoint fills, every parameter and with nothing left over.

    Attributes:
        name: The catalogue's name for it.
        naming: The naming table, or `structure`.
        section: Where in the checkpoint the network is, as `--section` takes it.
        num_classes: What `--num-classes` has to be, `none` where there is no head; None where the spec's is right.
    """

    name: str
    naming: str
    section: str
    num_classes: int | Literal["none"] | None = None

    def __str__(self) -> str:
        return self.name if self.num_classes is None else f"{self.name} with --num-classes {self.num_classes}"


def fitting_specs(tensors: Tensors, model: OnnxCheckpoint | None = None) -> Iterator[Fit]:
    """The networks of the catalogue that a source fills, by names or, for an ONNX model, by structure.

    Args:
        tensors: The source's, by their plain names.
        model: The model that they are from.
    """
    for name in catalogue():
        spec = load_spec(name)
        plan = plan_network(spec)
        found = list(_matches(plan, tensors))
        if not found and model and _has_structure(plan, model):
            yield Fit(name, STRUCTURE, ROOT)
        elif found:
            yield from (Fit(name, one.naming.name, one.section.word) for one in found)
        else:
            yield from _with_another_head(name, spec, plan, tensors)


def _with_another_head(name: str, spec: NetworkSpec, plan: Plan, tensors: Tensors) -> Iterator[Fit]:
    """The network with as many classes as the source has, or without any."""
    for classes in (classes_of(plan, tensors), None):
        resized = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
        if found := list(_matches(resized, tensors)):
            yield from (Fit(name, one.naming.name, one.section.word, classes or "none") for one in found)
            return


def _matches(plan: Plan, tensors: Tensors) -> Iterator[Match]:
    """Every way in which a source fills a network."""
    if len(plan.parameters) > len(tensors):
        return
    try:
        yield match(plan, tensors)
    except SeveralSectionsError as error:
        yield from filter(None, (fits(plan, tensors, Choice(sections=(word,))) for word in error.words))
    except WeightsError:
        return


def _has_structure(plan: Plan, model: OnnxCheckpoint) -> bool:
    try:
        match_structure(plan, model)
    except WeightsError:
        return False
    return True

"""The networks of the catalogue that a checkpoint fills, and those that it nearly fills."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan, plan_network
from resnet_compile.spec import NetworkSpec, catalogue, load_spec
from resnet_compile.weights.matching import Choice, Match, attempt, classes_of, logits_of
from resnet_compile.weights.naming import STRUCTURE
from resnet_compile.weights.sections import ROOT, SeveralSectionsError
from resnet_compile.weights.source import Tensors
from resnet_compile.weights.structure import match_structure
from resnet_compile.weights.tables import naming_of

# The least part of a network that has to fit for it to be near.
_NEAR = 0.25
# The most networks that are near.
_NEAREST = 3
# The most sections that are tried, of equally good ones.
_SECTIONS = 20
# The least part of a near network that fits, as a ratio to the nearest one's.
_AS_NEAR = 0.9


@dataclass(frozen=True, slots=True)
class Fit:
    """A network of the catalogue that a checkpoint fills completely, with nothing left over.

    Attributes:
        naming: The naming table, or `structure`.
        section: The section of the checkpoint, for `--section`.
        num_classes: The value for `--num-classes`, `none` without a head; None if the spec's is right.
        head: The scope of the logits, if they were found by shape.
        several: Whether `--section` must choose among several sections.
    """

    name: str
    naming: str
    section: str
    num_classes: int | Literal["none"] | None = None
    head: str | None = None
    several: bool = False

    @property
    def options(self) -> str:
        """The flags to type beside the network's name."""
        chosen = (("--section", self.section if self.several else None), ("--num-classes", self.num_classes))
        return " ".join(f"{option} {value}" for option, value in chosen if value is not None)

    def __str__(self) -> str:
        return f"{self.name} with {self.options}" if self.options else self.name


@dataclass(frozen=True, slots=True)
class Near:
    """A network of the catalogue that a checkpoint fills in part.

    Attributes:
        name: Its name in the catalogue.
        naming: The naming table with the most matches.
        section: The section of the checkpoint.
        filled: The number of parameters that fit.
        parameters: The number of its parameters.
        missing: The names of the parameters that do not fit: the source's, or ours if the table has none.
        in_the_way: The checkpoint's tensors that belong to another network.
    """

    name: str
    naming: str
    section: str
    filled: int
    parameters: int
    missing: tuple[str, ...]
    in_the_way: tuple[str, ...]

    @property
    def part(self) -> float:
        """The part of the network and the checkpoint together that fits, 0 to 1."""
        return self.filled / (self.parameters + len(self.in_the_way))


_Found = TypeVar("_Found", Fit, Near)


def fitting_specs(tensors: Tensors, model: OnnxCheckpoint | None = None) -> list[Fit]:
    """The networks of the catalogue that a source fills, by names or, for an ONNX model, by structure.

    Networks of several systems can have the same names and shapes but other paddings or strides. If the system of the
    names has such a network, the others are left out.
    """
    return _own_first([*_fitting(tensors, model)])


def _own_first(found: Sequence[_Found]) -> list[_Found]:
    """The networks, without those of other systems than their naming's if that naming's own system has one."""
    own = {fit.naming for fit in found if _is_own(fit)}
    return [fit for fit in found if _is_own(fit) or fit.naming not in own]


def _is_own(fit: Fit | Near) -> bool:
    """Whether the network belongs to the system of the naming."""
    return fit.naming != STRUCTURE and bool(re.match(naming_of(fit.naming).family, fit.name))


def _fitting(tensors: Tensors, model: OnnxCheckpoint | None) -> Iterator[Fit]:
    for name, spec, plan in _catalogue():
        found = list(_attempts(plan, tensors))
        whole = [one for one in found if one.complete]
        if not whole and model and _has_structure(plan, model):
            yield Fit(name, STRUCTURE, ROOT)
        elif whole:
            yield from _fits(name, whole, None)
        elif any(set(one.missing) <= set(logits_of(plan)) for one in found):
            yield from _with_another_head(name, spec, plan, tensors)


def nearest(tensors: Tensors) -> list[Near]:
    """The networks of the catalogue that a source fills best, the nearest first."""
    found = [
        Near(
            name,
            one.naming.name,
            one.section.word,
            len(plan.parameters) - len(one.missing),
            len(plan.parameters),
            tuple(one.names.get(parameter.name, parameter.name) for parameter in one.missing),
            tuple(fault for fault, _ in one.others.faults),
        )
        for name, _, plan in _catalogue()
        for one in islice(_attempts(plan, tensors), 1)
    ]
    found.sort(key=lambda near: (-near.part, -near.parameters))
    least = max(_NEAR, _AS_NEAR * found[0].part) if found else 0
    return _own_first([near for near in found if near.part >= least])[:_NEAREST]


def _catalogue() -> Iterator[tuple[str, NetworkSpec, Plan]]:
    for name in catalogue():
        spec = load_spec(name)
        yield name, spec, plan_network(spec)


def _with_another_head(name: str, spec: NetworkSpec, plan: Plan, tensors: Tensors) -> Iterator[Fit]:
    """The network with the source's number of classes, or without logits."""
    for classes in dict.fromkeys((classes_of(plan, tensors), None)):
        resized = plan_network(spec.replace(head=spec.head.replace(num_classes=classes)))
        if found := [one for one in _attempts(resized, tensors) if one.complete]:
            yield from _fits(name, found, classes or "none")
            return


def _fits(name: str, found: Sequence[Match], num_classes: int | Literal["none"] | None) -> Iterator[Fit]:
    for one in found:
        yield Fit(name, one.naming.name, one.section.word, num_classes, one.head, len(found) > 1)


def _attempts(plan: Plan, tensors: Tensors, choice: Choice | None = None) -> Iterator[Match]:
    """The best match of a source and a network, or one for each of several equally good sections."""
    if len(plan.parameters) > len(tensors) / _NEAR:
        return
    try:
        yield attempt(plan, tensors, choice)
    except SeveralSectionsError as error:
        for word in error.words[:_SECTIONS] if choice is None else ():
            yield from _attempts(plan, tensors, Choice(sections=(word,)))
    except WeightsError:
        return


def _has_structure(plan: Plan, model: OnnxCheckpoint) -> bool:
    try:
        match_structure(plan, model)
    except WeightsError:
        return False
    return True

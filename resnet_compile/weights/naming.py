"""Naming tables: what other systems call the parameters of these networks, and how they lay them out.

A table is data (`tables`). Its rules translate our names, which are TF-slim's, into the source's; the first rule that
matches counts. The fields of a rule:

* ``{u}``, a single letter: a number; ``{u-1}`` adds an offset, for sources that count from 0;
* ``{role}``: the role of a normalisation's parameter, translated by the table's `roles`;
* ``{kind}``: one of the table's unit kinds;
* ``{rest}``: any text.

A system that numbers its layers has a `Numbering` instead of rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from sys import intern
from typing import Literal, NamedTuple

from resnet_compile.plan import Plan
from resnet_compile.plan.parameters import Parameter
from resnet_compile.spec.parts import ProjectsAt
from resnet_compile.weights.numbering import DENSE, Numbering

STRUCTURE = "structure"
"""The value of `--naming` that matches an ONNX model by its structure, whatever its names."""


@dataclass(frozen=True)
class Naming:
    """How one system names and lays out its weights.

    Attributes:
        name: Its name for `--naming`.
        rules: Pairs of templates: our name without the network's, and the source's name without its prefix.
        kernel: The order of a convolution kernel's axes.
        dense: The order of a dense kernel's axes.
        roles: The source's words for our roles, where they differ.
        ignored: Patterns of tensors that inference does not use.
        separator: The character between the components of its names.
        offsets: The source's words for weights and biases, which end its names.
        kinds: The values of ``{kind}``: the unit kinds that compute what the source's units compute. The names and
            shapes of others may be the same.
        projects: The values of the `at` of a `shortcut` with which these units compute what the source's do; empty for
            all values.
        untold: What names do not determine of the network's function, where systems differ.
        numbering: The numbers of the layers, instead of rules.
        family: A pattern for the start of its networks' names in the catalogue. These networks settle what the names
            do not determine.
    """

    name: str
    rules: tuple[tuple[str, str], ...]
    kernel: Literal["HWIO", "OIHW"]
    dense: Literal["IO", "OI"]
    roles: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    separator: Literal[".", "/", "_"] = "/"
    offsets: tuple[str, str] = ("weights", "biases")
    kinds: tuple[str, ...] = ()
    projects: tuple[ProjectsAt | None, ...] = ()
    untold: str | None = None
    numbering: Numbering | None = None
    family: str = ""
    # Many networks have the same names; a deep one has a thousand names of some twenty kinds.
    _known: dict[str, str | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _rules_by_kind: dict[str, tuple[_Rule, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def names(self, plan: Plan, source: Iterable[str]) -> dict[str, str]:
        """The source's name, without its prefix, of each parameter that has one, by our name.

        A `Numbering` starts at the lowest numbers among the names of the source.
        """
        units = [block.unit for block in plan.spec.blocks]
        if self.projects and any(getattr(unit.shortcut, "at", None) not in self.projects for unit in units):
            return {}
        if self.numbering:
            layers = self.numbering.names(plan, source) if {unit.kind for unit in units} <= {*self.kinds} else {}
            owners = ((p, layers.get(p.name.rpartition("/")[0])) for p in plan.parameters)
            return {p.name: f"{layer}{self.separator}{self._word(p)}" for p, layer in owners if layer}
        # Every table keeps the names that it has translated: they share them.
        found = {p.name: self.translate(intern(p.name.removeprefix(f"{plan.name}/"))) for p in plan.parameters}
        return {name: theirs for name, theirs in found.items() if theirs is not None}

    @property
    def units(self) -> str:
        """The units whose parameters have names, in words."""
        kinds = f"units of kind {' and '.join(self.kinds)}"
        return f"{kinds} whose shortcut projects at {self.projects[-1]}" if self.projects else kinds

    def _word(self, parameter: Parameter) -> str:
        weights, biases = self.offsets
        return {"weights": weights, "biases": biases, **self.roles}.get(parameter.role, parameter.role)

    def translate(self, name: str) -> str | None:
        """The source's name without its prefix, of our name without the network's; None if no rule matches."""
        if name not in self._known:
            self._known[name] = next(self.translations(name), None)
        return self._known[name]

    def translations(self, name: str) -> Iterator[str]:
        """The name by every rule that matches, in the order of the rules."""
        kind = _kind(name)
        if kind not in self._rules_by_kind:
            self._rules_by_kind[kind] = tuple(rule for rule in self._compiled if rule.kind.fullmatch(name))
        for rule in self._rules_by_kind[kind]:
            if match := rule.ours.fullmatch(name):
                yield "".join([part if isinstance(part, str) else self._fill(part, match) for part in rule.theirs])

    @cached_property
    def turned(self) -> Naming:
        """The inverse table, from the source's names to ours; the unit's kind, which they lack, becomes ``*``."""
        rules = ((_FIELD.sub(r"{\g<name>}", theirs), _turned(ours, theirs)) for ours, theirs in self.rules)
        roles = {self.roles.get(role, role): role for role in _ROLES}
        return replace(self, rules=tuple(rules), roles=roles)

    @property
    def logits(self) -> str:
        return DENSE if self.numbering else (self.translate("logits/weights") or "").rpartition(self.separator)[0]

    def offset(self, weights: str) -> str | None:
        """The source's name of a layer's biases, by that of its weights; None if the name is not one of weights."""
        stem = weights.removesuffix(self.offsets[0])
        return f"{stem}{self.offsets[1]}" if stem != weights else None

    def axes(self, rank: int) -> tuple[int, ...]:
        """The permutation of a weight tensor's axes that makes it OIHW or OI."""
        if rank == 4:
            return (3, 2, 0, 1) if self.kernel == "HWIO" else (0, 1, 2, 3)
        if rank == 2:
            return (1, 0) if self.dense == "IO" else (0, 1)
        return tuple(range(rank))

    def ours(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a weight tensor in our layout."""
        return tuple(shape[axis] for axis in self.axes(len(shape)))

    def fits(self, parameter: Parameter, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape, in the source's layout, can fill the parameter.

        A dense layer can fill a 1x1 convolution of the same depths, and a 1-D convolution a 2-D one of a single row.
        """
        ours = self.ours(shape) if parameter.role == "weights" else shape
        return _without_ones(ours) == _without_ones(parameter.shape)

    def source_shape(self, parameter: Parameter) -> tuple[int, ...]:
        """The parameter's shape in the source's layout."""
        axes = self.axes(len(parameter.shape)) if parameter.role == "weights" else (0,)
        return tuple(parameter.shape[axes.index(axis)] for axis in range(len(parameter.shape)))

    def ignores(self, name: str) -> bool:
        """Whether inference does not use a tensor of the source: a step counter, an optimizer's slot."""
        return any(re.search(pattern, name) for pattern in self.ignored)

    def _fill(self, part: tuple[str, int], match: re.Match[str]) -> str:
        name, offset = part
        value = match[name] if name in match.re.groupindex else "*"
        if name == "role":
            return self.roles.get(value, value)
        return str(int(value) + offset) if offset else value

    @cached_property
    def _compiled(self) -> tuple[_Rule, ...]:
        return tuple(self._rule(ours, theirs) for ours, theirs in self.rules)

    def _rule(self, ours: str, theirs: str) -> _Rule:
        words = {"role": "|".join({**dict.fromkeys(_ROLES), **self.roles}), "kind": "|".join(self.kinds), "rest": ".+"}
        exact = kind = ""
        seen = set()
        for part in _parts(ours):
            if isinstance(part, str):
                exact += re.escape(part)
                kind += re.sub("[0-9]+", "[0-9]+", re.escape(part))
            else:
                pattern = f"(?P<{part[0]}>{words.get(part[0], '[0-9]+')})"
                exact += f"(?P={part[0]})" if part[0] in seen else pattern
                kind += words.get(part[0], "[0-9]+").join(("(?:", ")"))
                seen.add(part[0])
        return _Rule(re.compile(exact), re.compile(kind), tuple(_parts(theirs)))


class _Rule(NamedTuple):
    """A parsed rule: the patterns of our name, and of it with any numbers; the source's name in text and fields."""

    ours: re.Pattern[str]
    kind: re.Pattern[str]
    theirs: tuple[str | tuple[str, int], ...]  # a field is its name and offset


def _turned(ours: str, theirs: str) -> str:
    """Our template with the negated offsets of the source's."""
    offsets = {part[0]: -part[1] for part in _parts(theirs) if not isinstance(part, str)}
    return _FIELD.sub(lambda found: _field(found["name"], offsets.get(found["name"], 0)), ours)


def _field(name: str, offset: int) -> str:
    return f"{{{name}{offset:+d}}}" if offset else f"{{{name}}}"


def _parts(template: str) -> Iterator[str | tuple[str, int]]:
    end = 0
    for found in _FIELD.finditer(template):
        yield template[end : found.start()]
        yield found["name"], int(found["offset"] or 0)
        end = found.end()
    yield template[end:]


@cache
def _kind(name: str) -> str:
    """A name without its numbers."""
    return re.sub("[0-9]+", "#", name)


_ROLES = ("gamma", "beta", "moving_mean", "moving_variance")
_FIELD = re.compile(r"\{(?P<name>[a-z]+)(?P<offset>[+-]\d+)?\}")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A kernel's shape without its 1x1 or its only row; other shapes as they are."""
    if len(shape) == 4 and shape[2] == 1:
        return shape[:2] if shape[3] == 1 else (*shape[:2], shape[3])
    return shape

"""Naming tables: what other systems call the parameters of these networks, and how they lay them out.

A table is data (`tables`). Its rules translate our names, which are TF-slim's, into the source's; the first rule that
matches counts. In a rule, a one-letter field such as ``{u}`` is a number, with an offset where the two count from
different starts (``{u-1}``); ``{role}`` is a role, by the table's own words for roles; ``{kind}`` is one of the table's
unit kinds; ``{rest}`` is anything. A system that numbers its layers has a `Numbering` in the place of rules.
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
from resnet_compile.weights.numbering import Numbering

STRUCTURE = "structure"
"""What `--naming` calls it to match an ONNX model by its structure, whatever its names."""


@dataclass(frozen=True)
class Naming:
    """How one system names and lays out its weights.

    Attributes:
        name: What `--naming` calls it.
        rules: Pairs of templates: our name without the network's, and the source's without its prefix.
        kernel: Order of a convolution kernel's axes.
        dense: Order of a dense kernel's axes.
        roles: The source's words for our roles, where they differ.
        ignored: Patterns of tensors that compute nothing at inference.
        separator: What parts the components of its names.
        offsets: The source's words for weights and for biases: the last component of their names.
        kinds: The unit kinds that ``{kind}`` stands for: those that compute what the source's units compute. Weights of
            another function would fit others too.
        projects: Which units of these kinds project, by the `at` of their `shortcut`; none for any.
        untold: What of a network's function the names do not tell, where systems differ in it.
        numbering: How the layers are numbered, in the place of rules.
        family: What the catalogue's names of its networks begin with, as a pattern: what its names do not tell is as
            these have it.
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

    def names(self, plan: Plan, source: Iterable[str]) -> dict[str, str]:
        """For each parameter that has one, by our name, the source's name without what comes before it.

        Args:
            plan: The network.
            source: The names of the source, for where its numbers start.
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
        """The units that it names, in words."""
        kinds = f"units of kind {' and '.join(self.kinds)}"
        return f"{kinds} whose shortcut projects at {self.projects[-1]}" if self.projects else kinds

    def _word(self, parameter: Parameter) -> str:
        """The source's word for a role."""
        weights, biases = self.offsets
        return {"weights": weights, "biases": biases, **self.roles}.get(parameter.role, parameter.role)

    def translate(self, name: str) -> str | None:
        """The source's name for a parameter, both without what comes before; None where no rule matches."""
        if name not in self._known:  # many networks have the same names
            self._known[name] = self._translated(name)
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, str | None]:
        return {}

    def _translated(self, name: str) -> str | None:
        return next(self.translations(name), None)

    def translations(self, name: str) -> Iterator[str]:
        """What every rule that matches makes of a name, the first that counts first."""
        kind = _kind(name)
        if kind not in self._rules_by_kind:  # a deep network has a thousand names of some twenty kinds
            self._rules_by_kind[kind] = tuple(rule for rule in self._compiled if rule.kind.fullmatch(name))
        for rule in self._rules_by_kind[kind]:
            if match := rule.ours.fullmatch(name):
                yield "".join([part if isinstance(part, str) else self._fill(part, match) for part in rule.theirs])

    @cached_property
    def _rules_by_kind(self) -> dict[str, tuple[_Rule, ...]]:
        return {}

    @cached_property
    def turned(self) -> Naming:
        """The table that translates the source's names into ours; a unit's kind, which they do not tell, is ``*``."""
        rules = ((_FIELD.sub(r"{\g<name>}", theirs), _turned(ours, theirs)) for ours, theirs in self.rules)
        roles = {self.roles.get(role, role): role for role in _ROLES}
        return replace(self, rules=tuple(rules), roles=roles)

    @property
    def logits(self) -> str:
        if self.numbering:
            return self.numbering.dense
        weights = self.translate("logits/weights") or ""
        return weights.rpartition(self.separator)[0]

    def offset(self, weights: str) -> str | None:
        """The source's name for the biases of a layer, by that of its weights; None without biases."""
        stem = weights.removesuffix(self.offsets[0])
        return f"{stem}{self.offsets[1]}" if stem != weights else None

    def axes(self, rank: int) -> tuple[int, ...]:
        """The order in which a weight tensor's axes have to be taken to be ours, OIHW or OI."""
        if rank == 4:
            return (3, 2, 0, 1) if self.kernel == "HWIO" else (0, 1, 2, 3)
        if rank == 2:
            return (1, 0) if self.dense == "IO" else (0, 1)
        return tuple(range(rank))

    def ours(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a weight tensor as we lay it out."""
        return tuple(shape[axis] for axis in self.axes(len(shape)))

    def fits(self, parameter: Parameter, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape, in the source's layout, can fill the parameter.

        A 1x1 convolution and a dense layer of the same depths are one thing, and so are a 1-D convolution and a 2-D one
        of a single row.
        """
        ours = self.ours(shape) if parameter.role == "weights" else shape
        return _without_ones(ours) == _without_ones(parameter.shape)

    def source_shape(self, parameter: Parameter) -> tuple[int, ...]:
        """The parameter's shape as the source would have it."""
        axes = self.axes(len(parameter.shape)) if parameter.role == "weights" else (0,)
        return tuple(parameter.shape[axes.index(axis)] for axis in range(len(parameter.shape)))

    def ignores(self, name: str) -> bool:
        """Whether a tensor of the source is known to be no parameter: a step counter, an optimizer's slot."""
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
    """A rule, read.

    Attributes:
        ours: What matches our name.
        kind: What matches it with other numbers.
        theirs: What the source's name is made of: text, and fields by name and offset.
    """

    ours: re.Pattern[str]
    kind: re.Pattern[str]
    theirs: tuple[str | tuple[str, int], ...]


def _turned(ours: str, theirs: str) -> str:
    """Our template with the offsets of the source's taken back."""
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

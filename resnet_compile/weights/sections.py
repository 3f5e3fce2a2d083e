"""Sections: the part of a source that holds the network, its naming table, and the choice among several copies."""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.source import Tensors, is_within

ROOT = "."
"""The name of the section without a prefix."""

_MOST = 500  # sections to look at, those with the most names first

_AVERAGES = frozenset({"ema", "swa", "averaged", "average"})


class SeveralSectionsError(WeightsError):
    """Several sections hold the network, and the user must choose; `words` are their names."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        shown = ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
        super().__init__(
            f"the network is in {len(words)} sections: {shown}", hint=f"--section {words[0]} takes the first"
        )


@dataclass(frozen=True)
class Section:
    """A part of a source, read by a table.

    Attributes:
        prefixes: The prefixes of its names, such as ``model.`` or ``resnet_v2_50/``; several for a network in parts.
        wanted: The table's name of each parameter.
        present: The source's name of each parameter that has a tensor, of any shape.
        filled: The parameters that have a tensor of their shape.
    """

    naming: Naming
    prefixes: tuple[str, ...]
    wanted: Mapping[str, str]
    present: Mapping[str, str]
    filled: frozenset[str]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The source's name of each parameter, present or not."""
        return {**{name: self.prefixes[0] + theirs for name, theirs in self.wanted.items()}, **self.present}

    @property
    def word(self) -> str:
        """Its name for `--section`."""
        return ",".join(prefix.rstrip("./") or ROOT for prefix in self.prefixes)

    @property
    def taken(self) -> frozenset[str]:
        """The source's names of the filled parameters."""
        return frozenset(self.present[name] for name in self.filled)

    @property
    def averages(self) -> bool:
        """Whether its name says that it holds moving averages of another section."""
        return any(part in _AVERAGES for part in re.split(r"[./_]", self.word.lower()))


def sections(naming: Naming, plan: Plan, tensors: Tensors, asked: Sequence[str]) -> list[Section]:
    """The sections in which a table finds parameters, the fullest first.

    `asked` are the sections to look in, in the user's words; empty for all. Several are read as one.
    """
    wanted = naming.names(plan, tensors)
    places: dict[str, dict[str, str]] = {}
    for name, theirs in wanted.items():
        for prefix in tensors.prefixes.get(theirs, ()):
            places.setdefault(prefix, {})[name] = prefix + theirs
    if asked:
        places = {p: part for p, part in places.items() if any(is_within(p.rstrip("./"), word) for word in asked)}
    if len(places) > _MOST:
        places = dict(heapq.nlargest(_MOST, places.items(), key=lambda place: len(place[1])))
    by_name = {parameter.name: parameter for parameter in plan.parameters}

    def section(prefixes: tuple[str, ...], present: Mapping[str, str]) -> Section:
        filled = (n for n, theirs in present.items() if naming.fits(by_name[n], tensors[theirs].shape))
        return Section(naming, prefixes, wanted, present, frozenset(filled))

    if len(asked) > 1 and places:
        # The first part that has a parameter counts.
        present = {name: theirs for part in reversed(places.values()) for name, theirs in part.items()}
        return [section(tuple(places), present)]
    return sorted((section((prefix,), part) for prefix, part in places.items()), key=lambda one: -len(one.filled))


def choose(found: Sequence[Section], tensors: Tensors, *, averages: bool) -> tuple[Section, str | None]:
    """The section to take of several equally full ones, and a note for the user, if any.

    Sections that share their tensors in the file count as one, with the first one's name.

    Raises:
        SeveralSectionsError: Several are equally good.
    """
    found = _distinct(found, tensors)
    plain, averaged = ([one for one in found if one.averages == kind] for kind in (False, True))
    meant = averaged if averages and averaged else plain or averaged
    if len(meant) > 1:
        raise SeveralSectionsError([one.word for one in meant])
    note = None
    if averaged and not averages and plain:
        note = f"the moving averages in {averaged[0].word} were not taken (--averages takes them)"
    return meant[0], note


def _distinct(found: Sequence[Section], tensors: Tensors) -> list[Section]:
    """The sections, without those that repeat another's tensors; a section of averages stays beside its original."""
    distinct: dict[object, Section] = {}
    for one in found:
        places = [tensors[theirs].place for name, theirs in one.present.items() if name in one.filled]
        distinct.setdefault(one.prefixes if None in places else (one.averages, *places), one)
    return list(distinct.values())

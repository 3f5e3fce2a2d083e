"""Sections: where in a source a network is, by which table's names, and which of several copies is meant."""

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
"""What the section is called that has nothing in front of its names."""

_MOST = 500  # sections that are looked at, those with the most names first

_AVERAGES = frozenset({"ema", "swa", "averaged", "average"})


class SeveralSectionsError(WeightsError):
    """A network that is in several sections, of which the user has to choose one; `words` are what they are called."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        shown = ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
        super().__init__(
            f"the network is in {len(words)} sections: {shown}", hint=f"--section {words[0]} takes the first"
        )


@dataclass(frozen=True)
class Section:
    """A part of a source read by a table.

    Attributes:
        naming: The table.
        prefixes: What stands before the names, such as ``model.`` or ``resnet_v2_50/``; several where a network is
            spread over several parts.
        wanted: For each parameter, by our name, the table's name.
        present: For those that find a tensor, of whatever shape, the source's name.
        filled: The parameters that find a tensor of their shape.
    """

    naming: Naming
    prefixes: tuple[str, ...]
    wanted: Mapping[str, str]
    present: Mapping[str, str]
    filled: frozenset[str]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """For each parameter, by our name, the source's name; whether it is there is another matter."""
        return {**{name: self.prefixes[0] + theirs for name, theirs in self.wanted.items()}, **self.present}

    @property
    def word(self) -> str:
        """What `--section` calls it."""
        return ",".join(prefix.rstrip("./") or ROOT for prefix in self.prefixes)

    @property
    def taken(self) -> frozenset[str]:
        """The source's names for those that are filled."""
        return frozenset(self.present[name] for name in self.filled)

    @property
    def averages(self) -> bool:
        """Whether it says of itself that it holds moving averages of another one."""
        return any(part in _AVERAGES for part in re.split(r"[./_]", self.word.lower()))


def sections(naming: Naming, plan: Plan, tensors: Tensors, asked: Sequence[str]) -> list[Section]:
    """The sections in which a table finds parameters, the fullest first.

    Args:
        naming: The table.
        plan: What has to be filled.
        tensors: The source's, by their plain names.
        asked: The sections to look in, in the user's words; anywhere without one. Several are read as one.
    """
    wanted = naming.names(plan, tensors)
    places: dict[str, dict[str, str]] = {}
    for name, theirs in wanted.items():
        for prefix in tensors.prefixes.get(theirs, ()):
            places.setdefault(prefix, {})[name] = prefix + theirs
    found = {prefix: present for prefix, present in places.items() if not asked or _is_asked(prefix, asked)}
    if len(found) > _MOST:
        found = dict(heapq.nlargest(_MOST, found.items(), key=lambda place: len(place[1])))
    by_name = {parameter.name: parameter for parameter in plan.parameters}

    def section(prefixes: tuple[str, ...], present: Mapping[str, str]) -> Section:
        filled = (n for n, theirs in present.items() if naming.fits(by_name[n], tensors[theirs].shape))
        return Section(naming, prefixes, wanted, present, frozenset(filled))

    if len(asked) > 1 and found:
        # The first part that has a parameter counts.
        present = {name: theirs for part in reversed(found.values()) for name, theirs in part.items()}
        return [section(tuple(found), present)]
    return sorted((section((prefix,), part) for prefix, part in found.items()), key=lambda one: -len(one.filled))


def choose(found: Sequence[Section], tensors: Tensors, *, averages: bool) -> tuple[Section, str | None]:
    """The section that is meant of those that are equally full, and what there is to tell of that.

    Sections that hold the very same tensors of a file are one, called by the first of their names.

    Raises:
        SeveralSectionsError: Several are as good as each other.
    """
    found = _distinct(found, tensors)
    plain, averaged = ([one for one in found if one.averages == kind] for kind in (False, True))
    meant = averaged if averages and averaged else plain or averaged
    if len(meant) > 1:
        raise SeveralSectionsError([one.word for one in meant])
    note = None
    if averaged and not averages and plain:
        note = f"moving averages are in {averaged[0].word} and were not taken (--averages takes them)"
    return meant[0], note


def _distinct(found: Sequence[Section], tensors: Tensors) -> list[Section]:
    """The sections but for those that are others under a second name; one of averages is told of all the same."""
    distinct: dict[object, Section] = {}
    for one in found:
        places = [tensors[theirs].place for name, theirs in one.present.items() if name in one.filled]
        distinct.setdefault(one.prefixes if None in places else (one.averages, *places), one)
    return list(distinct.values())


def _is_asked(prefix: str, asked: Sequence[str]) -> bool:
    return any(is_within(prefix.rstrip("./"), word) for word in asked)

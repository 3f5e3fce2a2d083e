"""Sections: where in a source a network is, by which table's names, and which of several copies is meant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from resnet_compile.errors import WeightsError
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.source import Tensors

ROOT = "."
"""What the section is called that has nothing in front of its names."""

_AVERAGES = frozenset({"ema", "swa", "averaged", "average"})


class SeveralSectionsError(WeightsError):
    """A network that is in several sections, of which the user has to choose one; `words` are what they are called."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        shown = ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
        super().__init__(
            f"the network is in {len(words)} sections: {shown}", hint=f"--section {words[0]} takes the first"
        )


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a source read by a table.

    Attributes:
        naming: The table.
        prefixes: What stands before the names, such as ``model.`` or ``resnet_v2_50/``; several where a network is
            spread over several parts.
        names: For each parameter, by our name, the source's name; whether it is there is another matter.
        filled: The parameters that find a tensor of their shape.
    """

    naming: Naming
    prefixes: tuple[str, ...]
    names: Mapping[str, str]
    filled: frozenset[str]

    @property
    def word(self) -> str:
        """What `--section` calls it."""
        return ",".join(prefix.rstrip("./") or ROOT for prefix in self.prefixes)

    @property
    def averages(self) -> bool:
        """Whether it says of itself that it holds moving averages of another one."""
        return any(part in _AVERAGES for part in re.split(r"[./_]", self.word.lower()))


def sections(
    naming: Naming, network: str, parameters: Sequence[Parameter], tensors: Tensors, asked: Sequence[str]
) -> list[Section]:
    """The sections in which a table finds parameters, the fullest first.

    Args:
        naming: The table.
        network: The network's name, which every parameter's begins with.
        parameters: What has to be filled.
        tensors: The source's, by their plain names.
        asked: The sections to look in, in the user's words; anywhere without one. Several are read as one.
    """
    translated = {p.name: naming.translate(p.name.removeprefix(f"{network}/")) for p in parameters}
    wanted = {name: theirs for name, theirs in translated.items() if theirs is not None}
    places = Counter(prefix for theirs in tensors for prefix in _prefixes(theirs, frozenset(wanted.values())))
    found = [prefix for prefix in places if not asked or any(_is_in(prefix, word) for word in asked)]
    by_name = {parameter.name: parameter for parameter in parameters}

    def section(prefixes: tuple[str, ...]) -> Section:
        names = {}
        for name, theirs in wanted.items():
            there = [prefix + theirs for prefix in prefixes if prefix + theirs in tensors]
            names[name] = there[0] if there else prefixes[0] + theirs
        filled = (
            n for n, theirs in names.items() if theirs in tensors and naming.fits(by_name[n], tensors[theirs].shape)
        )
        return Section(naming, prefixes, names, frozenset(filled))

    each = [section((prefix,)) for prefix in found]
    if len(asked) > 1 and found:
        each = [section(tuple(found))]
    return sorted(each, key=lambda one: -len(one.filled))


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
        places = [tensors[theirs].place for name, theirs in one.names.items() if name in one.filled]
        distinct.setdefault(one.prefixes if None in places else (one.averages, *places), one)
    return list(distinct.values())


def _prefixes(name: str, wanted: frozenset[str]) -> Iterator[str]:
    """What may stand before a wanted name in a name of the source."""
    for start in (0, *(at + 1 for at, char in enumerate(name) if char in "./")):
        if name[start:] in wanted:
            yield name[:start]


def _is_in(prefix: str, word: str) -> bool:
    """Whether a section is, or lies in, the one that a user names."""
    word = word.rstrip("./")
    return prefix.rstrip("./") == word or prefix.startswith((f"{word}.", f"{word}/"))

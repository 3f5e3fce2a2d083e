"""The tensors of a source that fill no parameter.

Each is one of three:

* ignored: inference does not use it (optimizer slots and averages below a parameter's own name, counters, biases that
  are all zero);
* left: it is outside the section that holds the network;
* in the way: it is inside that section. Then the file's network computes another function, and reading it as this one
  would be wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from resnet_compile.checkpoints.base import AVERAGE
from resnet_compile.plan import Plan
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.sections import Section
from resnet_compile.weights.source import SourceTensor, Tensors, is_within

_FEW = 3  # the most words in a suggested option
# Keras's `Normalization` stores the variance, others its root. A batch norm's moving statistics do not match.
_NORMALIZATION = re.compile(r"(?:^|(?<!moving)(?<!running)[./_])(mean|std|variance)$")


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The tensors that fill no parameter and are not ignored.

    Attributes:
        left: The names of tensors outside the section, each with its scope.
        faults: The tensors in the way, each with the reason.
        averages: Whether some are moving averages of parameters.
        normalization: The `mean` and `std` of a model that normalises its images itself, a number for each channel.
    """

    left: Mapping[str, str]
    faults: tuple[tuple[str, str], ...]
    averages: bool
    normalization: Mapping[str, list[float]]

    def note(self) -> str | None:
        """The tensors that were left, in a line; None if there are none."""
        if not self.left:
            return None
        scopes = [scope for scope, _ in Counter(self.left.values()).most_common()]
        more = f" and {len(scopes) - 4} more scopes" if len(scopes) > 4 else ""
        return f"left: {len(self.left)} tensor{'s' * (len(self.left) > 1)} under {', '.join(scopes[:4])}{more}"


def leftovers(
    plan: Plan, section: Section, tensors: Tensors, *, used: Collection[str], ignore: Sequence[str], guessed: bool
) -> Leftovers:
    """Sorts the tensors of a source that fill no parameter.

    Args:
        plan: The network.
        section: The section that holds it.
        tensors: The source's tensors.
        used: The names of the tensors that fill a parameter.
        ignore: The user's patterns of names, or scopes, to ignore.
        guessed: Whether the head was found by its shape: another layer that reads as many channels could precede it.
    """
    own = {_first(theirs) for theirs in section.wanted.values()}
    places = {tensors[name].place for name in used if name in tensors} - {None}
    path, offsets = _ImagePath.of(plan, guessed=guessed), set(_missing_offsets(plan, section))
    left: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    averages = False
    normalization: dict[str, list[float]] = {}
    for name, tensor in tensors.items():
        if name in used:
            continue
        inside = next((name.removeprefix(p) for p in section.prefixes if name.startswith(p)), None)
        beside = inside is None or _first(inside) not in own
        asked = any(_is_meant(each, word) for each in (name, *tensor.names) for word in ignore)
        if asked or is_ignored(section, name, used):
            averages = averages or name.endswith(AVERAGE)
        elif inside in offsets and not np.any(tensor.read()):
            continue
        elif beside and (normal := _normal(name, tensor, plan.input.channels)):
            normalization |= normal
        elif tensor.place in places and beside:
            left[name] = _scope(name, section)  # a parameter under a second name
        elif inside is not None and (reason := _in_the_way(plan, section, inside, own, tensor, path)):
            faults.append((name, reason))
        elif inside is None and guessed and (reason := path.beside_head(tensor, section.naming)):
            faults.append((name, reason))
        else:
            left[name] = _scope(name, section)
    return Leftovers(left, tuple(faults), averages, normalization)


def _normal(name: str, tensor: SourceTensor, channels: int) -> dict[str, list[float]]:
    """The mean or the standard deviation with which a model normalises its images; empty for any other tensor."""
    found = _NORMALIZATION.search(name)
    if not found or not tensor.is_numeric or int(np.prod(tensor.shape)) != channels:
        return {}
    values = tensor.read().ravel()
    if found[1] == "variance":
        return {"std": [float(value) for value in np.sqrt(np.maximum(values, 0))]}
    return {found[1]: [float(value) for value in values]}


def is_ignored(section: Section, name: str, used: Collection[str]) -> bool:
    """Whether the name is below a parameter's own, or the table ignores it."""
    if section.naming.ignores(name):
        return True
    return any(name[:at] in used for at, char in enumerate(name) if char in "./")


def _in_the_way(
    plan: Plan, section: Section, inside: str, own: Collection[str], tensor: SourceTensor, path: _ImagePath
) -> str | None:
    """The reason why a tensor in the section makes its network another function; None if it does not."""
    naming, separator = section.naming, section.naming.separator
    if not plan.head.logits and (inside + separator).startswith(f"{naming.logits}{separator}"):
        return None  # the head of a network of which only the features are wanted
    prefix = section.prefixes[0]
    is_root = prefix == "" or (separator == "." and prefix.endswith("/"))
    if is_root and _first(inside) not in own:
        return path.beside_head(tensor, naming) or path.in_body(tensor, naming)
    return "is not a parameter of this network"


def _first(name: str) -> str:
    return name.partition("/")[0].partition(".")[0]


@dataclass(frozen=True, slots=True)
class _ImagePath:
    """The widths on an image's way through a network: a tensor of such a width could act on the image.

    Attributes:
        widths: The channels of the image, of the root's maps, and of the maps between blocks.
        pooled: The channels that the head reads; None without a head.
        guessed: The number of classes of a guessed head; None for a certain one.
    """

    widths: frozenset[int]
    pooled: int | None
    guessed: int | None

    @classmethod
    def of(cls, plan: Plan, *, guessed: bool) -> _ImagePath:
        maps = [plan.input.channels, *(layer.output.channels for layer in plan.root)]
        maps += [block.output.channels for block in plan.blocks[:-1]]
        pooled = plan.blocks[-1].output.channels if plan.head.logits else None
        return cls(frozenset(maps), pooled, plan.spec.head.num_classes if guessed else None)

    def beside_head(self, tensor: SourceTensor, naming: Naming) -> str | None:
        """The reason why a tensor could act on the input of the head, or on the output of a guessed one; else None."""
        if self.pooled is None or not tensor.dtype.startswith(("float", "bfloat")):
            return None
        if int(np.prod(tensor.shape)) == 1:
            return "is a number that could change what the head reads"
        shape = naming.ours(tensor.shape)
        if self.pooled in shape[:2]:
            return f"could stand between the pooling and the head, which reads {self.pooled} channels"
        if len(shape) == 2 and shape[1] == self.guessed:
            return f"could read the {self.guessed} numbers that the head gives"
        return None

    def in_body(self, tensor: SourceTensor, naming: Naming) -> str | None:
        """The reason why a tensor could act on a map between blocks; else None."""
        if not tensor.is_numeric:
            return None
        shape = naming.ours(tensor.shape)
        if len(shape) in (1, 4) and shape[0] in self.widths and (len(shape) == 1 or shape[1] in (1, shape[0])):
            return f"could stand in the image's path, where there are {shape[0]} channels"
        return None


def _missing_offsets(plan: Plan, section: Section) -> Iterator[str]:
    """The source's names, without its prefix, of biases that our layers lack."""
    ours = set(section.names)
    for parameter in plan.parameters:
        scope, _, role = parameter.name.rpartition("/")
        if role == "weights" and f"{scope}/biases" not in ours:
            theirs = section.wanted.get(parameter.name)
            if theirs and (offset := section.naming.offset(theirs)):
                yield offset


def _is_meant(name: str, word: str) -> bool:
    """Whether a word of `--ignore` names a tensor: by its name, a pattern or a scope."""
    return fnmatchcase(name, word) or is_within(name, word)


def words_for(names: Sequence[str], kept: Collection[str]) -> str | None:
    """The value of `--ignore` that leaves out these names and none that is kept; None for a long list.

    It has the names themselves if they are few, else scopes or patterns.
    """
    if len(names) <= _FEW:
        return ",".join(names)
    left, words = list(names), list[str]()
    while left:
        counts = Counter(word for name in left for word in _words_of(name))
        found = next(
            (word for word, _ in counts.most_common() if not any(_is_meant(name, word) for name in kept)), None
        )
        if found is None or len(words) == _FEW:
            return None
        words.append(found)
        left = [name for name in left if not _is_meant(name, found)]
    return ",".join(words)


def _words_of(name: str) -> Iterator[str]:
    """The patterns for a name's components: the first as a scope, the others in any place."""
    parts = re.split(r"([./])", name)
    yield parts[0]
    for before, part, after in zip(parts[1::2], parts[2::2], (*parts[3::2], ""), strict=False):
        yield f"*{before}{part}{after}{'*' if after else ''}"


def _scope(name: str, section: Section) -> str:
    """The scope of a tensor, for a note: the prefix that it shares with the section, and the next component."""
    shared = ""
    for at, char in enumerate(name):
        if char in "./" and any(prefix.startswith(name[: at + 1]) for prefix in section.prefixes):
            shared = name[: at + 1]
    first = re.match(r"[^./]*[./]?", name[len(shared) :])
    return shared + (first[0] if first else "")

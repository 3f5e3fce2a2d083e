"""Matching: the tensor of a source that fills each parameter, and the tensors that fill none."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

from resnet_compile.checkpoints.base import AVERAGE
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.leftovers import Leftovers, is_ignored, leftovers, words_for
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.sections import Section, choose, sections
from resnet_compile.weights.source import SourceTensor, Tensors, averaged, is_within
from resnet_compile.weights.tables import NAMINGS, naming_of

# Faults that one message lists before it only counts them.
_FAULTS_SHOWN = 6
_ALIKE = 0.7  # share of equal letters; names in one layer reach it, names that share only a scope do not


@dataclass(frozen=True, slots=True)
class Choice:
    """The user's choices about a source, as `bind` takes them; matching finds what is left out."""

    naming: str | None = None
    sections: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    averages: bool = False
    head: str | None = None


@dataclass(frozen=True)
class Match:
    """How a source fills a network.

    Attributes:
        names: The source's name of each parameter, by our name.
        head: The scope of the logits, if it is not the table's.
        guessed: Whether the head is not at the table's place, and the user did not say where it is.
        missing: The parameters without a tensor.
        note: A note for the user about the section.
    """

    plan: Plan
    section: Section
    names: Mapping[str, str]
    tensors: Tensors
    choice: Choice
    head: str | None
    guessed: bool
    missing: tuple[Parameter, ...]
    note: str | None

    @property
    def naming(self) -> Naming:
        return self.section.naming

    @property
    def complete(self) -> bool:
        """Whether every parameter has its tensor, and no other tensor belongs to the network."""
        return not self.missing and not self.others.faults

    @cached_property
    def others(self) -> Leftovers:
        """The tensors that fill no parameter."""
        return leftovers(
            self.plan,
            self.section,
            self.tensors,
            used=frozenset(self.names.values()),
            ignore=self.choice.ignore,
            guessed=self.guessed,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: guesses, and tensors that were not taken."""
        told = [self.note, self.others.note()]
        if self.head and self.guessed:
            scope = self.head
            told.insert(1, f"the head is guessed to be {scope}, by its shape (--head {scope} confirms it)")
        if self.others.averages and not self.choice.averages:
            told.insert(-1, "the moving averages of the parameters were not taken (--averages takes them)")
        if values := self.others.normalization:
            by = ", ".join(f"{key} {'/'.join(f'{number:g}' for number in values[key])}" for key in sorted(values))
            told.insert(-1, f"the file's model normalises its images itself, by {by}; this one takes normalised images")
        return tuple(filter(None, told))


def match(plan: Plan, tensors: Tensors, choice: Choice | None = None) -> Match:
    """The complete match of a source and a network.

    Raises:
        WeightsError: The source does not fill the network, or holds another one. One message lists all tensors that are
            missing, have another shape, or belong to another network.
        OptionError: There is no table of that name.
    """
    found = attempt(plan, tensors, choice)
    if not found.complete:
        raise _fault(found)
    return found


def fits(plan: Plan, tensors: Tensors) -> bool:
    """Whether a source fills a network completely, by any table."""
    try:
        return attempt(plan, tensors).complete
    except WeightsError:
        return False


def attempt(plan: Plan, tensors: Tensors, choice: Choice | None = None) -> Match:
    """The best match of a source and a network, complete or not. Arguments and errors as for `match`."""
    choice = choice or Choice()
    tensors = averaged(tensors) if choice.averages else tensors
    section, note = _section(plan, tensors, choice)
    missing = [p for p in plan.parameters if p.name not in section.filled]
    guessed = bool(missing) and set(missing) <= set(logits_of(plan)) and not choice.head
    head = _head(plan, section, tensors, choice.head) if guessed or (missing and choice.head) else {}
    scope = next(iter(head.values())).rpartition(section.naming.separator)[0] if head else None
    left = tuple(p for p in missing if p.name not in head)
    return Match(plan, section, {**section.names, **head}, tensors, choice, scope, guessed, left, note)


def classes_of(plan: Plan, tensors: Tensors) -> int | None:
    """The number of classes of a source that fills a network except for its logits; else None."""
    logits = logits_of(plan)
    headless: list[Section] = []
    for naming in NAMINGS:
        for section in sections(naming, plan, tensors, ())[:1]:
            missing = [p for p in plan.parameters if p.name not in section.filled]
            if not missing:
                return None
            if all(p in logits for p in missing):
                headless.append(section)
    return _classes_there(plan, headless[0], tensors) if headless else None


def background(classes: int) -> str:
    """A remark on a number of classes, to append to a message; empty for most numbers."""
    return "; the first class of TF-slim's 1001 is the background" if classes == 1001 else ""


def _classes_there(plan: Plan, section: Section, tensors: Tensors) -> int | None:
    """The classes of the logits' tensors, or of the only other dense layer that reads the last block's channels."""
    logits = logits_of(plan)
    if theirs := tensors.get(section.names.get(logits[-1].name, "")):
        shape = section.naming.ours(theirs.shape) if logits[-1].role == "weights" else theirs.shape
        return shape[0] if len(shape) in (1, 2, 4) else None
    shapes = {section.naming.ours(tensor.shape) for _, tensor in _spare(section, tensors) if len(tensor.shape) == 2}
    found = [width for width, read in shapes if read == plan.blocks[-1].output.channels]
    return found[0] if len(found) == 1 and all(read != found[0] for _, read in shapes) else None


def _spare(section: Section, tensors: Tensors) -> Iterator[tuple[str, SourceTensor]]:
    """The tensors that fill no parameter by the table, and are not ignored."""
    used = section.taken
    return (each for each in tensors.items() if each[0] not in used and not is_ignored(section, each[0], used))


def logits_of(plan: Plan) -> tuple[Parameter, ...]:
    """The parameters of the logits; empty for a network without a head."""
    return tuple(p for p in plan.parameters if p.name.startswith(f"{plan.name}/logits/"))


def _section(plan: Plan, tensors: Tensors, choice: Choice) -> tuple[Section, str | None]:
    """The fullest section of all tables."""
    by_table: list[list[Section]] = []
    for table in NAMINGS if choice.naming is None else (naming_of(choice.naming),):
        by_table.append(sections(table, plan, tensors, choice.sections))
        if by_table[-1] and len(by_table[-1][0].filled) == len(plan.parameters):
            break  # no other can have more
    fullest = max((found[0] for found in by_table if found), key=lambda one: len(one.filled), default=None)
    if fullest is None or not fullest.filled:
        if any(name.endswith(AVERAGE) for name in tensors):
            raise WeightsError("the source has only moving averages", where=plan.name, hint="--averages takes them")
        by = f"the {choice.naming} naming" if choice.naming else "any naming table"
        inside = f" in section {','.join(choice.sections)}" if choice.sections else ""
        shown = ", ".join(sorted(tensors)[:3])
        if not tensors:
            raise WeightsError("the source has no tensors", where=plan.name)
        raise WeightsError(
            f"no name fits {plan.name} by {by}{inside}", where=plan.name, hint=f"the names are like {shown}"
        )
    headless = frozenset(p.name for p in plan.parameters) - frozenset(p.name for p in logits_of(plan))
    (equals,) = (found for found in by_table if found and found[0] is fullest)
    full = [one for one in equals if len(one.filled) == len(fullest.filled)]
    if not choice.sections and not headless <= fullest.filled:
        _require_one_place(plan, equals)
    return choose(full, tensors, averages=choice.averages)


def _require_one_place(plan: Plan, found_by_table: Sequence[Section]) -> None:
    """Raises a `WeightsError` if several sections make up the network together."""
    parts: list[Section] = []
    found: frozenset[str] = frozenset()
    for part in found_by_table:
        if part.filled and not part.filled & found:
            parts.append(part)
            found |= part.filled
    if len(found) == len(plan.parameters):
        words = ",".join(part.word for part in parts)
        raise WeightsError(f"the network is spread over {words}", hint=f"--section {words} reads them as one")


def _head(plan: Plan, section: Section, tensors: Tensors, asked: str | None) -> dict[str, str]:
    """The logits' tensors outside the table's scope, found by shape: the only ones, or those in the scope asked for.

    Raises:
        WeightsError: There is no such scope, or several scopes fit.
    """
    logits = logits_of(plan)
    scopes: dict[str, dict[str, str]] = {}
    for name, tensor in _spare(section, tensors):
        scope = name.rpartition(section.naming.separator)[0]
        if asked and not is_within(name, asked):
            continue
        for parameter in logits:
            kind = len(tensor.shape) == 1 if parameter.role == "biases" else len(tensor.shape) in (2, 4)
            if kind and section.naming.fits(parameter, tensor.shape):
                scopes.setdefault(scope, {})[parameter.name] = name
    whole = {scope: names for scope, names in scopes.items() if len(names) == len(logits)}
    if asked and not whole:
        raise WeightsError(f"no head of {plan.spec.head.num_classes} classes", where=asked)
    if len(whole) > 1:
        shown = ", ".join(list(whole)[:4])
        raise WeightsError(f"{len(whole)} heads fit: {shown}", hint=f"--head {next(iter(whole))} takes the first")
    return next(iter(whole.values()), {})


def _fault(found: Match) -> WeightsError:
    """The error that lists the tensors that are missing, have another shape, or belong to another network."""
    missing, others = found.missing, found.others
    in_the_way = ((name, f"{name} {why}") for name, why in others.faults)
    faults = list(islice(chain(_missing(found), in_the_way), _FAULTS_SHOWN))
    untold = len(missing) + len(others.faults) - len(faults)
    shown = "; ".join(fault for _, fault in faults)
    more = f"; and {untold} more" if untold else ""
    total = len(found.plan.parameters)
    fit = f"{total - len(missing)} of {total} parameters fit by the {found.naming.name} naming"
    return WeightsError(f"{fit}: {shown}{more}", where=faults[0][0], hint=_hint(found))


def _missing(found: Match) -> Iterator[tuple[str, str]]:
    spare = [name for name, _ in found.others.faults]
    for parameter in found.missing:
        theirs = found.names.get(parameter.name)
        if theirs is None:
            yield parameter.name, f"{parameter.name} has no name in the {found.naming.name} naming"
        elif theirs not in found.tensors:
            near = difflib.get_close_matches(theirs, spare, n=1, cutoff=_ALIKE)
            yield theirs, f"{theirs} is missing{f' (there is {near[0]})' if near else ''}"
        else:
            expected = list(found.naming.source_shape(parameter))
            yield theirs, f"{theirs} has shape {list(found.tensors[theirs].shape)}, not {expected}"


def _hint(found: Match) -> str | None:
    plan, section, missing, faults = found.plan, found.section, found.missing, found.others.faults
    logits = logits_of(plan)
    if missing and all(p.name not in section.names for p in missing):
        return f"that naming is for {section.naming.units}"
    if any(f"{section.names.get(p.name)}{AVERAGE}" in found.tensors for p in missing):
        return "the source has only moving averages: --averages takes them"
    if missing and all(p in logits for p in missing):
        classes = _classes_there(plan, section, found.tensors)
        if classes and classes != plan.spec.head.num_classes:
            return f"the weights have {classes} classes: --num-classes {classes}{background(classes)}"
        return "--num-classes none takes the features without a head; --head NAME names the head"
    if faults and not missing:
        words = words_for([name for name, _ in faults], section.taken)
        told = f"; --ignore '{words}' leaves {'it' if len(faults) == 1 else 'them'} out anyway" if words else ""
        return f"the file's network computes another function{told}"
    return None

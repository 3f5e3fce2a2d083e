"""Matching: which tensor of a source fills which parameter, by which table and behind which prefix."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_compile.errors import WeightsError
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.tables import NAMINGS, naming_of

# Faults that one message lists before it only counts them.
_FAULTS_SHOWN = 6
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Match:
    """A table applied to a source.

    Attributes:
        naming: The table.
        prefix: What stands before every name in the source, such as ``module.`` or ``resnet_v2_50/``.
        names: For each parameter, by our name, the source's name; whether it is there is another matter.
        fitting: How many parameters find a tensor of their shape.
    """

    naming: Naming
    prefix: str
    names: Mapping[str, str]
    fitting: int


def match(network: str, parameters: Sequence[Parameter], shapes: Shapes, naming: str | None = None) -> Match:
    """The one way in which a source fills a network.

    Args:
        network: The network's name, which every parameter's begins with.
        parameters: What has to be filled.
        shapes: The source's tensors, by name.
        naming: The table to use; None finds it.

    Raises:
        WeightsError: The source does not fill the network. Everything that is missing, of another shape or unused
            stands in one message.
        OptionError: There is no table of that name.
    """
    tables = NAMINGS if naming is None else (naming_of(naming),)
    candidates = (_best(table, network, parameters, shapes) for table in tables)
    found = max(filter(None, candidates), key=_fit, default=None)
    if found is None or found.fitting == 0:
        shown = ", ".join(sorted(shapes)[:3])
        by = f"the {naming} naming" if naming else "any naming table"
        raise WeightsError(f"no name fits {network} by {by}", where=network, hint=f"the names are like {shown}")
    _require_all(found, network, parameters, shapes)
    return found


def fits(network: str, parameters: Sequence[Parameter], shapes: Shapes) -> Match | None:
    """The way in which a source fills a network and has nothing left over; None where it does not."""
    try:
        return match(network, parameters, shapes)
    except WeightsError:
        return None


def classes_of(network: str, parameters: Sequence[Parameter], shapes: Shapes) -> int | None:
    """The number of classes of a source that would fill a network but for the width of its logits; else None."""
    for table in NAMINGS:
        found = _best(table, network, parameters, shapes)
        misfits = [p for p in parameters if found and not _filled(found, p, shapes)]
        if found and misfits and all(p.name.startswith(f"{network}/logits/") for p in misfits):
            theirs = found.names.get(misfits[-1].name, "")
            return _classes(misfits[-1], shapes[theirs], found) if theirs in shapes else None
    return None


def _filled(found: Match, parameter: Parameter, shapes: Shapes) -> bool:
    theirs = found.names.get(parameter.name, "")
    return theirs in shapes and found.naming.fits(parameter, shapes[theirs])


def _fit(found: Match) -> int:
    return found.fitting


def _best(naming: Naming, network: str, parameters: Sequence[Parameter], shapes: Shapes) -> Match | None:
    """The table behind the prefix by which most parameters fit."""
    translated = {p.name: naming.translate(p.name.removeprefix(f"{network}/")) for p in parameters}
    wanted = {name: theirs for name, theirs in translated.items() if theirs is not None}
    by_name = {parameter.name: parameter for parameter in parameters}
    matches = []
    for prefix in _prefixes(list(wanted.values()), shapes):
        names = {name: prefix + theirs for name, theirs in wanted.items()}
        fitting = sum(theirs in shapes and naming.fits(by_name[name], shapes[theirs]) for name, theirs in names.items())
        matches.append(Match(naming, prefix, names, fitting))
    best = max(matches, key=_fit, default=None)
    equals = [found for found in matches if best and found.fitting == best.fitting > 0]
    if len(equals) > 1:
        # Two copies of the network: the one that bears the spec's name, or no name at all, is meant.
        own = [found for found in equals if found.prefix in ("", f"{network}/")]
        if len(own) != 1:
            shown = " and ".join(repr(found.prefix) for found in equals[:3])
            raise WeightsError(f"several networks fit, behind {shown}", where=network, hint="name the spec like one")
        return own[0]
    return best


def _prefixes(wanted: Sequence[str], shapes: Shapes) -> list[str]:
    """What may stand before the names: whatever does before the longest of them, in the source's order."""
    anchors = sorted(set(wanted), key=lambda name: (-len(name), name))[:3]
    prefixes = (
        name.removesuffix(anchor)
        for anchor in anchors
        for name in shapes
        if name == anchor or name.endswith((f"/{anchor}", f".{anchor}"))
    )
    return list(dict.fromkeys(prefixes))


def _require_all(found: Match, network: str, parameters: Sequence[Parameter], shapes: Shapes) -> None:
    unused = [
        name for name in shapes if name not in set(found.names.values()) and not _is_ignored(found, name, parameters)
    ]
    faults: list[tuple[str, str]] = []
    hint = None
    for parameter in parameters:
        theirs = found.names.get(parameter.name)
        if theirs is None:
            faults.append((parameter.name, f"{parameter.name} has no name in the {found.naming.name} naming"))
            hint = hint or f"it names units of kind {' and '.join(found.naming.kinds)}"
        elif theirs not in shapes:
            near = difflib.get_close_matches(theirs, unused, n=1)
            faults.append((theirs, f"{theirs} is missing{f' (there is {near[0]})' if near else ''}"))
        elif not found.naming.fits(parameter, shapes[theirs]):
            expected = list(found.naming.source_shape(parameter))
            faults.append((theirs, f"{theirs} has shape {list(shapes[theirs])}, not {expected}"))
            hint = hint or _about_classes(network, parameter, shapes[theirs], found)
    faults += [(name, f"{name} is not used") for name in unused]
    if faults:
        shown = "; ".join(fault for _, fault in faults[:_FAULTS_SHOWN])
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        fit = f"{found.fitting} of {len(parameters)} parameters fit by the {found.naming.name} naming"
        raise WeightsError(f"{fit}: {shown}{more}", where=faults[0][0], hint=hint)


def _is_ignored(found: Match, name: str, parameters: Sequence[Parameter]) -> bool:
    if found.naming.ignores(name):
        return True
    # A network without logits has no use for those of the source.
    headless = not any("/logits/" in parameter.name for parameter in parameters)
    logits = {found.naming.translate(f"logits/{role}") for role in ("weights", "biases")}
    return headless and name.removeprefix(found.prefix) in logits


def _classes(parameter: Parameter, shape: tuple[int, ...], found: Match) -> int:
    """The number of classes of a tensor that stands where a parameter of the logits is wanted."""
    return shape[found.naming.axes(len(shape))[0]] if parameter.role == "weights" else shape[0]


def _about_classes(network: str, parameter: Parameter, shape: tuple[int, ...], found: Match) -> str | None:
    """What to set where only the number of classes differs."""
    if not parameter.name.startswith(f"{network}/logits/") or len(shape) not in (1, 2, 4):
        return None
    classes = _classes(parameter, shape, found)
    background = "; the first class of TF-slim's 1001 is the background" if classes == 1001 else ""
    return f"the weights have {classes} classes: set head.num_classes to {classes}{background}"

"""From a user's word to the network's own names: the grammar of `--outputs`, `--keep-float` and `--freeze`.

A word is a full name, or a name without the network's in front; a trailing slash is ignored. The kind of a unit may be
left out: `block3/unit_2` is `resnet_v2_50/block3/unit_2/bottleneck_v2`, and `block3/unit_2/conv1` a layer of it.
`features` among outputs stands for the maps of `feature_levels`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_compile.errors import OptionError
from resnet_compile.plan.network import Plan
from resnet_compile.plan.receptive import receptive_fields
from resnet_compile.plan.unit import UnitPlan

FEATURES = "features"
"""The word for the maps of all levels."""


@dataclass(frozen=True, slots=True)
class FeatureLevel:
    """A map of a multi-scale backbone.

    Attributes:
        name: C and the binary logarithm of the reduction, as in "Feature Pyramid Networks" (Lin et al. 2017): `C4`.
            Where that is no integer, `reduction12`.
        output: The full name of the map.
        reduction: Pixels of the image from one position of the map to the next.
    """

    name: str
    output: str
    reduction: int


def feature_levels(plan: Plan) -> tuple[FeatureLevel, ...]:
    """The last unit's output at each reduction, finest first: C2 to C5 of networks for ImageNet.

    TF-slim's units stride at the end of a block: its C2 is the last map before the first of these strides. A network
    with an `output_stride` has the levels up to it. Maps of pre-activation networks are sums, before norm and
    activation.
    """
    fields, last = receptive_fields(plan), {}
    for block in plan.blocks:
        for unit in block.units:
            if field := fields[unit.scope]:
                last[field.stride] = block.scope if unit is block.units[-1] else unit.scope
    return tuple(FeatureLevel(_level(reduction), output, reduction) for reduction, output in last.items())


def _level(reduction: int) -> str:
    exponent = reduction.bit_length() - 1
    return f"C{exponent}" if reduction == 1 << exponent else f"reduction{reduction}"


def resolve_outputs(plan: Plan, requested: Sequence[str] | Literal["all"] | None) -> tuple[str, ...]:
    """The full names of a network's outputs.

    Args:
        plan: The network.
        requested: Words for end points or layers, or `features`; `all` for every end point; None for logits and
            predictions, or the features of a network without logits.

    Raises:
        OptionError: There is no such value, or a value is requested twice.
    """
    end_points = tuple(end_point.name for end_point in plan.end_points)
    features = () if plan.head.logits else (plan.features,)
    if requested is None:
        return features or end_points[-2 if plan.head.predictions else -1 :]
    if requested == "all":
        return tuple(dict.fromkeys((*end_points, *features)))
    values = (*end_points, *(layer.scope for layer in plan.layers))
    words = _without_features(plan, requested)
    resolved = _resolve(plan.name, plan.units, values, words, "end point or layer", "outputs")
    if not resolved:
        raise OptionError("outputs must not be empty", where="outputs")
    if len(set(resolved)) < len(resolved):
        twice = next(name for name in resolved if resolved.count(name) > 1)
        raise OptionError(f"outputs has {twice} twice", where="outputs")
    return resolved


def resolve_model_outputs(outputs: Collection[str], words: Sequence[str], plan: Plan | None) -> tuple[str, ...]:
    """The full names of a model's outputs.

    Args:
        outputs: The names of all its outputs.
        words: The user's words.
        plan: The model's network; without it, an output's part before the first slash is the network's name.

    Raises:
        OptionError: There is no such output. Where the network has it, the error says what to compile.
    """
    network = plan.name if plan else next((name.partition("/")[0] for name in outputs if "/" in name), "")
    try:
        listed = _without_features(plan, words) if plan else words
        return _resolve(network, plan.units if plan else (), outputs, listed, "output", "outputs")
    except OptionError:
        if plan is None or not _has_outputs(plan, words):
            raise
    fault = f"the model does not output {', '.join(words)}, which its network has"
    raise OptionError(fault, where="outputs", hint=f"compile it with --outputs {','.join(words)}")


def _without_features(plan: Plan, words: Sequence[str]) -> list[str]:
    """The words with the maps' names in the place of `features`."""
    maps = [level.output for level in feature_levels(plan)] if FEATURES in words else []
    return [name for word in words for name in (maps if word == FEATURES else [word])]


def _has_outputs(plan: Plan, words: Sequence[str]) -> bool:
    try:
        resolve_outputs(plan, tuple(words))
    except OptionError:
        return False
    return True


def resolve_scopes(plan: Plan, words: Sequence[str]) -> tuple[str, ...]:
    """The full names of scopes to keep in float: end points, layers and the scopes around them, except the network's.

    Raises:
        OptionError: There is no such scope.
    """
    ends = (*(layer.scope for layer in plan.layers), *(end_point.name for end_point in plan.end_points))
    return _resolve(plan.name, plan.units, _with_parents(plan, ends), words, "scope", "keep_float")


def frozen_parameters(plan: Plan, words: Sequence[str]) -> frozenset[str]:
    """The names of all parameters in scopes, moving statistics too, so that norms are frozen as a whole.

    Raises:
        OptionError: There is no such scope, or no parameter is left to train.
    """
    owners = (parameter.name.rpartition("/")[0] for parameter in plan.parameters)
    scopes = _resolve(plan.name, plan.units, _with_parents(plan, owners), words, "scope with parameters", "freeze")
    frozen = frozenset(parameter.name for parameter in plan.parameters if is_within(parameter.name, scopes))
    if all(parameter.name in frozen for parameter in plan.parameters if parameter.trainable):
        raise OptionError("freeze leaves nothing to train", where="freeze")
    return frozen


def end_point_words(plan: Plan) -> tuple[str, ...]:
    """The shortest word for each end point, in order: its name without the network's and without a unit's kind."""
    words: dict[str, str] = {}
    points = (point.name for point in plan.end_points)
    for word, name in _words(plan.name, {unit.scope for unit in plan.units}, points).items():
        words.setdefault(name, word)
    return tuple(words.values())


def is_within(name: str, scopes: Collection[str]) -> bool:
    """Whether a full name is a scope or below one; `net/block10` is not within `net/block1`."""
    return any(name == scope or name.startswith(f"{scope}/") for scope in scopes)


def _resolve(
    network: str, units: Iterable[UnitPlan], names: Iterable[str], words: Sequence[str], what: str, where: str
) -> tuple[str, ...]:
    known = _words(network, {unit.scope for unit in units}, names)
    resolved = []
    for word in words:
        stem = word.removesuffix("/")
        short = stem.removeprefix(f"{network}/")
        name = known.get(short) or known.get(stem)  # a block can bear the network's name
        if name is None:
            raise OptionError(f"the network has no {what} {word!r}", where=where, hint=_hint(short, known))
        resolved.append(name)
    return tuple(resolved)


def _words(network: str, units: Collection[str], names: Iterable[str]) -> dict[str, str]:
    """The words for full names: each name without the network's, and that without a unit's kind too."""
    words: dict[str, str] = {}
    for name in names:
        short = name.removeprefix(f"{network}/")
        block, *inside = short.split("/")
        if len(inside) > 1 and f"{network}/{block}/{inside[0]}/{inside[1]}" in units:
            words["/".join((block, inside[0], *inside[2:]))] = name
        words[short] = name
    return words


def _with_parents(plan: Plan, names: Iterable[str]) -> Iterator[str]:
    """Names and the scopes around them, except the network's; a scope comes before its contents."""
    for name in names:
        parts = name.removeprefix(f"{plan.name}/").split("/")
        yield from (f"{plan.name}/{'/'.join(parts[:length])}" for length in range(1, len(parts)))
        yield name


def _hint(word: str, known: Mapping[str, str]) -> str:
    """The known words closest to an unknown one, or else the outermost scopes."""
    if near := difflib.get_close_matches(word, known, n=3):
        return f"did you mean {' or '.join(near)}?"
    widest = [each for each in known if "/" not in each] or [*known]
    return f"there is {', '.join(widest[:8])}{', ...' if len(widest) > 8 else ''}"

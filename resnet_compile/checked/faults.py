"""Pydantic's errors as one error of this package: every fault in JSON's terms, with its path."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import PydanticCustomError

from resnet_compile.errors import UsageError

# The most faults that an error lists; it counts the others.
_TOLD = 100
_Steps = tuple[int | str, ...]


def invalid(message: str, *path: int | str) -> PydanticCustomError:
    """The error for a validator to raise; the path leads from its model to the fault."""
    return PydanticCustomError("invalid", "{message}", {"message": message, "path": path})


@contextmanager
def translating(kind: Any, shown: Callable[[Any], str] = repr) -> Iterator[None]:
    """Translates a `ValidationError` into the error of the validated models.

    Args:
        kind: The model, or the union of models.
        shown: The function that formats a faulty value.
    """
    try:
        yield
    except ValidationError as error:
        raise _told(kind, error, shown) from None


def models_in(kind: Any) -> list[Any]:
    """The models in a type: the type itself, or the variants of a union."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in models_in(part)]


def _told(kind: Any, error: ValidationError, shown: Callable[[Any], str]) -> UsageError:
    """The error of the first fault, with the others in `also`. A fault inside a place replaces that of the place."""
    places: dict[_Steps, list[Any]] = {}
    owners: dict[_Steps, list[Any]] = {}
    for fault in error.errors(include_url=False):
        steps, models = _place(kind, fault["loc"])
        inner = ("kind",) if fault["type"] == "union_tag_invalid" else fault.get("ctx", {}).get("path", ())
        places.setdefault((*steps, *inner), []).append(fault)
        owners[steps] = models
    # pydantic also calls an array with a faulty item empty.
    outer = {steps[:length] for steps in places for length in range(len(steps))}
    inmost = [steps for steps in places if steps not in outer]
    raises: type[UsageError] = models_in(kind)[0].raises
    first, *others = (
        raises(
            _message(places[steps], steps, shown),
            where=_path(steps),
            hint=_hint(owners[steps], steps[-1]) if places[steps][0]["type"] == "extra_forbidden" else None,
        )
        for steps in inmost[:_TOLD]
    )
    untold = [f"and {len(inmost) - _TOLD} more"] if len(inmost) > _TOLD else []
    first.also = (*map(str, others), *untold)
    return first


def _place(kind: Any, loc: Sequence[int | str]) -> tuple[_Steps, list[Any]]:
    """The keys and positions of a location, without pydantic's labels of variants; and the models of the last key."""
    here: list[Any] = models_in(kind)
    steps: list[int | str] = []
    owners: list[Any] = []
    for step in loc:
        if isinstance(step, int):
            steps.append(step)
        elif owners and step in _tags(owners[0]):
            continue
        elif len(here) > 1:
            here = [model for model in here if model.model_fields["kind"].default == step]
        elif here:
            steps.append(step)
            owners, here = here, _keys(here[0]).get(step, [])
    return tuple(steps), owners


@cache
def _keys(model: Any) -> dict[str, list[Any]]:
    """A model's keys, with the models in each."""
    return {field.alias or name: models_in(field.annotation) for name, field in model.model_fields.items()}


@cache
def _tags(model: Any) -> frozenset[str]:
    """Pydantic's labels for variants without a kind, in a model's keys."""
    return frozenset(tag for field in model.model_fields.values() for tag in _tags_in(field.annotation))


def _tags_in(part: Any) -> list[str]:
    return [part.tag] if isinstance(part, Tag) else [tag for inner in get_args(part) for tag in _tags_in(inner)]


# The messages for pydantic's error types, in JSON's terms: those that end with the wrong value, and the others.
_WRONG_VALUE = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "tuple_type": "must be an array",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "must be an object with a kind",
    "string_pattern_mismatch": "must match {pattern}",
}
_OTHER = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
    "frozen_instance": "cannot be set; replace(...) makes a changed copy",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
    "union_tag_invalid": "must be one of {expected_tags}, got {tag}",
    "string_too_long": "must have at most {max_length} characters",
}


_VERBS = ("must ", "is ", "has ", "needs ", "cannot ")


def _message(faults: Sequence[Any], steps: _Steps, shown: Callable[[Any], str]) -> str:
    """The message for one place, such as ``stride must be ..., got 3``; ``or`` joins the variants of a union."""
    first, *others = dict.fromkeys(map(_said, faults))
    text = " or ".join((first, *(other.removeprefix("must be ") for other in others)))
    wrong_value = any(fault["type"] in _WRONG_VALUE for fault in faults)
    given = f", got {shortened(shown(faults[0]['input']))}" if wrong_value else ""
    return f"{_subject(steps)}{text}{given}" if text.startswith(_VERBS) else text + given


def _subject(steps: _Steps) -> str:
    """The last key of a path, with the positions after it."""
    name = _path(steps).rpartition(".")[2]
    return "" if name.startswith("$") else f"{name} "


def _said(fault: Any) -> str:
    context = fault.get("ctx", {})
    template = {**_WRONG_VALUE, **_OTHER}.get(fault["type"])
    return template.format(**{**context, "tag": shortened(repr(context.get("tag")))}) if template else fault["msg"]


def shortened(text: str) -> str:
    """The text on one line, cut to 60 characters."""
    text = " ".join(text[:1000].split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _path(steps: _Steps) -> str:
    """The path in a message, such as `$.blocks[2].args[0].stride`."""
    return "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if re.fullmatch(r"[\w$.-]{1,60}", step) else _quoted(step)
        for step in steps
    )


def _quoted(key: str) -> str:
    return f"[{shortened(json.dumps(key))}]"


def _hint(owners: Sequence[Any], key: Any) -> str | None:
    """The keys whose models have the unknown key, or else the known keys closest to it."""
    known = {name: models for owner in owners for name, models in _keys(owner).items()}
    homes = [name for name, models in known.items() if any(key in _keys(model) for model in models)]
    if homes:
        return f"it is a key of {' and of '.join(homes)}"
    near = difflib.get_close_matches(str(key), known, n=2)
    return f"did you mean {' or '.join(near)}?" if near else None

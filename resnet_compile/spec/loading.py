"""Reading a spec from JSON: one error with one path, whatever is wrong with the text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from resnet_compile.errors import SpecError
from resnet_compile.spec.network import NetworkSpec

MAX_SPEC_BYTES = 16 * 2**20
_Model = TypeVar("_Model")


def parse_spec(text: str | bytes) -> NetworkSpec:
    """The network that a JSON text describes.

    Args:
        text: JSON; bytes are read as UTF-8.

    Raises:
        SpecError: The text is not JSON, or describes no network; `where` is the path of the first fault.
    """
    return parse_as(NetworkSpec.model_validate_json, text)


def parse_as(validate: Callable[[str | bytes], _Model], text: str | bytes) -> _Model:
    """The value of a model's type that a JSON text describes, by the model's own validation.

    Raises:
        SpecError: As `parse_spec`.
    """
    document = _parse_json(text)
    try:
        return validate(text)
    except ValidationError as error:
        raise _spec_error(error, document) from None


def build_spec(document: dict[str, Any]) -> NetworkSpec:
    """The network that a JSON document, already parsed, describes; as `parse_spec`."""
    return parse_spec(json.dumps(document))


def read_spec(path: Path) -> NetworkSpec:
    """The network that a JSON file describes.

    Raises:
        SpecError: The file cannot be read or is no spec; `where` begins with the file's name.
    """
    return read_as(NetworkSpec.model_validate_json, path)


def read_as(validate: Callable[[str | bytes], _Model], path: Path, what: str = "spec") -> _Model:
    """The value of a model's type that a JSON file describes; errors call the file what it was to be.

    Raises:
        SpecError: As `read_spec`.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot read the {what}: {error.strerror}", where=str(path)) from None
    if len(text) > MAX_SPEC_BYTES:
        raise SpecError(f"a {what} of more than {MAX_SPEC_BYTES // 2**20} MiB", where=str(path))
    try:
        return parse_as(validate, text)
    except SpecError as error:
        raise SpecError(error.message, where=f"{path}: {error.where}" if error.where else str(path)) from None


def _parse_json(text: str | bytes) -> Any:
    """The document, read for what pydantic's own parser passes over: the place of a fault, and keys given twice."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise SpecError("not a spec: nested too deeply") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise SpecError(f"not JSON: {error}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise SpecError(f'key "{twice}" is given twice in one object')
    return document


def _refuse_constant(name: str) -> None:
    raise SpecError(f"not JSON: {name} is not a JSON number")


def _spec_error(error: ValidationError, document: Any) -> SpecError:
    # An array with a faulty item counts as empty too; only faults that no other lies inside are worth telling.
    every = error.errors(include_url=False)
    faults = [f for f in every if not any(o is not f and o["loc"][: len(f["loc"])] == f["loc"] for o in every)]
    first = faults[0] if faults else every[0]
    context = first.get("ctx", {})
    template = _MESSAGES.get(first["type"])
    message = template.format(given=_shorten(first["input"]), **context) if template else first["msg"]
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    inner = ("kind",) if first["type"] == "union_tag_invalid" else context.get("path", ())
    return SpecError(message + others, where=_json_path((*first["loc"], *inner), document))


# What pydantic's error types say here, in JSON's words and with the value that was given.
_MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "this key is required",
    "int_type": "must be an integer, not {given}",
    "int_from_float": "must be an integer, not {given}",
    "float_type": "must be a number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "string_type": "must be a string, not {given}",
    "tuple_type": "must be an array, not {given}",
    "model_type": "must be an object, not {given}",
    "dict_type": "must be an object, not {given}",
    "model_attributes_type": "must be an object, not {given}",
    "too_short": "must not be empty",
    "greater_than": "must be greater than {gt}, not {given}",
    "greater_than_equal": "must be at least {ge}, not {given}",
    "less_than": "must be less than {lt}, not {given}",
    "less_than_equal": "must be at most {le}, not {given}",
    "literal_error": "must be {expected}, not {given}",
    "union_tag_invalid": "kind must be one of {expected_tags}, not '{tag}'",
    "union_tag_not_found": "an object with a kind is required, not {given}",
    "string_pattern_mismatch": "must match {pattern}, not {given}",
    "string_too_long": "must have at most {max_length} characters",
}


def _shorten(value: Any) -> str:
    """The value as JSON, cut to a length that fits a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _json_path(loc: tuple[int | str, ...], document: Any) -> str:
    """`$.blocks[2].args[0].stride`; union tags that pydantic puts into a location are left out."""
    path, here = "$", document
    for position, step in enumerate(loc):
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif position < len(loc) - 1:
            continue
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path

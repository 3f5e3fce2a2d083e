"""Reading values from JSON, with one error that lists the paths of all faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from resnet_compile.checked.faults import models_in, translating
from resnet_compile.errors import inside

MAX_TEXT_BYTES = 16 * 2**20


def parse_json(kind: Any, text: str | bytes | bytearray, **how: Any) -> Any:
    """The value in a JSON text.

    Args:
        kind: The model, or a union of models.
        text: JSON; bytes are UTF-8.
        **how: Pydantic's own settings.

    Raises:
        UsageError: The text is not JSON, or its value is not of that kind. The model determines the error's class.
    """
    if fault := _fault_of_text(text):
        raise models_in(kind)[0].raises(fault)
    for model in models_in(kind):
        model.model_rebuild()  # builds the model once for all later uses; the adapter would build its own
    with translating(kind, json.dumps):
        return TypeAdapter(kind).validate_json(text, **how)


def read_json(kind: Any, path: Path, what: str) -> Any:
    """The value in a JSON file.

    Args:
        kind: As for `parse_json`.
        path: The file.
        what: The word for such a value in messages, such as `spec`.

    Raises:
        UsageError: As for `parse_json`, or the file cannot be read. `where` begins with the file's name.
    """
    raises = models_in(kind)[0].raises
    with inside(str(path)):
        try:
            with path.open("rb") as file:
                text = file.read(MAX_TEXT_BYTES + 1)
        except OSError as error:
            raise raises(f"cannot read the {what}: {error.strerror}") from None
        if len(text) > MAX_TEXT_BYTES:
            raise raises(f"a {what} of more than {MAX_TEXT_BYTES // 2**20} MiB")
        return parse_json(kind, text)


def _fault_of_text(text: object) -> str | None:
    """The fault of a JSON text, if any, including those that pydantic's parser ignores, such as duplicate keys."""
    if not isinstance(text, str | bytes | bytearray):
        return f"must be JSON text, got {type(text).__name__}"
    try:
        json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at line {error.lineno} column {error.colno}"
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:  # of the two below, or an integer of more digits than Python converts
        return f"not JSON: {error}"
    return None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {json.dumps(twice)} is given twice in one object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")

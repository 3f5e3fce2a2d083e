"""Writing a spec as JSON, for a model's metadata."""

from __future__ import annotations

import json
from typing import Any

from resnet_compile.checked import CheckedModel
from resnet_compile.spec.network import NetworkSpec


def spec_text(spec: NetworkSpec) -> str:
    """The JSON text of a spec, for `parse_spec`.

    Defaults are left out, so that a new field of the language does not change the text of old specs.
    """
    return json.dumps(document(spec), separators=(",", ":"))


def document(value: object) -> Any:
    """A spec, or a part of one, as JSON values without defaults."""
    match value:
        case CheckedModel():
            fields = type(value).model_fields
            # The kind is written although it is a default: it says which model this is.
            kept = {name: part for name, part in value if name == "kind" or part != fields[name].default}
            return {name: document(part) for name, part in kept.items() if not fields[name].exclude}
        case tuple():
            return [document(part) for part in value]
        case _:
            return value

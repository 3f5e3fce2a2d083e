"""Writing a spec as JSON, for a model to say what it is."""

from __future__ import annotations

import json
from typing import Any

from resnet_compile.checked import CheckedModel
from resnet_compile.spec.network import NetworkSpec


def spec_text(spec: NetworkSpec) -> str:
    """The JSON text that `parse_spec` reads as an equal spec.

    What is at its default is left out, so that a field added to the language changes the text of no spec that is
    without it.
    """
    return json.dumps(document(spec), separators=(",", ":"))


def document(value: object) -> Any:
    """A spec or a part of one as what JSON has, without what is at its default."""
    match value:
        case CheckedModel():
            fields = type(value).model_fields
            # A kind stands even where the model has only one: that says which model it is.
            kept = {name: part for name, part in value if name == "kind" or part != fields[name].default}
            return {name: document(part) for name, part in kept.items() if not fields[name].exclude}
        case tuple():
            return [document(part) for part in value]
        case _:
            return value

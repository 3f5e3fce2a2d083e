"""The JSON Schema of the spec language, for editors."""

from __future__ import annotations

import json
from typing import Any

from resnet_compile.spec.network import NetworkSpec


def network_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a network spec, as kept in ``specs/network.schema.json``."""
    schema = NetworkSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def network_schema_text() -> str:
    """`network_schema` as the text of its file."""
    return json.dumps(network_schema(), indent=2, ensure_ascii=False) + "\n"

"""The JSON Schema of the spec language, for editors."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

from resnet_compile.checked import CheckedModel
from resnet_compile.checked.describing import described
from resnet_compile.spec.network import NetworkSpec

_PACKAGE = __package__.partition(".")[0]
# The modules that define the language, each after those that it uses.
_MODULES = ("schemes", "spec.parts", "spec.roots", "spec.units", "spec.network")


def network_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a network spec, as kept in ``specs/network.schema.json``."""
    for name in _MODULES:
        for model in _models(sys.modules[f"{_PACKAGE}.{name}"]):
            described(model)
    schema = NetworkSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def network_schema_text() -> str:
    """The text of ``specs/network.schema.json``: `network_schema` as JSON."""
    return json.dumps(network_schema(), indent=2, ensure_ascii=False) + "\n"


def _models(module: ModuleType) -> list[type[CheckedModel]]:
    """The models that a module defines, in order."""
    own = (each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__)
    return [each for each in own if isinstance(each, type) and issubclass(each, CheckedModel)]

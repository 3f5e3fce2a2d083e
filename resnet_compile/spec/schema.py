"""The JSON Schema of the spec language, for editors."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from resnet_compile.checked import CheckedModel
from resnet_compile.spec.network import NetworkSpec

_PACKAGE = __package__.partition(".")[0]
# The modules that define the language, each after those that it uses.
_MODULES = ("schemes", "spec.parts", "spec.roots", "spec.units", "spec.network")


def network_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a network spec, as kept in ``specs/network.schema.json``."""
    for name in _MODULES:
        for model in _models(sys.modules[f"{_PACKAGE}.{name}"]):
            _describe(model)
    schema = NetworkSpec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def network_schema_text() -> str:
    """The text of ``specs/network.schema.json``: `network_schema` as JSON."""
    return json.dumps(network_schema(), indent=2, ensure_ascii=False) + "\n"


def _models(module: ModuleType) -> list[type[CheckedModel]]:
    """The models that a module defines, in order."""
    own = (each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__)
    return [each for each in own if isinstance(each, type) and issubclass(each, CheckedModel)]


def _describe(model: type[CheckedModel]) -> None:
    """Makes the docstring below each field its description, unless it has one.

    pydantic can do this itself (`use_attribute_docstrings`), but reads the sources at every import.
    """
    for cls in model.__mro__:
        for name, text in _attribute_docstrings(cls):
            if name in model.model_fields and model.model_fields[name].description is None:
                model.model_fields[name].description = text
    model.model_rebuild(force=True)


def _attribute_docstrings(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """The names of a class's attributes, with the docstrings below them."""
    if not cls.__module__.startswith(_PACKAGE):
        return
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            for before, after in zip(node.body, node.body[1:], strict=False):
                match before, after:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        yield name, inspect.cleandoc(text)

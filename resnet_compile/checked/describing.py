"""JSON Schemas of models, dataclasses and documents made of them, with a description of every field."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from resnet_compile.checked.model import CheckedModel

_PACKAGE = __package__.partition(".")[0]


def described(model: type[CheckedModel]) -> None:
    """Makes the docstring below each field of a model its description, unless it has one.

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


def many(kind: Any) -> Any:
    """The type of a list of values of a type that `record` made."""
    return list[kind]


def record(name: str, text: str, base: type[Any] | None = None, /, **fields: tuple[Any, ...]) -> Any:
    """A type for a document: the fields of a dataclass, and others.

    Args:
        name: The type's name.
        text: Its description.
        base: A dataclass; the type gets its fields, with their descriptions.
        fields: The type and the description of each other field. Any third value makes the field optional.
    """
    made: dict[str, Any] = {}
    if base is not None:
        types, texts = get_type_hints(base), _documented(base.__doc__ or "")
        made = {
            each.name: (types[each.name], Field(description=texts.get(each.name))) for each in dataclasses.fields(base)
        }
    for key, (kind, words, *absent) in fields.items():
        made.pop(key, None)
        # A name such as ``class`` is not an identifier of Python.
        made[f"{key}_"] = (kind, Field(*[None] if absent else [...], alias=key, description=words))
    return create_model(name, __doc__=text, __config__=ConfigDict(extra="forbid"), **made)


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a type; its objects may have no other fields.

    A dataclass's description is its docstring; those of its fields are under ``Attributes:`` there.
    """
    schema: dict[str, Any] = TypeAdapter(kind).json_schema(by_alias=True)
    for cls in _dataclasses(kind, set()):
        # Newer versions of pydantic do this themselves, 2.11 does not.
        if cls.__name__ in schema.get("$defs", {}):
            schema["$defs"][cls.__name__]["description"] = inspect.cleandoc(cls.__doc__ or "")
    for each in _objects(schema):
        texts = _documented(each.get("description", ""))
        if texts:
            each["description"] = each["description"].partition("\n\nAttributes:")[0]
        for name, field in each["properties"].items():
            if name in texts:
                field.setdefault("description", texts[name])
            field.pop("default", None)
            field.pop("title", None)
        each["additionalProperties"] = False
    return schema


def _dataclasses(kind: Any, seen: set[Any]) -> Iterator[type[Any]]:
    """The dataclasses that a type is made of."""
    if kind in seen:
        return
    seen.add(kind)
    parts = [*get_args(kind)]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
        parts += get_type_hints(kind).values()
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        parts += (field.annotation for field in kind.model_fields.values())
    for part in parts:
        yield from _dataclasses(part, seen)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """The schemas of objects with fields, in a schema."""
    if isinstance(schema, Mapping):
        if "properties" in schema and isinstance(schema, dict):
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def _documented(docstring: str) -> dict[str, str]:
    """The descriptions under ``Attributes:`` of a docstring, by name."""
    section = inspect.cleandoc(docstring).partition("\nAttributes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}

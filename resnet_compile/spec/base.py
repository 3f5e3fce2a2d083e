"""The base classes of spec models, and types of fields that several have."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic_core import CoreSchema

from resnet_compile.checked import CheckedModel, invalid
from resnet_compile.errors import SpecError
from resnet_compile.limits import MAX_DEPTH, MAX_STRIDE


class SpecModel(CheckedModel):
    """A part of a spec."""

    raises = SpecError


class PositionalModel(SpecModel):
    """A part with positional values, like TF-slim's namedtuples: positional arguments and tuples in Python, arrays in
    JSON.
    """

    places: ClassVar[tuple[str, ...]]
    """The positional fields in order, required ones first."""

    def __init__(self, /, *values: Any, **named: Any) -> None:
        by_place = dict(zip(self.places, values, strict=False))
        if len(values) > len(self.places):
            allowed = ", ".join(self.places)
            raise self.raises(f"at most {len(self.places)} positional values ({allowed}), got {len(values)}")
        if twice := [name for name in by_place if name in named]:
            raise self.raises("given by position and by name", where=f"$.{twice[0]}")
        super().__init__(**by_place, **named)

    # As in `CheckedModel`.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _by_their_places(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        if len(value) > len(cls.places):
            raise invalid(f"at most {len(cls.places)} values ({', '.join(cls.places)}), got {len(value)}")
        return dict(zip(cls.places, value, strict=False))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """An object, or an array of its values."""
        schema = handler.resolve_ref_schema(handler(core))
        named = dict(schema)
        required = sum(name in named["required"] for name in cls.places)
        by_place = {
            "type": "array",
            "description": f"The same as an array: {', '.join(cls.places)}.",
            "prefixItems": [named["properties"][name] for name in cls.places],
            "items": False,
            "minItems": required,
        }
        schema.clear()
        schema["anyOf"] = [named, by_place]
        return schema


Scope = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=200)]
NetworkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*$", max_length=200)]
Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
Stride = Annotated[int, Field(ge=1, le=MAX_STRIDE)]

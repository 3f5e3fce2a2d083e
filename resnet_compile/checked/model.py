"""The base class of specs and options: frozen, strict, without unknown keys; changed copies are checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, ParamSpec, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, validate_call

from resnet_compile.checked.faults import shortened, translating
from resnet_compile.checked.text import parse_json
from resnet_compile.errors import OptionError, UsageError
from resnet_compile.limits import MAX_BATCH, MAX_CLASSES, MAX_SEED, MAX_SIDE, MAX_THREADS

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_Args = ParamSpec("_Args")
_Made = TypeVar("_Made")


class CheckedModel(BaseModel):
    """A frozen value that refuses unknown keys and values of another type.

    Raises:
        ResnetCompileError: A field is wrong; `SpecError` for a spec, `OptionError` for options. The message lists all
            faults with their paths; `where` is the path of the first.
    """

    model_config = ConfigDict(**_STRICT, frozen=True, extra="forbid", defer_build=True)
    raises: ClassVar[type[UsageError]] = OptionError

    def __init__(self, /, **values: Any) -> None:
        with translating(type(self)):
            super().__init__(**values)

    # pydantic sets this on its own. Without it, pydantic would call this method for nested models, and the path of a
    # fault would begin there.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    if not TYPE_CHECKING:  # a type checker would then accept any name as a field

        def __setattr__(self, name: str, value: Any) -> None:
            with translating(type(self)):
                super().__setattr__(name, value)

    @classmethod
    def given(cls, value: object) -> Self:
        """The value itself; None stands for the defaults."""
        return cls() if value is None else cls.model_validate(value)

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """The value itself, or one made from a dict. Pydantic's method, with this package's errors."""
        if not isinstance(obj, cls | dict):
            raise cls.raises(f"must be a {cls.__name__}, got {shortened(repr(obj))}")
        with translating(cls):
            return super().model_validate(obj, **how)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **how: Any) -> Self:
        """A value made from JSON. Pydantic's method, with this package's errors; duplicate keys are refused."""
        made: Self = parse_json(cls, json_data, **how)
        return made

    def replace(self, **changes: Any) -> Self:
        """A copy with changed fields, checked as a whole.

        For example `spec.replace(output_stride=16)`, or `spec.replace(head=spec.head.replace(num_classes=37))`.

        Raises:
            ResnetCompileError: As for the class.
        """
        keys = {name: field.alias or name for name, field in type(self).model_fields.items()}
        kept = {keys[name]: value for name, value in self if name in self.model_fields_set}
        return type(self)(**{**kept, **{keys.get(name, name): value for name, value in changes.items()}})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Pydantic's method; `replace` checks the update."""
        copied = super().model_copy(deep=deep)
        return copied.replace(**update) if update else copied


def checked_call(kind: type[CheckedModel]) -> Callable[[Callable[_Args, _Made]], Callable[_Args, _Made]]:
    """Decorates a function: a call checks its arguments against their annotations, like a model's fields.

    Args:
        kind: The model with the error to raise.
    """

    def decorate(function: Callable[_Args, _Made]) -> Callable[_Args, _Made]:
        @cache  # made at the first call: a command calls few of these functions
        def checked() -> tuple[inspect.Signature, Callable[..., _Made]]:
            return inspect.signature(function), validate_call(config=_STRICT)(function)

        @wraps(function)
        def call(*args: _Args.args, **kwargs: _Args.kwargs) -> _Made:
            signature, validated = checked()
            bound = signature.bind(*args, **kwargs)
            with translating(kind):
                return validated(**bound.arguments)  # by name, for the path of a fault

        return call

    return decorate


Positive = Annotated[int, Field(ge=1)]
PositiveNumber = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Batch = Annotated[int, Field(ge=1, le=MAX_BATCH)]
Classes = Annotated[int, Field(ge=1, le=MAX_CLASSES)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Threads = Annotated[int, Field(ge=0, le=MAX_THREADS)]
Batches = Annotated[tuple[Batch, ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]

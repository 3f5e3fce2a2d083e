"""An operator's attributes: the allowed values of each, and access with ONNX's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from resnet_compile.errors import GraphError

Attribute = int | float | str | tuple[int, ...]
_NAMES = {"int": "an integer", "float": "a float", "text": "a string", "ints": "integers"}


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """The rule for one attribute of an operator.

    Attributes:
        kind: Its type; `ints` is a tuple.
        default: Its default; for `ints`, the number in every position. None for no default.
        required: Whether it must be given.
        allowed: The allowed values; empty for any.
        since: The first opset that has it.
        before: The first opset without it; 0 if there is none.
    """

    kind: Literal["int", "float", "text", "ints"]
    default: int | float | str | None = None
    required: bool = False
    allowed: tuple[int | str, ...] = ()
    since: int = 0
    before: int = 0

    def fault(self, value: object) -> str | None:
        """The fault of a value; None if it is allowed."""
        match self.kind:
            case "int":
                fits = type(value) is int
            case "float":
                fits = type(value) is float
            case "text":
                fits = type(value) is str
            case "ints":
                fits = type(value) is tuple and all(type(item) is int for item in value)
        if not fits:
            return f"must be {_NAMES[self.kind]}, got {value!r}"
        if self.allowed and value not in self.allowed:
            return f"must be {' or '.join(map(repr, self.allowed))}, got {value!r}"
        return None


class Attributes(Mapping[str, Attribute]):
    """The attributes of a node, checked by its operator's rules.

    The mapping has the given attributes. `integer`, `number`, `text` and `integers` return one, or its default.

    Args:
        given: Values by ONNX's names.
        rules: The operator's rules.

    Raises:
        GraphError: The operator has no such attribute, one has the wrong type, or a required one is missing.
    """

    __slots__ = ("_given", "_rules")

    def __init__(self, given: Mapping[str, Attribute], rules: Mapping[str, AttributeRule]) -> None:
        for name, value in given.items():
            if name not in rules:
                known = f"has {', '.join(rules)}" if rules else "has none"
                raise GraphError(f"no attribute {name} (it {known})")
            if fault := rules[name].fault(value):
                raise GraphError(f"{name} {fault}")
        if missing := [name for name, rule in rules.items() if rule.required and name not in given]:
            raise GraphError(f"the attribute {missing[0]} is required")
        self._given = dict(given)
        self._rules = rules

    def __getitem__(self, name: str) -> Attribute:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def integer(self, name: str) -> int:
        return cast(int, self._given.get(name, self._rules[name].default))

    def number(self, name: str) -> float:
        return cast(float, self._given.get(name, self._rules[name].default))

    def text(self, name: str) -> str:
        return cast(str, self._given.get(name, self._rules[name].default))

    def integers(self, name: str, count: int | None = None) -> tuple[int, ...]:
        """A tuple of integers; by default `count` times the default.

        Raises:
            GraphError: There are more or fewer than `count`.
        """
        values = cast(tuple[int, ...], self._given.get(name, (self._rules[name].default,) * (count or 0)))
        if count is not None and len(values) != count:
            raise GraphError(f"{name} must be {count} integers, got {list(values)}")
        return values

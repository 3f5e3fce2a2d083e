"""The stack machine of a pickle, without Python's unpickler.

An unpickler imports what a pickle names and calls it; that is how a hostile file runs code. This machine can do
neither: all it builds are dicts, lists, tuples, strings, numbers and descriptions of tensors and of objects, so nothing
outlives it that could act later. Work and memory are linear in the pickle's size: mapping keys are scalars, because
hashing nested tuples that share their parts takes exponential time, and an index of the memo is only a key.
"""

from __future__ import annotations

from typing import Any

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.torch.names import construct, enter, named, stored
from resnet_compile.checkpoints.torch.values import (
    Array,
    ArrayType,
    Name,
    PickleError,
    Record,
    Storage,
    TensorView,
)


class Machine:
    """The stack and the memo of one pickle; `marks` holds the heights of the stack at which MARKs stand.

    Args:
        folder: What stands before the keys of its storages.

    Attributes:
        names: The names in it that mean nothing here.
        storages: The storages that it names, by their keys.
    """

    def __init__(self, folder: str = "") -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.names: set[Name] = set()
        self.storages: dict[str, Storage] = {}
        self._folder = folder

    def result(self) -> Any:
        """The one value that a whole pickle leaves."""
        value = self.pop()
        if self.stack or self.marks:
            raise PickleError("the pickle leaves more than one value")
        return value

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def pop(self) -> Any:
        """The value on top, which has to lie above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("the pickle takes a value from an empty stack")
        return self.stack.pop()

    def drop(self) -> None:
        """Remove the value, or the mark, on top."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def top(self) -> Any:
        """The value on top, left there."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("the pickle takes a value from an empty stack")
        return self.stack[-1]

    def pop_many(self, count: int) -> list[Any]:
        """So many values from the top, the uppermost last."""
        return [self.pop() for _ in range(count)][::-1]

    def pop_to_mark(self) -> list[Any]:
        """The values above the last mark, which goes with them."""
        if not self.marks:
            raise PickleError("the pickle looks for a mark that was not set")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def put(self, index: int) -> None:
        """Remember the value on top."""
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Push a value of the memo."""
        if index not in self.memo:
            raise PickleError("the pickle reads a memo entry that it never wrote")
        self.stack.append(self.memo[index])

    def named(self, module: object, name: object) -> object:
        """The value of a name."""
        found = named(module, name)
        if isinstance(found, Name):
            self.names.add(found)
        return found

    def persistent(self, identity: object) -> None:
        """Push a storage."""
        found = stored(identity, self._folder)
        if isinstance(found, Storage) and self.storages.setdefault(found.key, found).kind != found.kind:
            raise PickleError("a storage of two types")
        self.push(found)

    def call(self, *parts: object) -> None:
        """Push what a function makes of its arguments, and perhaps of those that are given by name."""
        self.push(construct(*parts))

    def instance(self, name: tuple[str, str]) -> None:
        """Push what a function of this name makes of all above the last mark."""
        self.call(self.named(*name), tuple(self.pop_to_mark()))

    def call_on(self, parts: list[Any]) -> None:
        """Push what a function makes of the arguments behind it."""
        if not parts:
            raise PickleError("the pickle takes a value from an empty stack")
        self.call(parts[0], tuple(parts[1:]))

    def set_items(self, items: list[Any]) -> None:
        """Alternating keys and values, into the mapping on top."""
        target = self.top()
        target = target.items if isinstance(target, Record) else target
        if type(target) is not dict or len(items) % 2:
            raise PickleError("the pickle sets items of a value that is not a mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            enter(target, key, value)

    def make_dict(self, items: list[Any]) -> None:
        """Push a mapping of alternating keys and values."""
        self.push({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        """Values, onto the list on top, or into the set, which is a list here."""
        target = self.top()
        target = target.elements if isinstance(target, Record) else target
        if type(target) is not list:
            raise PickleError("the pickle appends to a value that is not a list")
        target.extend(items)

    def build(self) -> None:
        """Give the value on top its state. What a mapping or a tensor has beside its contents is left out."""
        state = self.pop()
        match self.top():
            case Array() | ArrayType() as target:
                target.build(state)
            case Record(states=states):
                states.append(state)
            case dict():
                pass
            case TensorView() | Unread() if isinstance(state, dict):  # other states would be other values
                pass
            case _:
                raise PickleError("the pickle sets attributes of a value that has none")

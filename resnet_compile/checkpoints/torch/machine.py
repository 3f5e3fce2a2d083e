"""The stack machine of a pickle, without Python's unpickler.

An unpickler imports and calls the names in a pickle; that is how a hostile file runs code. This machine does neither.
It builds dicts, lists, tuples, strings, numbers, and descriptions of tensors and objects, none of which can run code
later. Work and memory are linear in the pickle's size: mapping keys are scalars, because hashing nested tuples that
share their parts takes exponential time, and the memo is a dict, so a large index costs nothing.
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
    """The stack and the memo of one pickle, and what it named: unknown names, and storages by key.

    `marks` holds the stack heights of its MARKs. `folder` is the prefix of its storages' keys.
    """

    def __init__(self, folder: str = "") -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.names: set[Name] = set()
        self.storages: dict[str, Storage] = {}
        self._folder = folder

    def result(self) -> Any:
        """The value of the whole pickle; raises if it is not the only one on the stack."""
        value = self.pop()
        if self.stack or self.marks:
            raise PickleError("the pickle leaves more than one value")
        return value

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def pop(self) -> Any:
        """Removes and returns the value on top; raises if there is none above the last mark."""
        self.top()
        return self.stack.pop()

    def drop(self) -> None:
        """Removes the value, or the mark, on top."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("the pickle takes a value from an empty stack")
        return self.stack[-1]

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def pop_to_mark(self) -> list[Any]:
        """Removes the last mark and the values above it, and returns these."""
        if not self.marks:
            raise PickleError("the pickle looks for a mark that was not set")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Pushes a value of the memo."""
        if index not in self.memo:
            raise PickleError("the pickle reads a memo entry that it never wrote")
        self.stack.append(self.memo[index])

    def named(self, module: object, name: object) -> object:
        """The value of a name; notes an unknown one."""
        found = named(module, name)
        if isinstance(found, Name):
            self.names.add(found)
        return found

    def persistent(self, identity: object) -> None:
        """Pushes the storage of a persistent id."""
        found = stored(identity, self._folder)
        if isinstance(found, Storage) and self.storages.setdefault(found.key, found).kind != found.kind:
            raise PickleError("a storage of two types")
        self.push(found)

    def call(self, *parts: object) -> None:
        """Pushes the result of a function on a tuple of arguments, and optional keyword arguments."""
        self.push(construct(*parts))

    def call_on(self, parts: list[Any]) -> None:
        """Pushes the result of a function on the arguments after it."""
        if not parts:
            raise PickleError("the pickle takes a value from an empty stack")
        self.call(parts[0], tuple(parts[1:]))

    def set_items(self, items: list[Any]) -> None:
        """Sets items of the mapping on top, from alternating keys and values."""
        target = self.top()
        target = target.items if isinstance(target, Record) else target
        if type(target) is not dict or len(items) % 2:
            raise PickleError("the pickle sets items of a value that is not a mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            enter(target, key, value)

    def make_dict(self, items: list[Any]) -> None:
        self.push({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        """Appends values to the list on top; a set is a list here."""
        target = self.top()
        target = target.elements if isinstance(target, Record) else target
        if type(target) is not list:
            raise PickleError("the pickle appends to a value that is not a list")
        target.extend(items)

    def build(self) -> None:
        """Sets the state, on top, of the value below it. Attributes of mappings and tensors are ignored."""
        state = self.pop()
        match self.top():
            case Array() | ArrayType() as target:
                target.build(state)
            case Record(states=states):
                states.append(state)
            case dict():
                pass
            case TensorView() | Unread() if isinstance(state, dict):  # another state would change the values
                pass
            case _:
                raise PickleError("the pickle sets attributes of a value that has none")

"""The stack machine of a pickle, without Python's unpickler.

An unpickler imports what a pickle names and calls it; that is how a hostile file runs code. This machine can do
neither: all it builds are dicts, lists, tuples, strings, numbers and descriptions of tensors, so nothing outlives it
that could act later. Work and memory are linear in the pickle's size, which is bounded: mapping keys are scalars,
because hashing nested tuples that share their parts takes exponential time.
"""

from __future__ import annotations

from typing import Any

from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.checkpoints.torch.names import PickleError


class Machine:
    """The stack and the memo of one pickle; `marks` holds the heights of the stack at which MARKs stand."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """The one value that a whole pickle leaves."""
        value = self.pop()
        if self.stack or self.marks:
            raise PickleError("the pickle leaves more than one value")
        return value

    def push(self, value: Any) -> None:
        """Put a value on top."""
        self.stack.append(value)

    def mark(self) -> None:
        """Set a mark on top."""
        self.marks.append(len(self.stack))

    def pop(self) -> Any:
        """The value on top, which has to lie above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("the pickle takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        """The value on top, left there."""
        self.push(value := self.pop())
        return value

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
            raise PickleError("the pickle gets a value from the memo that was not put there")
        self.stack.append(self.memo[index])

    def set_items(self, items: list[Any]) -> None:
        """Alternating keys and values, into the dict on top."""
        target = self.top()
        if type(target) is not dict or len(items) % 2:
            raise PickleError("the pickle sets items of something else than a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key is not None and type(key) not in (str, int, float, bool):
                raise PickleError("a mapping's key is neither a string nor a number")
            if key in target:
                raise PickleError(f"a mapping has the key {printable(str(key))} twice")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        """Values, onto the list on top."""
        target = self.top()
        if type(target) is not list:
            raise PickleError("the pickle appends to something else than a list")
        target.extend(items)

    def build(self) -> None:
        """Drop an OrderedDict's attributes, such as the `_metadata` of a state dict; nothing else may have any."""
        self.pop()
        if type(self.top()) is not dict:
            raise PickleError("the pickle sets the attributes of something else than a mapping")

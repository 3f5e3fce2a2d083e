"""The pickle inside a PyTorch file, interpreted without Python's unpickler.

An unpickler imports what a pickle names and calls it; that is how a hostile file runs code. This machine can do
neither: it knows the thirty opcodes that `torch.save` writes for tensors in plain containers, and takes names from the
closed list of `torch_names`. Any other opcode or name is an error. All it builds are dicts, lists, tuples, strings,
numbers and descriptions of tensors, so nothing outlives it that could act later. Work and memory are linear in the
pickle's size, which is bounded: mapping keys are scalars, because hashing nested tuples that share their parts takes
exponential time.
"""

from __future__ import annotations

from typing import Any

from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.checkpoints.torch.names import GLOBALS, Constructor, PickleError, Storage, StorageType
from resnet_compile.checkpoints.torch.opcodes import opcodes

MAX_PICKLE = 16 << 20  # a tensor takes about 120 bytes
MAX_OPCODES = 2_000_000  # a tensor takes about 40


def interpret(pickle: bytes) -> object:
    """The value that a pickle describes, every tensor in it a `torch_names.Tensor`.

    Raises:
        PickleError: The pickle is damaged, too large, or asks for something outside the closed lists.
    """
    if len(pickle) > MAX_PICKLE:
        raise PickleError(f"the pickle takes {len(pickle)} bytes; {MAX_PICKLE} are allowed")
    machine = _Machine()
    for count, (name, argument) in enumerate(opcodes(pickle)):
        if count == MAX_OPCODES:
            raise PickleError(f"the pickle has more than {MAX_OPCODES} opcodes")
        machine.step(name, argument)
    value = machine.pop()
    if machine.stack or machine.marks:
        raise PickleError("the pickle leaves more than one value")
    return value


class _Machine:
    """The stack and the memo of one pickle; `marks` holds the heights of the stack at which MARKs stand."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Execute one opcode."""
        match name:
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top()
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "BINGET" | "LONG_BINGET":
                self.get(argument)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES":
                self.stack.append(argument)
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.pop() for _ in range(int(name[-1]))]
                self.stack.append(tuple(reversed(items)))
            case "GLOBAL":
                self.stack.append(_global(*argument))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                self.stack.append(_global(module, attribute))
            case "BINPERSID":
                self.stack.append(_storage(self.pop()))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(_construct(function, arguments))
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.set_items([key, value])
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "APPEND":
                self.append([self.pop()])
            case "APPENDS":
                self.append(self.pop_to_mark())
            case "BUILD":
                self.build()
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(name == "NEWTRUE")
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_TUPLE":
                self.stack.append(())
            case _:  # PROTO and FRAME, which a reader of the whole pickle need not know
                pass

    def pop(self) -> Any:
        """The value on top, which has to lie above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("the pickle takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        """The value on top, left there."""
        self.stack.append(value := self.pop())
        return value

    def pop_to_mark(self) -> list[Any]:
        """The values above the last mark, which goes with them."""
        if not self.marks:
            raise PickleError("the pickle looks for a mark that was not set")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

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


def _global(module: object, name: object) -> object:
    """What a name of the closed list stands for. The lookup is by the whole name: no attribute is ever followed."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise PickleError("the pickle names something by other than two strings")
    if (module, name) not in GLOBALS:
        raise PickleError(f"the pickle names {printable(f'{module}.{name}')}, which is not on the closed list: refused")
    return GLOBALS[module, name]


def _construct(function: object, arguments: object) -> object:
    if not isinstance(function, Constructor) or not isinstance(arguments, tuple):
        raise PickleError("the pickle calls something that is no function of the closed list: refused")
    return function.build(arguments)


def _storage(identity: object) -> Storage:
    """A persistent id: ("storage", storage class, key, device, number of elements)."""
    match identity:
        case ("storage", StorageType() as kind, str() as key, str(), int() as count) if type(count) is int:
            return Storage(key, kind.dtype, count)
        case _:
            raise PickleError("a storage is not described as PyTorch describes one")

"""The pickles in PyTorch files: the thirty opcodes that `torch.save` writes for tensors in plain containers.

Any other opcode is an error. `pickletools.genops` would decode them all, but warns about, and takes, escapes in text
that a pickle cannot have. Source: the comments of Python's `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from resnet_compile.checkpoints.torch.machine import Machine
from resnet_compile.checkpoints.torch.names import PickleError, construct, named, stored

MAX_PICKLE = 16 << 20  # a tensor takes about 120 bytes
MAX_OPCODES = 2_000_000  # a tensor takes about 40


def interpret(pickle: bytes) -> object:
    """The value that a pickle describes, every tensor in it a `TensorView`.

    Raises:
        PickleError: The pickle is damaged, too large, or asks for something outside the closed lists.
    """
    if len(pickle) > MAX_PICKLE:
        raise PickleError(f"the pickle takes {len(pickle)} bytes; {MAX_PICKLE} are allowed")
    reader, machine = _Pickle(pickle), Machine()
    for _ in range(MAX_OPCODES):
        code = reader.take(1)[0]
        if code == _STOP:
            break
        if code not in _OPCODES:
            raise PickleError(f"the pickle uses the opcode 0x{code:02x}, which no state dict needs")
        argument, act = _OPCODES[code]
        act(machine, argument(reader))
    else:
        raise PickleError(f"the pickle has more than {MAX_OPCODES} opcodes")
    if reader.position != len(pickle):
        raise PickleError("bytes after the pickle's end")
    return machine.result()


class _Pickle:
    """A position in a pickle; reading past its end is a `PickleError`."""

    def __init__(self, pickle: bytes) -> None:
        self._pickle = pickle
        self.position = 0

    def take(self, size: int) -> bytes:
        self.position += size
        if self.position > len(self._pickle):
            raise PickleError("the pickle is truncated")
        return self._pickle[self.position - size : self.position]

    def sized(self, width: int) -> bytes:
        """Bytes after a length of `width` bytes."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def line(self) -> bytes:
        end = self._pickle.find(b"\n", self.position)
        line = self.take(end - self.position if end >= 0 else len(self._pickle) + 1)
        self.position += 1
        return line


def _nothing(reader: _Pickle) -> None:
    """The argument of an opcode that has none."""


def _ignore(machine: Machine, argument: object) -> None:
    """What an opcode does that only a reader of a stream needs."""


def _number(layout: str) -> Callable[[_Pickle], int | float]:
    packed = struct.Struct(layout)
    return lambda reader: packed.unpack(reader.take(packed.size))[0]


def _long(reader: _Pickle) -> int:
    return int.from_bytes(reader.sized(1), "little", signed=True)


def _bytes(width: int) -> Callable[[_Pickle], bytes]:
    return lambda reader: reader.sized(width)


def _string(width: int) -> Callable[[_Pickle], str]:
    return lambda reader: _text(reader.sized(width))


def _lines(reader: _Pickle) -> tuple[str, str]:
    return _text(reader.line()), _text(reader.line())


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PickleError("a string in the pickle is not UTF-8") from error


_STOP = ord(".")
# Opcode: how its argument is read, and what is done with it.
_OPCODES: MappingProxyType[int, tuple[Callable[[_Pickle], Any], Callable[[Machine, Any], None]]] = MappingProxyType(
    {
        0x80: (_number("<B"), _ignore),  # PROTO
        0x95: (_number("<Q"), _ignore),  # FRAME
        ord("("): (_nothing, lambda machine, _: machine.mark()),  # MARK
        ord("N"): (_nothing, lambda machine, _: machine.push(None)),  # NONE
        0x88: (_nothing, lambda machine, _: machine.push(True)),  # NEWTRUE
        0x89: (_nothing, lambda machine, _: machine.push(False)),  # NEWFALSE
        ord("J"): (_number("<i"), Machine.push),  # BININT
        ord("K"): (_number("<B"), Machine.push),  # BININT1
        ord("M"): (_number("<H"), Machine.push),  # BININT2
        0x8A: (_long, Machine.push),  # LONG1
        ord("G"): (_number(">d"), Machine.push),  # BINFLOAT
        ord("X"): (_string(4), Machine.push),  # BINUNICODE
        0x8C: (_string(1), Machine.push),  # SHORT_BINUNICODE
        ord("B"): (_bytes(4), Machine.push),  # BINBYTES
        ord("C"): (_bytes(1), Machine.push),  # SHORT_BINBYTES
        ord("}"): (_nothing, lambda machine, _: machine.push({})),  # EMPTY_DICT
        ord("]"): (_nothing, lambda machine, _: machine.push([])),  # EMPTY_LIST
        ord(")"): (_nothing, lambda machine, _: machine.push(())),  # EMPTY_TUPLE
        ord("s"): (_nothing, lambda machine, _: machine.set_items(machine.pop_many(2))),  # SETITEM
        ord("u"): (_nothing, lambda machine, _: machine.set_items(machine.pop_to_mark())),  # SETITEMS
        ord("a"): (_nothing, lambda machine, _: machine.append(machine.pop_many(1))),  # APPEND
        ord("e"): (_nothing, lambda machine, _: machine.append(machine.pop_to_mark())),  # APPENDS
        ord("t"): (_nothing, lambda machine, _: machine.push(tuple(machine.pop_to_mark()))),  # TUPLE
        0x85: (_nothing, lambda machine, _: machine.push(tuple(machine.pop_many(1)))),  # TUPLE1
        0x86: (_nothing, lambda machine, _: machine.push(tuple(machine.pop_many(2)))),  # TUPLE2
        0x87: (_nothing, lambda machine, _: machine.push(tuple(machine.pop_many(3)))),  # TUPLE3
        ord("q"): (_number("<B"), Machine.put),  # BINPUT
        ord("r"): (_number("<I"), Machine.put),  # LONG_BINPUT
        0x94: (_nothing, lambda machine, _: machine.put(len(machine.memo))),  # MEMOIZE
        ord("h"): (_number("<B"), Machine.get),  # BINGET
        ord("j"): (_number("<I"), Machine.get),  # LONG_BINGET
        ord("c"): (_lines, lambda machine, names: machine.push(named(*names))),  # GLOBAL
        0x93: (_nothing, lambda machine, _: machine.push(named(*machine.pop_many(2)))),  # STACK_GLOBAL
        ord("Q"): (_nothing, lambda machine, _: machine.push(stored(machine.pop()))),  # BINPERSID
        ord("R"): (_nothing, lambda machine, _: machine.push(construct(*machine.pop_many(2)))),  # REDUCE
        ord("b"): (_nothing, lambda machine, _: machine.build()),  # BUILD
    }
)

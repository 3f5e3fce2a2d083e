"""The opcodes of pickles, protocols 0 to 5, except those that reach outside the file.

`pickletools.genops` is not used: it accepts, with a warning, text escapes that no pickle has. Source: the comments of
Python's `pickletools`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resnet_compile.checkpoints.torch.machine import Machine
from resnet_compile.checkpoints.torch.values import Name, PickleError, Storage

MAX_OPCODES = 2_000_000  # a tensor takes about 40

_MAX_NUMBER = 255  # bytes of an integer


@dataclass(frozen=True, slots=True)
class Pickled:
    """The contents of a pickle; tensors, arrays and objects in its value are those of `values`."""

    value: Any
    names: frozenset[Name]  # the unknown ones
    storages: Mapping[str, Storage]  # by key
    end: int  # the position after the pickle


def interpret(data: memoryview, start: int = 0, folder: str = "") -> Pickled:
    """The contents of the pickle that starts at a position of `data`; `folder` is the prefix of its storages' keys.

    Raises:
        PickleError: The pickle is damaged, too long, or refers to something outside the file.
    """
    reader, machine = _Pickle(data, start), Machine(folder)
    for _ in range(MAX_OPCODES):
        code = reader.code()
        if code == _STOP:
            return Pickled(machine.result(), frozenset(machine.names), machine.storages, reader.position)
        if code in _ACTIONS:
            _ACTIONS[code](machine)
        elif code in _OPCODES:
            argument, act = _OPCODES[code]
            act(machine, argument(reader))
        else:
            raise PickleError(f"the pickle uses the opcode 0x{code:02x}, which no checkpoint needs")
    raise PickleError(f"the pickle has more than {MAX_OPCODES} opcodes")


class _Pickle:
    """A position in a pickle; reading past its end raises a `PickleError`."""

    def __init__(self, data: memoryview, start: int) -> None:
        self._data = data
        self.position = start

    def code(self) -> int:
        self.position += 1
        if self.position > len(self._data):
            raise PickleError("the pickle is truncated")
        return self._data[self.position - 1]

    def take(self, size: int) -> memoryview:
        self.position += size
        if self.position > len(self._data):
            raise PickleError("the pickle is truncated")
        return self._data[self.position - size : self.position]

    def sized(self, width: int) -> memoryview:
        """Bytes after a length of `width` bytes."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def line(self) -> bytes:
        size = 256
        while True:
            piece = bytes(self._data[self.position : self.position + size])
            if (found := piece.find(b"\n")) >= 0:
                self.position += found + 1
                return piece[:found]
            if len(piece) < size:
                raise PickleError("the pickle is truncated")
            size *= 2


def _ignore(machine: Machine, argument: object) -> None:
    """The action of an opcode that only readers of streams need: nothing."""


def _number(layout: str) -> Callable[[_Pickle], int | float]:
    packed = struct.Struct(layout)
    return lambda reader: packed.unpack(reader.take(packed.size))[0]


def _long(width: int) -> Callable[[_Pickle], int]:
    def read(reader: _Pickle) -> int:
        raw = reader.sized(width)
        if len(raw) > _MAX_NUMBER:
            raise PickleError(f"a number of {len(raw)} bytes")
        return int.from_bytes(raw, "little", signed=True)

    return read


def _bytes(width: int) -> Callable[[_Pickle], memoryview]:
    return lambda reader: reader.sized(width)


def _string(width: int) -> Callable[[_Pickle], str]:
    return lambda reader: _text(reader.sized(width))


def _lines(reader: _Pickle) -> tuple[str, str]:
    return _text(reader.line()), _text(reader.line())


def _text(raw: bytes | memoryview, encoding: str = "utf-8") -> str:
    try:
        return str(raw, encoding)
    except UnicodeDecodeError as error:
        raise PickleError("a string in the pickle is not UTF-8") from error


def _written(make: Callable[[str], Any], pattern: str) -> Callable[[_Pickle], Any]:
    """A reader of the decimal numbers of protocol 0."""
    form = re.compile(pattern, re.ASCII)

    def read(reader: _Pickle) -> Any:
        if not (match := form.fullmatch(_text(reader.line()))):
            raise PickleError("a number in the pickle is malformed")
        return make(match[1])

    return read


def _integer(reader: _Pickle) -> int | bool:
    """An int, or a bool: `00` or `01`."""
    digits = _written(str, r"([+-]?[0-9]{1,600})")(reader)
    return bool(int(digits)) if digits in ("00", "01") else int(digits)


_FLOAT = r"([+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:e[+-]?[0-9]{1,9})?|inf|nan))"
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|([\\'\"nrt])|)")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _quoted(reader: _Pickle) -> memoryview:
    """A byte string as a literal of Python 2."""
    line = reader.line()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise PickleError("a string in the pickle is malformed")
    return memoryview(_ESCAPE.sub(_unescape, line[1:-1]))


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes.fromhex(found[1].decode())
    if found[2]:
        return _ESCAPED.get(found[2], found[2])
    raise PickleError("a string in the pickle is malformed")


_STOP = ord(".")
# Opcodes without an argument.
_ACTIONS: Mapping[int, Callable[[Machine], object]] = {
    ord("("): Machine.mark,  # MARK
    ord("0"): Machine.drop,  # POP
    ord("1"): Machine.pop_to_mark,  # POP_MARK
    ord("2"): lambda machine: machine.push(machine.top()),  # DUP
    ord("N"): lambda machine: machine.push(None),  # NONE
    0x88: lambda machine: machine.push(True),  # NEWTRUE
    0x89: lambda machine: machine.push(False),  # NEWFALSE
    ord("}"): lambda machine: machine.push({}),  # EMPTY_DICT
    ord("]"): lambda machine: machine.push([]),  # EMPTY_LIST
    0x8F: lambda machine: machine.push([]),  # EMPTY_SET
    ord(")"): lambda machine: machine.push(()),  # EMPTY_TUPLE
    ord("d"): lambda machine: machine.make_dict(machine.pop_to_mark()),  # DICT
    ord("l"): lambda machine: machine.push(machine.pop_to_mark()),  # LIST
    0x91: lambda machine: machine.push(machine.pop_to_mark()),  # FROZENSET
    ord("s"): lambda machine: machine.set_items(machine.pop_many(2)),  # SETITEM
    ord("u"): lambda machine: machine.set_items(machine.pop_to_mark()),  # SETITEMS
    ord("a"): lambda machine: machine.append(machine.pop_many(1)),  # APPEND
    ord("e"): lambda machine: machine.append(machine.pop_to_mark()),  # APPENDS
    0x90: lambda machine: machine.append(machine.pop_to_mark()),  # ADDITEMS
    ord("t"): lambda machine: machine.push(tuple(machine.pop_to_mark())),  # TUPLE
    0x85: lambda machine: machine.push(tuple(machine.pop_many(1))),  # TUPLE1
    0x86: lambda machine: machine.push(tuple(machine.pop_many(2))),  # TUPLE2
    0x87: lambda machine: machine.push(tuple(machine.pop_many(3))),  # TUPLE3
    0x94: lambda machine: machine.put(len(machine.memo)),  # MEMOIZE
    0x93: lambda machine: machine.push(machine.named(*machine.pop_many(2))),  # STACK_GLOBAL
    ord("Q"): lambda machine: machine.persistent(machine.pop()),  # BINPERSID
    ord("R"): lambda machine: machine.call(*machine.pop_many(2)),  # REDUCE
    0x81: lambda machine: machine.call(*machine.pop_many(2)),  # NEWOBJ
    0x92: lambda machine: machine.call(*machine.pop_many(3)),  # NEWOBJ_EX
    ord("o"): lambda machine: machine.call_on(machine.pop_to_mark()),  # OBJ
    ord("b"): Machine.build,  # BUILD
}
# The others: the reader of the argument, and the action.
_OPCODES: Mapping[int, tuple[Callable[[_Pickle], Any], Callable[[Machine, Any], None]]] = {
    0x80: (_Pickle.code, _ignore),  # PROTO
    0x95: (_number("<Q"), _ignore),  # FRAME
    ord("I"): (_integer, Machine.push),  # INT
    ord("L"): (_written(int, r"([+-]?[0-9]{1,600})L?"), Machine.push),  # LONG
    ord("F"): (_written(float, _FLOAT), Machine.push),  # FLOAT
    ord("J"): (_number("<i"), Machine.push),  # BININT
    ord("K"): (_Pickle.code, Machine.push),  # BININT1
    ord("M"): (_number("<H"), Machine.push),  # BININT2
    0x8A: (_long(1), Machine.push),  # LONG1
    0x8B: (_long(4), Machine.push),  # LONG4
    ord("G"): (_number(">d"), Machine.push),  # BINFLOAT
    ord("S"): (_quoted, Machine.push),  # STRING
    ord("T"): (_bytes(4), Machine.push),  # BINSTRING
    ord("U"): (_bytes(1), Machine.push),  # SHORT_BINSTRING
    ord("V"): (lambda reader: _text(reader.line(), "raw_unicode_escape"), Machine.push),  # UNICODE
    ord("X"): (_string(4), Machine.push),  # BINUNICODE
    0x8C: (_string(1), Machine.push),  # SHORT_BINUNICODE
    0x8D: (_string(8), Machine.push),  # BINUNICODE8
    ord("B"): (_bytes(4), Machine.push),  # BINBYTES
    ord("C"): (_bytes(1), Machine.push),  # SHORT_BINBYTES
    0x8E: (_bytes(8), Machine.push),  # BINBYTES8
    0x96: (_bytes(8), Machine.push),  # BYTEARRAY8
    ord("p"): (_written(int, r"([0-9]{1,18})"), Machine.put),  # PUT
    ord("q"): (_Pickle.code, Machine.put),  # BINPUT
    ord("r"): (_number("<I"), Machine.put),  # LONG_BINPUT
    ord("g"): (_written(int, r"([0-9]{1,18})"), Machine.get),  # GET
    ord("h"): (_Pickle.code, Machine.get),  # BINGET
    ord("j"): (_number("<I"), Machine.get),  # LONG_BINGET
    ord("c"): (_lines, lambda machine, names: machine.push(machine.named(*names))),  # GLOBAL
    ord("i"): (
        _lines,
        lambda machine, names: machine.call(machine.named(*names), tuple(machine.pop_to_mark())),
    ),  # INST
}

"""The opcodes of the pickles in PyTorch files, decoded and not executed.

Only those that a state dict in plain containers needs are known. `pickletools.genops` would decode them all, but warns
about, and takes, escapes in text that a pickle cannot have. Source: the comments of Python's `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from resnet_compile.checkpoints.torch.names import PickleError

# Opcode: name, and what follows: a struct format, `text` or `bytes` after a length of so many bytes, or two lines.
_OPCODES: MappingProxyType[int, tuple[str, str]] = MappingProxyType(
    {
        ord("("): ("MARK", ""),
        ord("."): ("STOP", ""),
        0x80: ("PROTO", "<B"),
        0x95: ("FRAME", "<Q"),
        ord("N"): ("NONE", ""),
        0x88: ("NEWTRUE", ""),
        0x89: ("NEWFALSE", ""),
        ord("J"): ("BININT", "<i"),
        ord("K"): ("BININT1", "<B"),
        ord("M"): ("BININT2", "<H"),
        0x8A: ("LONG1", "long"),
        ord("G"): ("BINFLOAT", ">d"),
        ord("X"): ("BINUNICODE", "text 4"),
        0x8C: ("SHORT_BINUNICODE", "text 1"),
        ord("B"): ("BINBYTES", "bytes 4"),
        ord("C"): ("SHORT_BINBYTES", "bytes 1"),
        ord("}"): ("EMPTY_DICT", ""),
        ord("]"): ("EMPTY_LIST", ""),
        ord(")"): ("EMPTY_TUPLE", ""),
        ord("s"): ("SETITEM", ""),
        ord("u"): ("SETITEMS", ""),
        ord("a"): ("APPEND", ""),
        ord("e"): ("APPENDS", ""),
        ord("t"): ("TUPLE", ""),
        0x85: ("TUPLE1", ""),
        0x86: ("TUPLE2", ""),
        0x87: ("TUPLE3", ""),
        ord("q"): ("BINPUT", "<B"),
        ord("r"): ("LONG_BINPUT", "<I"),
        0x94: ("MEMOIZE", ""),
        ord("h"): ("BINGET", "<B"),
        ord("j"): ("LONG_BINGET", "<I"),
        ord("c"): ("GLOBAL", "lines"),
        0x93: ("STACK_GLOBAL", ""),
        ord("Q"): ("BINPERSID", ""),
        ord("R"): ("REDUCE", ""),
        ord("b"): ("BUILD", ""),
    }
)


def opcodes(pickle: bytes) -> Iterator[tuple[str, Any]]:
    """Names and decoded arguments of the opcodes up to STOP, which has to be the last byte.

    Raises:
        PickleError: An opcode is not one of these, or its argument is damaged.
    """
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        position += size
        if position > len(pickle):
            raise PickleError("the pickle is truncated")
        return pickle[position - size : position]

    while True:
        (code,) = take(1)
        if code not in _OPCODES:
            raise PickleError(f"the pickle uses the opcode 0x{code:02x}, which no state dict needs")
        name, kind = _OPCODES[code]
        if name == "STOP":
            if position != len(pickle):
                raise PickleError("bytes after the pickle's end")
            return
        match kind.split():
            case []:
                yield name, None
            case ["lines"]:
                lines = []
                for _ in range(2):
                    end = pickle.find(b"\n", position)
                    if end < 0:
                        raise PickleError("the pickle is truncated")
                    lines.append(_text(take(end - position)))
                    take(1)
                yield name, lines
            case ["long"]:
                yield name, int.from_bytes(take(take(1)[0]), "little", signed=True)
            case ["text", width]:
                yield name, _text(take(int.from_bytes(take(int(width)), "little")))
            case ["bytes", width]:
                yield name, take(int.from_bytes(take(int(width)), "little"))
            case _:
                yield name, struct.unpack(kind, take(struct.calcsize(kind)))[0]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PickleError("a string in the pickle is not UTF-8") from error

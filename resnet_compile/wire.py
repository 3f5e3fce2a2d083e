"""Protobuf's wire format, read with every bound checked, and written.

A tag is a varint ``field number << 3 | wire type``. The wire type decides what follows: 0 a varint, 1 eight bytes, 2 a
varint length and that many bytes, 5 four bytes (https://protobuf.dev/programming-guides/encoding). No message that is
read here has groups, types 3 and 4.

Readers take `fail`, a function that makes an error of a message, since only the caller knows the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ResnetCompileError

Buffer: TypeAlias = bytes | memoryview
Fail: TypeAlias = Callable[[str], ResnetCompileError]

# A repeated field becomes a list, whose elements take more memory than their bytes in the file.
MAX_FIELDS = 1 << 20

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
# How many bytes of packed varints are widened to 64 bits at a time.
_PIECE = 1 << 18


def read_varint(data: Buffer, at: int, end: int, fail: Fail) -> tuple[int, int]:
    """Reads an unsigned 64-bit varint at `at`, which must stop before `end`: its value and the offset after it.

    Only the shortest form of a number is accepted. No writer of checkpoints uses another, and where no checksum covers
    the bytes, a longer form could hide a flipped bit: ``0x15`` and ``0x95 0x00`` are the same number.
    """
    if at < end and data[at] < 0x80:  # the usual case
        return data[at], at + 1
    value = shift = 0
    for position in range(at, min(at + _LONGEST_VARINT, end)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise fail(f"the varint at byte {at} is padded")
            if value >> 64:
                raise fail(f"the varint at byte {at} is over 64 bits")
            return value, position + 1
        shift += 7
    reason = "never ends" if end - at >= _LONGEST_VARINT else "is cut off"
    raise fail(f"the varint at byte {at} {reason}")


def fields(data: Buffer, fail: Fail) -> Iterator[tuple[int, int, int | Buffer]]:
    """The fields of one message in order, read lazily, so that the bulk of a mapped file is not touched.

    Args:
        data: The message's bytes.
        fail: Makes the error for a tag, length or varint that is malformed or points past the end.

    Yields:
        Field number, wire type, and the unsigned value of a number or the slice of `data` that a `BYTES` field holds
        (a view, if `data` is one).
    """
    at, end = 0, len(data)
    while at < end:
        tag, value, at = _field(data, at, end, fail)
        yield tag >> 3, tag & 7, value


def _field(data: Buffer, at: int, end: int, fail: Fail) -> tuple[int, int | Buffer, int]:
    """The tag and content of the field at `at`, and the offset after it."""
    tag = data[at]
    at += 1
    if tag >= 0x80:  # rare; a call for every tag would cost time
        tag, at = read_varint(data, at - 1, end, fail)
    wire = tag & 7
    if wire == VARINT:
        value, at = read_varint(data, at, end, fail)
        return tag, value, at
    if wire == BYTES:
        size, at = read_varint(data, at, end, fail)
    elif wire in (FIXED32, FIXED64):
        size = 4 if wire == FIXED32 else 8
    else:
        raise fail(f"a message has a field of wire type {wire}")
    stop = at + size
    if stop > end:
        raise fail(f"a field of {size} bytes ends past the end of its message")
    content = data[at:stop]
    return tag, content if wire == BYTES else int.from_bytes(content, "little"), stop


class Message:
    """The fields of one message by number; nested messages are parsed on demand.

    As in protobuf itself, unknown fields and fields of another wire type are ignored. A singular field that occurs
    twice is an error, and so are more than `MAX_FIELDS` fields.

    Args:
        data: The message's bytes; byte fields are slices of it (views, if it is a view).
        fail: Makes the error for a malformed message.
    """

    __slots__ = ("_fail", "_fields")

    def __init__(self, data: Buffer, fail: Fail) -> None:
        self._fail = fail
        self._fields: dict[int, list[Any]] = {}  # by tag: slices where its wire type is BYTES, else numbers
        at, end, left = 0, len(data), MAX_FIELDS
        while at < end:
            if not left:
                raise fail(f"a message has more than {MAX_FIELDS} fields")
            left -= 1
            tag, value, at = _field(data, at, end, fail)
            if tag in self._fields:
                self._fields[tag].append(value)
            else:
                self._fields[tag] = [value]

    def _once(self, number: int, wire: int, default: Any) -> Any:
        values = self._fields.get(number << 3 | wire)
        if values is None:
            return default
        if len(values) > 1:
            raise self._fail(f"field {number} stands more than once")
        return values[0]

    def int64(self, number: int, default: int = 0) -> int:
        """The signed value of a varint field; `default` if it is absent."""
        value: int = self._once(number, VARINT, default)
        return value - (1 << 64) if value >> 63 == 1 else value

    def int64s(self, number: int) -> tuple[int, ...]:
        """The signed values of a repeated varint field, packed or not."""
        values = self._fields.get(number << 3 | VARINT, []).copy()
        for packed in self.all_bytes(number):
            at = 0
            while at < len(packed):
                value, at = read_varint(packed, at, len(packed), self._fail)
                values.append(value)
        return tuple(value - (1 << 64) if value >> 63 == 1 else value for value in values)

    def fixed32(self, number: int) -> int:
        """The unsigned value of a fixed32 field; 0 if it is absent."""
        return int(self._once(number, FIXED32, 0))

    def all_bytes(self, number: int) -> list[Buffer]:
        """Every occurrence of a field of bytes, text or messages, in order."""
        return self._fields.get(number << 3 | BYTES, [])

    def bytes(self, number: int) -> Buffer | None:
        """The one occurrence of a field of bytes; None if it is absent."""
        found: Buffer | None = self._once(number, BYTES, None)
        return found

    def text(self, number: int) -> str:
        """The one occurrence of a field of text; empty if it is absent."""
        try:
            return str(self.bytes(number) or b"", "utf-8")
        except UnicodeDecodeError:
            raise self._fail(f"field {number} is not UTF-8") from None

    def message(self, number: int) -> Message:
        """A nested message; empty if it is absent, as in protobuf."""
        return Message(self.bytes(number) or b"", self._fail)

    def messages(self, number: int) -> list[Message]:
        """The nested messages of a repeated field."""
        return [Message(data, self._fail) for data in self.all_bytes(number)]


def unpack_varints(data: Buffer, count: int, fail: Fail) -> Iterator[NDArray[np.uint64]]:
    """The `count` varints of a packed field as their 64 bits, piece by piece, so that temporaries stay small.

    A negative number is its two's complement.

    Args:
        data: The field's bytes.
        count: The expected number of varints.
        fail: Makes the error for another number of varints, or a malformed one.
    """
    encoded = np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    # Every number ends in the one byte of its encoding that is below 0x80.
    found = sum(int(np.count_nonzero(encoded[at : at + _PIECE] < 0x80)) for at in range(0, len(encoded), _PIECE))
    if found != count or (len(encoded) and encoded[-1] >= 0x80):
        raise fail(f"{found} values where the shape asks for {count}")
    at = 0
    while at < len(encoded):
        piece = encoded[at : at + _PIECE]
        stops = np.flatnonzero(piece < 0x80)
        lengths = np.diff(stops, prepend=-1)
        if not len(stops) or lengths.max() > _LONGEST_VARINT:
            raise fail("a packed varint never ends")
        if np.any(piece[stops[lengths == _LONGEST_VARINT]] > 1):
            raise fail("a packed varint is over 64 bits")
        starts = stops - lengths + 1
        values = np.zeros(len(stops), np.uint64)
        for place in range(int(lengths.max())):
            has = lengths > place
            bits = piece[starts[has] + place].astype(np.uint64) & np.uint64(0x7F)
            values[has] |= bits << np.uint64(7 * place)
        yield values
        at += int(stops[-1]) + 1


def varint(number: int) -> bytes:
    """An unsigned number in its shortest form."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def length_prefix(field_number: int, length: int) -> bytes:
    """The tag and length that open a field of `length` bytes."""
    return varint(field_number << 3 | BYTES) + varint(length)

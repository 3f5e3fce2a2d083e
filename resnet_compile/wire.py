"""A bounded reader of the protobuf wire format, for the small messages of which checkpoints are made.

A tag is a varint ``field number << 3 | wire type``. Wire type 0 is followed by a varint, 1 by 8 bytes, 2 by a varint
length and that many bytes, 5 by 4 bytes (https://protobuf.dev/programming-guides/encoding). Groups, types 3 and 4, are
in no message of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import CheckpointError

Buffer: TypeAlias = bytes | memoryview

# A repeated field becomes a list, whose elements take more memory than their bytes in the file.
MAX_FIELDS = 1 << 20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
# How many bytes of packed varints are widened to 64 bits at a time.
_PIECE = 1 << 18


def read_varint(data: Buffer, at: int, end: int, where: str) -> tuple[int, int]:
    """An unsigned 64-bit varint at `at`, which must stop before `end`: its value and the offset after it.

    Only the shortest form of a number is taken. No writer of checkpoints makes another, and in a place that no checksum
    covers a longer form would let a flipped bit pass: ``0x15`` and ``0x95 0x00`` are the same number.
    """
    if at < end and data[at] < 0x80:  # as most are
        return data[at], at + 1
    value = shift = 0
    for position in range(at, min(at + _LONGEST_VARINT, end)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise CheckpointError(f"the varint at byte {at} is padded", where=where)
            if value >> 64:
                raise CheckpointError(f"the varint at byte {at} is over 64 bits", where=where)
            return value, position + 1
        shift += 7
    reason = "never ends" if end - at >= _LONGEST_VARINT else "is cut off"
    raise CheckpointError(f"the varint at byte {at} {reason}", where=where)


class Message:
    """The fields of one message by number; nested messages stay bytes until they are asked for.

    As in protobuf itself, fields that nobody asks for are ignored, and so are fields of another wire type than the one
    asked for. A field that may stand once and stands twice is an error.

    Args:
        data: The message's bytes; byte fields are slices of it (views, if it is a view).
        where: What the message belongs to, for errors.

    Raises:
        CheckpointError: A tag, length or varint is malformed or points past the end.
    """

    __slots__ = ("_bytes", "_numbers", "_where")

    def __init__(self, data: Buffer, where: str) -> None:
        self._where = where
        self._numbers: dict[int, list[int]] = {}  # by tag
        self._bytes: dict[int, list[Buffer]] = {}  # by field number
        at, end = 0, len(data)
        fields = 0
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise CheckpointError(f"a message has more than {MAX_FIELDS} fields", where=where)
            tag, at = read_varint(data, at, end, where)
            wire = tag & 7
            if wire == _VARINT:
                value, at = read_varint(data, at, end, where)
                self._numbers.setdefault(tag, []).append(value)
                continue
            if wire == _BYTES:
                size, at = read_varint(data, at, end, where)
            elif wire in (_FIXED32, _FIXED64):
                size = 4 if wire == _FIXED32 else 8
            else:
                raise CheckpointError(f"a message has a field of wire type {wire}", where=where)
            if size > end - at:
                raise CheckpointError(f"a field of {size} bytes ends past the end of its message", where=where)
            field = data[at : at + size]
            at += size
            if wire == _BYTES:
                self._bytes.setdefault(tag >> 3, []).append(field)
            else:
                self._numbers.setdefault(tag, []).append(int.from_bytes(field, "little"))

    def _once(self, tag: int, default: int) -> int:
        values = self._numbers.get(tag)
        if values is None:
            return default
        if len(values) > 1:
            raise CheckpointError(f"field {tag >> 3} stands more than once", where=self._where)
        return values[0]

    def int64(self, number: int, default: int = 0) -> int:
        """The signed value of a varint field, `default` where it is absent."""
        value = self._once(number << 3 | _VARINT, default)
        return value - (1 << 64) if value >> 63 == 1 else value

    def int64s(self, number: int) -> tuple[int, ...]:
        """The signed values of a repeated varint field, packed or not."""
        values = list(self._numbers.get(number << 3 | _VARINT, ()))
        for packed in self.all_bytes(number):
            at = 0
            while at < len(packed):
                value, at = read_varint(packed, at, len(packed), self._where)
                values.append(value)
        return tuple(value - (1 << 64) if value >> 63 == 1 else value for value in values)

    def fixed32(self, number: int) -> int:
        """The unsigned value of a fixed32 field, 0 where it is absent."""
        return self._once(number << 3 | _FIXED32, 0)

    def all_bytes(self, number: int) -> list[Buffer]:
        """Every occurrence of a field of bytes, text or messages, in order."""
        return self._bytes.get(number, [])

    def bytes(self, number: int) -> Buffer | None:
        """The one occurrence of a field of bytes, None where it is absent."""
        found = self.all_bytes(number)
        if len(found) > 1:
            raise CheckpointError(f"field {number} stands more than once", where=self._where)
        return found[0] if found else None

    def message(self, number: int) -> Message:
        """A nested message, empty where it is absent, as protobuf has it."""
        return Message(self.bytes(number) or b"", self._where)

    def messages(self, number: int) -> list[Message]:
        """The nested messages of a repeated field."""
        return [Message(data, self._where) for data in self.all_bytes(number)]


def unpack_varints(data: Buffer, count: int, where: str) -> Iterator[NDArray[np.uint64]]:
    """The `count` varints of a packed field as their 64 bits, piece by piece, so that temporaries stay small.

    A negative number is its two's complement.

    Raises:
        CheckpointError: There are more or fewer of them, or one is malformed.
    """
    encoded = np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    # Every number ends in the one byte of its encoding that is below 0x80.
    found = sum(int(np.count_nonzero(encoded[at : at + _PIECE] < 0x80)) for at in range(0, len(encoded), _PIECE))
    if found != count or (len(encoded) and encoded[-1] >= 0x80):
        raise CheckpointError(f"{found} values where the shape asks for {count}", where=where)
    at = 0
    while at < len(encoded):
        piece = encoded[at : at + _PIECE]
        stops = np.flatnonzero(piece < 0x80)
        lengths = np.diff(stops, prepend=-1)
        if not len(stops) or lengths.max() > _LONGEST_VARINT:
            raise CheckpointError("a packed varint never ends", where=where)
        if np.any(piece[stops[lengths == _LONGEST_VARINT]] > 1):
            raise CheckpointError("a packed varint is over 64 bits", where=where)
        starts = stops - lengths + 1
        values = np.zeros(len(stops), np.uint64)
        for place in range(int(lengths.max())):
            has = lengths > place
            bits = piece[starts[has] + place].astype(np.uint64) & np.uint64(0x7F)
            values[has] |= bits << np.uint64(7 * place)
        yield values
        at += int(stops[-1]) + 1

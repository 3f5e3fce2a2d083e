"""FlatBuffers, read with every bound checked.

A table begins with the distance back to its vtable. The vtable holds 16-bit numbers: its own size, the table's, and for
each field its offset in the table, 0 for an absent field. Vectors, strings and nested tables are elsewhere, at a 32-bit
distance from the field; a vector begins with its length (https://flatbuffers.dev/internals). Several fields may point
to one place, so a reader has to bound its own work on vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_compile.checkpoints.checked_file import CheckedFile


class FlatTable:
    """The table at a position in a file."""

    __slots__ = ("_at", "_fields", "_file", "_vtable")

    def __init__(self, file: CheckedFile, at: int) -> None:
        self._file = file
        self._at = at
        self._vtable = at - self._number(at, 4, signed=True)
        self._fields = (self._number(self._vtable, 2) - 4) // 2

    def _number(self, at: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._file.part(at, size, "a table"), "little", signed=signed)

    def _place(self, field: int) -> int | None:
        """The position of a field's value; None if it is absent."""
        if field >= self._fields:
            return None
        offset = self._number(self._vtable + 4 + 2 * field, 2)
        return self._at + offset if offset else None

    def number(self, field: int, size: int) -> int:
        """An unsigned number of `size` bytes; 0 if it is absent."""
        place = self._place(field)
        return 0 if place is None else self._number(place, size)

    def table(self, field: int) -> FlatTable | None:
        place = self._place(field)
        return None if place is None else FlatTable(self._file, place + self._number(place, 4))

    def vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """The position and the number of a vector's elements, each of `itemsize` bytes; all are within the file."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._number(place, 4)
        count = self._number(start, 4)
        self._file.part(start + 4, count * itemsize, "a vector")
        return start + 4, count

    def numbers(self, field: int, limit: int) -> tuple[int, ...]:
        """A vector of signed 32-bit numbers; raises if there are more than `limit`."""
        start, count = self.vector(field, 4)
        if count > limit:
            raise self._file.error(f"a vector of {count} numbers, more than the {limit} that are allowed")
        return tuple(self._number(start + 4 * index, 4, signed=True) for index in range(count))

    def text(self, field: int, limit: int) -> str:
        """A string, empty if it is absent; raises if it is longer than `limit` bytes or not UTF-8."""
        start, count = self.vector(field, 1)
        if count > limit:
            raise self._file.error(f"a string of {count} bytes, more than the {limit} that are allowed")
        try:
            return str(self._file.part(start, count, "a string"), "utf-8")
        except UnicodeDecodeError as error:
            raise self._file.error("a string that is not UTF-8") from error

    def tables(self, field: int) -> Iterator[FlatTable]:
        start, count = self.vector(field, 4)
        for at in range(start, start + 4 * count, 4):
            yield FlatTable(self._file, at + self._number(at, 4))

"""FlatBuffers, read with every bound checked.

A table begins with the distance back to its vtable: 16-bit sizes of the vtable and of the table, then for each field
its offset in the table, 0 where it is absent. Vectors, strings and nested tables stand elsewhere, at a 32-bit distance
from the field; a vector begins with its length (https://flatbuffers.dev/internals). Several fields may lead to one
place, so that what a reader makes of a vector has to be bounded by the reader.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_compile.checkpoints.checked_file import CheckedFile


class FlatTable:
    """A table of a file.

    Args:
        file: The file.
        at: Where the table begins.
    """

    __slots__ = ("_at", "_fields", "_file", "_vtable")

    def __init__(self, file: CheckedFile, at: int) -> None:
        self._file = file
        self._at = at
        self._vtable = at - self._number(at, 4, signed=True)
        self._fields = (self._number(self._vtable, 2) - 4) // 2

    @classmethod
    def root(cls, file: CheckedFile) -> FlatTable:
        """The table that the file is."""
        return cls(file, int.from_bytes(file.part(0, 4, "the root table"), "little"))

    def _number(self, at: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._file.part(at, size, "a table"), "little", signed=signed)

    def _place(self, field: int) -> int | None:
        """Where a field's value stands; None where it is absent."""
        if field >= self._fields:
            return None
        offset = self._number(self._vtable + 4 + 2 * field, 2)
        return self._at + offset if offset else None

    def number(self, field: int, size: int, default: int = 0) -> int:
        """An unsigned number of `size` bytes."""
        place = self._place(field)
        return default if place is None else self._number(place, size)

    def table(self, field: int) -> FlatTable | None:
        """A nested table; None where it is absent."""
        place = self._place(field)
        return None if place is None else FlatTable(self._file, place + self._number(place, 4))

    def vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Where a vector's elements of `itemsize` bytes begin, and how many there are, all within the file."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._number(place, 4)
        count = self._number(start, 4)
        self._file.part(start + 4, count * itemsize, "a vector")
        return start + 4, count

    def numbers(self, field: int, limit: int) -> tuple[int, ...]:
        """A vector of signed 32-bit numbers; an error where there are more than `limit`."""
        start, count = self.vector(field, 4)
        if count > limit:
            raise self._file.error(f"a vector of {count} numbers, more than the {limit} that are allowed")
        return tuple(self._number(start + 4 * index, 4, signed=True) for index in range(count))

    def text(self, field: int, limit: int) -> str:
        """A string, empty where it is absent; an error where it is longer than `limit` bytes or not UTF-8."""
        start, count = self.vector(field, 1)
        if count > limit:
            raise self._file.error(f"a string of {count} bytes, more than the {limit} that are allowed")
        try:
            return str(self._file.part(start, count, "a string"), "utf-8")
        except UnicodeDecodeError as error:
            raise self._file.error("a string that is not UTF-8") from error

    def tables(self, field: int) -> Iterator[FlatTable]:
        """The tables of a vector of them."""
        start, count = self.vector(field, 4)
        for at in range(start, start + 4 * count, 4):
            yield FlatTable(self._file, at + self._number(at, 4))

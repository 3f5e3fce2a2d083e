"""The zip container of `.npz` and `.pth`: a strict reader over a memory map.

Python's `zipfile` reads through a file object and tolerates bytes before the archive, entries that share bytes and
duplicate names. Here a stored member is a view of the map, and what no writer of checkpoints writes is refused. Format:
PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.checked_file import AGAIN, MAX_JSON, CheckedFile

MAX_MEMBERS = 100_000  # the largest residual networks have a few thousand tensors

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENCRYPTED, _DESCRIPTOR, _PATCHED, _STRONG, _UTF8 = 1 << 0, 1 << 3, 1 << 5, 1 << 6, 1 << 11
_STORED, _DEFLATED = 0, 8
_IN_ZIP64 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive. Its data are at `start`: `stored` bytes, which decompress to `size`."""

    name: str
    deflated: bool
    crc: int
    start: int
    stored: int
    size: int


def first_member(head: bytes) -> bytes:
    """The name of a zip archive's first member; empty if `head` is not the start of a zip archive."""
    return head[30 : 30 + int.from_bytes(head[26:28], "little")] if head[:4] == b"PK\3\4" else b""


class ZipArchive(dict[str, Member]):
    """The members of a zip archive by name. Any damage raises `CheckpointError`."""

    def __init__(self, file: CheckedFile) -> None:
        super().__init__()
        self._file = file
        count, start, end = self._find_directory()
        extents: list[tuple[int, int]] = []
        position = start
        for _ in range(count):
            position, header, member = self._read_entry(position, end)
            if member.name in self:
                raise file.error("two members of one name in the zip archive", member.name)
            self[member.name] = member
            extents.append((header, member.start + member.stored))
        if position != end:
            raise file.error("the zip directory is longer than its entries")
        extents.sort()
        previous_stop = 0
        for header, stop in [*extents, (start, end)]:
            if header < previous_stop:
                raise file.error("members of the zip archive overlap")
            previous_stop = stop
        if extents and extents[0][0] != 0:
            raise file.error("the zip archive does not begin at the start of the file")

    def read(self, name: str, *, verify: bool = True) -> NDArray[np.uint8]:
        """All bytes of a member, a view of the map if it is stored; `verify` compares the CRC-32."""
        member = self[name]
        data = self._file.array(member.start, member.stored, "a zip member")
        if member.deflated:
            data = np.frombuffer(self._file.inflate(data, member.size, name), np.uint8)
        if verify and zlib.crc32(data.data) != member.crc:
            raise self._file.error("the CRC-32 does not match: the data is damaged", name)
        return data

    def json(self, name: str) -> dict[str, Any]:
        if self[name].size > MAX_JSON:
            raise self._file.error(f"has {self[name].size} bytes; {MAX_JSON} are allowed", name)
        return self._file.json(self.read(name).tobytes())

    def peek(self, name: str, size: int) -> bytes:
        """At most `size` first bytes of a member, unverified."""
        member = self[name]
        if not member.deflated:
            return self._file.copy(member.start, min(size, member.size), "a zip member")
        self._file.check_expansion(member.stored, member.size, name)
        # No writer's deflate needs twice `size` for `size` bytes.
        data = self._file.copy(member.start, min(2 * size, member.stored), "a zip member")
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
        except zlib.error as error:
            raise self._file.error("the compressed data is damaged", name) from error

    def _find_directory(self) -> tuple[int, int, int]:
        """Number of entries, start and end of the central directory."""
        file = self._file
        tail_start = max(0, file.size - _END.size - 0xFFFF)
        tail = file.copy(tail_start, file.size - tail_start, "the zip directory")
        found = len(tail)
        while True:
            found = tail.rfind(b"PK\5\6", 0, found)
            if found < 0:
                raise file.error("no zip directory at the end: the file is truncated or not a zip archive", hint=AGAIN)
            # The archive's comment ends the file; the record has its length.
            if found + _END.size <= len(tail):
                fields = _END.unpack_from(tail, found)
                if found + _END.size + fields[7] == len(tail):
                    break
        _, disk, directory_disk, here, count, size, start, _ = fields
        end = tail_start + found
        locator_start = end - _END64_LOCATOR.size
        if locator_start >= 0 and file.copy(locator_start, 4, "the zip64 locator") == b"PK\6\7":
            locator = file.copy(locator_start, _END64_LOCATOR.size, "the zip64 locator")
            _, _, end, _ = _END64_LOCATOR.unpack(locator)
            record = file.copy(end, _END64.size, "the zip64 end record")
            signature, length, _, _, disk, directory_disk, here, count, size, start = _END64.unpack(record)
            if signature != b"PK\6\6" or end + 12 + length != locator_start:
                raise file.error("the zip64 end record is damaged")
        if disk or directory_disk or here != count:
            raise file.error("a zip archive in several parts")
        if start + size != end:
            raise file.error("the zip directory is not where its end record says")
        if count > MAX_MEMBERS:
            raise file.error(f"{count} members in one archive, more than the {MAX_MEMBERS} that are allowed")
        return count, start, end

    def _read_entry(self, position: int, end: int) -> tuple[int, int, Member]:
        """Position of the next directory entry, position of the local header, and the member of one entry."""
        file = self._file
        if position + _CENTRAL.size > end:
            raise file.error("the zip directory is shorter than its entries")
        (signature, _, _, flags, method, _, _, crc, stored, size, name_length, extra_length, comment_length,
         disk, _, _, header) = _CENTRAL.unpack(file.copy(position, _CENTRAL.size, "a zip entry"))  # fmt: skip
        if signature != b"PK\1\2":
            raise file.error("an entry of the zip directory is damaged")
        position += _CENTRAL.size
        following = position + name_length + extra_length + comment_length
        if following > end:
            raise file.error("the zip directory is shorter than its entries")
        raw_name = file.copy(position, name_length, "a zip entry")
        try:
            name = raw_name.decode("utf-8" if flags & _UTF8 else "cp437")
        except UnicodeDecodeError as error:
            raise file.error("a member's name is not UTF-8") from error
        extra = file.copy(position + name_length, extra_length, "a zip entry")
        size, stored, header = self._zip64_fields(extra, (size, stored, header), name)
        if disk:
            raise file.error("a zip archive in several parts", name)
        if flags & (_ENCRYPTED | _PATCHED | _STRONG):
            raise file.error("an encrypted or patched zip member", name)
        if method not in (_STORED, _DEFLATED):
            raise file.error(f"zip compression method {method}; only deflate is read", name)
        if method == _STORED and stored != size:
            raise file.error("a stored zip member's sizes differ", name)
        data = self._data_start(header, raw_name, flags, (method, crc, stored, size), name)
        if data + stored > end:
            raise file.error("a zip member is outside the file", name)
        return following, header, Member(name, method == _DEFLATED, crc, data, stored, size)

    def _data_start(
        self, header: int, raw_name: bytes, flags: int, expected: tuple[int, int, int, int], name: str
    ) -> int:
        """Position of a member's data; raises if its local header differs from the directory."""
        local = _LOCAL.unpack(self._file.copy(header, _LOCAL.size, "a zip member's header"))
        signature, _, local_flags, method, _, _, crc, stored, size, name_length, extra_length = local
        start = header + _LOCAL.size
        same = signature == b"PK\3\4" and self._file.copy(start, name_length, "a zip member's name") == raw_name
        # With a descriptor the sizes and the CRC come after the data; a zip64 member has the sizes in `extra`.
        same = same and method == expected[0] and local_flags == flags
        if not flags & _DESCRIPTOR:
            same = same and crc == expected[1]
            same = same and stored in (expected[2], _IN_ZIP64) and size in (expected[3], _IN_ZIP64)
        if not same:
            raise self._file.error("a zip member's header and its directory entry differ", name)
        return start + int(name_length) + int(extra_length)

    def _zip64_fields(self, extra: bytes, fields: tuple[int, int, int], name: str) -> tuple[int, int, int]:
        """Size, stored size and header position; the zip64 extra field replaces those that are 0xFFFFFFFF."""
        missing = [index for index, value in enumerate(fields) if value == _IN_ZIP64]
        if not missing:
            return fields
        position = 0
        while position + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, position)
            position += 4
            if kind == 1 and length >= 8 * len(missing) and position + length <= len(extra):
                values = list(fields)
                for index, value in zip(missing, struct.unpack_from(f"<{len(missing)}Q", extra, position), strict=True):
                    values[index] = value
                return values[0], values[1], values[2]
            position += length
        raise self._file.error("a zip64 member without its sizes", name)

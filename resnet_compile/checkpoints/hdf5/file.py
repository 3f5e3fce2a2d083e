"""The structure of an HDF5 file: groups, attributes and object headers, in the layout that Keras writes.

libhdf5 is not safe with files from strangers: it follows links, external storage and filter plug-ins out of the file,
and damage can send it into a loop that no signal ends (2 of 1,000 files with one random fault, HDF5 2.0.0). In this
reader every read is checked against the file's size, no other file is opened, and the number of records is bounded. It
reads the classic layout, which h5py and Keras write by default: superblock 0 or 1, object headers of version 1, groups
as B-trees of symbols, strings in the global heap.
Source: the HDF5 File Format Specification 3.0, sections II.A, III.A, III.C to III.E and IV.A.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_compile.checkpoints.checked_file import CheckedFile

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DATASPACE, DATATYPE, EXTERNAL_FILES, LAYOUT, FILTERS, ATTRIBUTE = 0x1, 0x3, 0x7, 0x8, 0xB, 0xC
_LINK_INFO, _LINK, _CONTINUATION, _SYMBOL_TABLE = 0x2, 0x6, 0x10, 0x11
_SOFT_LINK = 2
_SHARED = 0x02
_NEWER = "re-save it from h5py or Keras without libver='latest'"

MAX_RECORDS = 1_000_000  # a structure counts one, plus one for each 64 bytes; ResNet-152 has about 20,000
_MAX_NAME = 1024


class Cursor:
    """A position in a piece of a file; reading past its end raises a `CheckpointError`."""

    def __init__(self, file: CheckedFile, data: bytes, what: str) -> None:
        self._file = file
        self._data = data
        self._what = what
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._data):
            raise self._file.error(f"{self._what} is shorter than its contents")
        self.position = end
        return self._data[end - size : end]

    def uint(self, size: int) -> int:
        """The next little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def expect(self, constant: bytes) -> None:
        if self.take(len(constant)) != constant:
            raise self._file.error(f"{self._what} is damaged")


class Hdf5File:
    """The objects of an HDF5 file by address. Any damage raises `CheckpointError`."""

    def __init__(self, file: CheckedFile) -> None:
        self.file = file
        self._records = 0
        self._groups: dict[int, dict[str, int | None]] = {}
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        superblock = self.cursor(0, min(100, file.size), "the superblock")
        superblock.expect(SIGNATURE)
        version = superblock.uint(1)
        if version > 1:
            raise file.error(f"HDF5 superblock version {version}; only the classic layout is read", hint=_NEWER)
        superblock.take(4)
        superblock.expect(b"\x08\x08")  # sizes of addresses and of lengths
        superblock.take(9 if version == 0 else 13)
        base, _, end, driver, _, self.root = (superblock.uint(8) for _ in range(6))
        if base or driver != (1 << 64) - 1:
            raise file.error("the HDF5 file has a user block or several parts")
        if end > file.size:
            raise file.error(f"the file is truncated: {file.size} of {end} bytes")

    def cursor(self, start: int, size: int, what: str) -> Cursor:
        self.count(1 + size // 64)
        return Cursor(self.file, self.file.copy(start, size, what), what)

    def count(self, records: int = 1) -> None:
        """Counts records, so that structures that share their parts cannot make endless work."""
        self._records += records
        if self._records > MAX_RECORDS:
            raise self.file.error(f"the HDF5 structure has more than {MAX_RECORDS} records")

    def messages(self, address: int) -> list[tuple[int, bytes]]:
        """Types and contents of the messages in the header of the object at `address`."""
        prefix = self.cursor(address, 16, "an object header")
        if (version := prefix.uint(1)) != 1:
            raise self.file.error(f"HDF5 object header version {version} at {address}", hint=_NEWER)
        prefix.take(1)
        left, _, size = prefix.uint(2), prefix.uint(4), prefix.uint(4)
        blocks = [(address + 16, size)]
        found: list[tuple[int, bytes]] = []
        for start, length in blocks:  # continuations are appended on the way
            block = self.cursor(start, length, "an object header")
            while left and length - block.position >= 8:
                kind, message_size, flags = block.uint(2), block.uint(2), block.uint(1)
                block.take(3)
                body = block.take(message_size)
                left -= 1
                if flags & _SHARED:
                    raise self.file.error("an object header has shared messages", hint=_NEWER)
                if kind == _CONTINUATION:
                    continuation = Cursor(self.file, body, "an object header")
                    blocks.append((continuation.uint(8), continuation.uint(8)))
                found.append((kind, body))
        if left:
            raise self.file.error("an object header lacks messages")
        return found

    def group(self, address: int) -> dict[str, int | None]:
        """The members of the group at `address`: object addresses by name, None for a soft link."""
        if address not in self._groups:
            self._groups[address] = self._read_group(address)
        return self._groups[address]

    def member(self, group: int, path: str) -> int:
        """The address of the object at a path below a group."""
        for part in path.split("/"):
            members = self.group(group)
            if part not in members:
                raise self.file.error("no such object in the file", path)
            address = members[part]
            if address is None:
                raise self.file.error("the object is a soft link: refused", path)
            group = address
        return group

    def tree(self, address: int, kind: int, key_size: int) -> Iterator[tuple[bytes, int]]:
        """Keys and child addresses in the leaves of a version 1 B-tree, in order; kind 0 has groups, 1 chunks."""
        pending: list[tuple[int, int | None]] = [(address, None)]
        while pending:
            node, expected_level = pending.pop()
            head = self.cursor(node, 24, "a B-tree node")
            head.expect(b"TREE" + bytes([kind]))
            level, used = head.uint(1), head.uint(2)
            if expected_level not in (None, level):
                raise self.file.error("a B-tree node is not one level below its parent")
            body = self.cursor(node + 24, used * (key_size + 8), "a B-tree node")
            children = [(body.take(key_size), body.uint(8)) for _ in range(used)]
            if level == 0:
                yield from children
            else:
                pending += [(child, level - 1) for _, child in reversed(children)]

    def heap_object(self, collection: int, index: int) -> tuple[int, int]:
        """Position and size of an object in the global heap collection at an address."""
        if collection not in self._heaps:
            self._heaps[collection] = dict(self._heap_objects(collection))
        if index not in self._heaps[collection]:
            raise self.file.error("no such object in a global heap")
        return self._heaps[collection][index]

    def _heap_objects(self, address: int) -> Iterator[tuple[int, tuple[int, int]]]:
        head = self.cursor(address, 16, "a global heap")
        head.expect(b"GCOL\1\0\0\0")
        end = address + head.uint(8)
        position = address + 16
        while position + 16 <= end:
            entry = self.cursor(position, 16, "a global heap")
            index, _, size = entry.uint(2), entry.take(6), entry.uint(8)
            if index == 0:  # the free space at the end
                return
            if position + 16 + size > end:
                raise self.file.error("an object reaches beyond its global heap")
            yield index, (position + 16, size)
            position += 16 + (size + 7) // 8 * 8

    def _read_group(self, address: int) -> dict[str, int | None]:
        messages = dict(self.messages(address))
        if _LINK_INFO in messages or _LINK in messages:
            raise self.file.error("an HDF5 group has the newer layout, whose links can leave the file", hint=_NEWER)
        if _SYMBOL_TABLE not in messages:
            raise self.file.error(f"the HDF5 object at {address} is not a group")
        table = Cursor(self.file, messages[_SYMBOL_TABLE], "a symbol table")
        tree, heap = table.uint(8), self.cursor(table.uint(8), 32, "a local heap")
        heap.expect(b"HEAP\0")
        heap.take(3)
        heap_size, _, heap_start = heap.uint(8), heap.uint(8), heap.uint(8)
        members: dict[str, int | None] = {}
        for _, node in self.tree(tree, kind=0, key_size=8):
            head = self.cursor(node, 8, "a symbol table node")
            head.expect(b"SNOD\1")
            head.take(1)
            count = head.uint(2)
            symbols = self.cursor(node + 8, 40 * count, "a symbol table node")
            for _ in range(count):
                offset, header, link = symbols.uint(8), symbols.uint(8), symbols.uint(4)
                symbols.take(20)
                name = self._name(heap_start + offset, heap_size - offset)
                if name in members:
                    raise self.file.error("two objects in a group have the same name", name)
                members[name] = None if link == _SOFT_LINK else header
        return members

    def _name(self, start: int, room: int) -> str:
        """A zero-terminated name of at most `room` bytes in a local heap."""
        raw, end, _ = self.file.copy(start, min(room, _MAX_NAME), "a local heap").partition(b"\0")
        self.count()
        try:
            if end:
                return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
        raise self.file.error("a name in the file is damaged or too long")

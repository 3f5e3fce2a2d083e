"""`.npz`: a zip archive of `.npy` arrays, as `numpy.savez` and `numpy.savez_compressed` write it.

Nothing is unpickled: an array of objects is listed, not loaded. Format: `numpy.lib.format`, versions 1 to 3.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, Unread
from resnet_compile.checkpoints.checked_file import CheckedFile, contiguous, printable, read_head
from resnet_compile.checkpoints.zip_archive import ZipArchive, first_member

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # numpy's own bound for headers from strangers
_DTYPE = re.compile(r"[<>|=](?:b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,5})")
_FIELD = re.compile(
    r"""\s*(["'])(?P<key>descr|fortran_order|shape)\1\s*:\s*(?:"""
    r"""(["'])(?P<descr>[^"'\\]*)\3|(?P<fortran_order>True|False)|\((?P<shape>[0-9L,\s]*)\)"""
    r""")\s*(?:,|(?=\}))"""
)
_AXIS = re.compile(r"\s*([0-9]{1,19})L?\s*")  # Python 2 wrote sizes as `3L`


def is_npz(path: Path) -> bool:
    """Whether the file begins as a zip archive whose first member is a `.npy` array, or as an empty archive."""
    head = read_head(path)
    return head[:4] == b"PK\5\6" or first_member(head).endswith(b".npy")


@dataclass(frozen=True, slots=True)
class _Array:
    member: str
    header_size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool


class NpzCheckpoint(Checkpoint):
    """The arrays of an `.npz` file. Uncompressed members are views of the map; CRCs are always verified."""

    format: ClassVar[str] = "NumPy npz"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        self._archive = ZipArchive(self._file)
        self._arrays: dict[str, _Array] = {}
        for member in self._archive:
            self._enter(member.removesuffix(".npy"), member)

    def _read(self, name: str) -> NDArray[Any]:
        array = self._arrays[name]
        data = self._archive.read(array.member)[array.header_size :]
        if array.dtype.kind == "U" and (data.view(array.dtype.byteorder + "u4") > sys.maxunicode).any():
            raise self._file.error("a string has a character that is not in Unicode", name)
        return contiguous(data, array.dtype, array.shape, order="F" if array.fortran_order else "C")

    def _enter(self, name: str, member: str) -> None:
        """Reads an array's header: magic, version, its length, and a Python literal {descr, fortran_order, shape}."""
        head = self._archive.peek(member, 12 + _MAX_HEADER)
        version = head[6:8]
        if head[:6] != _MAGIC or version not in (b"\1\0", b"\2\0", b"\3\0"):
            raise self._file.error("not a .npy array", member)
        start = 10 if version == b"\1\0" else 12
        end = start + int.from_bytes(head[8:start], "little")
        if end > len(head):
            raise self._file.error("the .npy header is truncated or longer than allowed", member)
        descr, fortran_order, shape = self._parse_header(head[start:end], member)
        if not _DTYPE.fullmatch(descr):
            self._archive.read(member)  # verifies the CRC: a damaged header could have any dtype
            objects = descr.startswith("|O")  # pickled: loading them could run code
            self._list(name, Unread("of Python objects" if objects else f"of dtype {printable(descr)}", shape))
            return
        dtype = np.dtype(descr)
        claimed = end + self._file.tensor_bytes(shape, dtype, member)
        if claimed != self._archive[member].size:
            message = f"the .npy header claims {claimed} bytes, the archive {self._archive[member].size}"
            raise self._file.error(message, member)
        self._add(name, shape, dtype)
        self._arrays[name] = _Array(member, end, dtype, shape, fortran_order)

    def _parse_header(self, text: bytes, member: str) -> tuple[str, bool, tuple[int, ...]]:
        """Parses the literal with a pattern, so that nothing is evaluated: a plain array's header has one form."""
        header = text.decode("latin-1").strip()
        fields: dict[str, str] = {}
        position = 1 if header.startswith("{") else len(header)
        while field := _FIELD.match(header, position):
            value = field[field["key"]]  # None if the value has the form of another key
            if value is None or field["key"] in fields:
                raise self._file.error("the .npy header is malformed", member)
            fields[field["key"]] = value
            position = field.end()
        if len(fields) != 3 or header[position:].strip() != "}":
            raise self._file.error("the .npy header does not describe a plain array", member)
        axes = fields["shape"].split(",")
        if axes[-1].strip() == "":  # `()` and `(3,)`
            axes.pop()
        sizes = [_AXIS.fullmatch(axis) for axis in axes]
        if None in sizes:
            raise self._file.error("the .npy header has a wrong shape", member)
        shape = tuple(int(size[1]) for size in sizes if size)
        return fields["descr"], fields["fortran_order"] == "True", shape

"""The two containers of `torch.save`, and a bare pickle as a third: where their pickles and storages are."""

from __future__ import annotations

import posixpath
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.torch.opcodes import Pickled, interpret
from resnet_compile.checkpoints.torch.values import PickleError, Storage
from resnet_compile.checkpoints.zip_archive import ZipArchive

# The first pickle of a file from before PyTorch 1.6, after its protocol: a number of 10 bytes.
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAGIC = int.from_bytes(LEGACY_MAGIC[2:12], "little")
_PROTOCOL = 1001
_MAX_INFLATED = 64 << 20  # PyTorch compresses nothing
RESAVE = "save the weights alone: torch.save(model.state_dict(), path), or as safetensors"


class Container:
    """The pickles and storages of a file."""

    where: str | None = None  # the place of a pickle, for errors

    @abstractmethod
    def values(self) -> Iterator[tuple[str, Pickled]]:
        """The saved values, each with the prefix of the paths in it."""

    def size(self, key: str) -> int | None:
        """The bytes of a storage; None without such a storage."""
        return None

    @abstractmethod
    def read(self, key: str) -> NDArray[np.uint8]:
        """The bytes of a storage."""


class BarePickle(Container):
    """A file that is one pickle; arrays have their bytes in it."""

    def __init__(self, file: CheckedFile) -> None:
        self._file = file

    def values(self) -> Iterator[tuple[str, Pickled]]:
        yield "", _pickle_in(self._file.view)

    def read(self, key: str) -> NDArray[np.uint8]:
        raise self._file.error("a storage in a bare pickle", key)


def _pickle_in(data: memoryview, folder: str = "") -> Pickled:
    """The contents of a pickle that must take all of the data."""
    pickled = interpret(data, folder=folder)
    if pickled.end != len(data):
        raise PickleError("bytes after the pickle's end")
    return pickled


class ZipContainer(Container):
    """Storages that are members of a zip archive, by their names; CRCs are verified if the file has them."""

    def __init__(self, file: CheckedFile, archive: ZipArchive) -> None:
        self._file = file
        self._archive = archive
        self._verify = any(member.crc for member in archive.values())  # PyTorch can be told to write none: each is 0
        self._verified: set[str] = set()

    def size(self, key: str) -> int | None:
        return self._archive[key].size if key in self._archive else None

    def read(self, key: str) -> NDArray[np.uint8]:
        """The bytes of a member, its CRC compared the first time."""
        data = self._archive.read(key, verify=self._verify and key not in self._verified)
        self._verified.add(key)
        return data


class Archive(ZipContainer):
    """The zip archive of PyTorch since 1.6, and of TorchScript.

    One folder holds `data.pkl`, a pickle of the saved value; `data/KEY`, the bytes of each storage; `byteorder`. An
    archive of TorchScript also has `constants.pkl` and `constants/KEY`, and code, which is not read.
    """

    def __init__(self, file: CheckedFile, archive: ZipArchive) -> None:
        super().__init__(file, archive)
        found = [posixpath.dirname(name) for name in self._archive if posixpath.basename(name) == "data.pkl"]
        folders = [folder for folder in found if folder and "/" not in folder]
        if len(folders) != 1:
            raise file.error("not a PyTorch file: it must have exactly one FOLDER/data.pkl", hint=RESAVE)
        self._folder = folders[0]
        self.where = f"{self._folder}/data.pkl"
        order = f"{self._folder}/byteorder"
        if order in self._archive and self._archive.peek(order, 16) != b"little":
            raise file.error("the file's numbers are not little-endian", hint=RESAVE)

    def values(self) -> Iterator[tuple[str, Pickled]]:
        """The saved value, then TorchScript's constants."""
        for key, part in (("", "data"), ("constants", "constants")):
            record = f"{self._folder}/{part}.pkl"
            if record in self._archive:
                if self._archive[record].deflated and self._archive[record].size > _MAX_INFLATED:
                    raise self._file.error(f"{self._archive[record].size} bytes in a compressed pickle", record)
                yield key, _pickle_in(self.read(record).data, f"{self._folder}/{part}/")


class LegacyFile(Container):
    """The format before 1.6: five pickles, then the storages.

    The pickles are a magic number, the protocol's version, facts about the machine, the saved value, and the keys of
    the storages. A storage is its number of elements in 8 bytes, then the elements; only the saved value has their
    sizes.
    """

    def __init__(self, file: CheckedFile) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}

    def values(self) -> Iterator[tuple[str, Pickled]]:
        end, found = 0, list[Pickled]()
        for _ in range(5):
            found.append(interpret(self._file.view, end))
            end = found[-1].end
        magic, protocol, machine, value, keys = found
        if magic.value != _MAGIC or protocol.value != _PROTOCOL:
            raise PickleError("not a PyTorch file of protocol 1001")
        if not isinstance(machine.value, dict) or machine.value.get("little_endian") is not True:
            raise PickleError("the file's numbers are not little-endian")
        if not isinstance(keys.value, list):
            raise PickleError("the keys of the storages are not a list")
        self._place(keys.value, value.storages, end)
        yield "", value

    def _place(self, keys: list[Any], storages: Mapping[str, Storage], at: int) -> None:
        """Finds the place of each storage, the first at `at`; the file has to end with the last one."""
        for key in keys:
            name = str(key, "latin-1") if isinstance(key, memoryview) else key
            if not isinstance(name, str) or name not in storages or name in self._places:
                raise PickleError("the keys of the storages are not those that the value names")
            count = int.from_bytes(self._file.part(at, 8, "a storage's size"), "little", signed=True)
            size = count * storages[name].kind.itemsize
            self._file.part(at + 8, size, "a storage")
            self._places[name] = at + 8, size
            at += 8 + size
        if at != self._file.size:
            raise PickleError("bytes after the last storage")

    def size(self, key: str) -> int | None:
        return self._places[key][1] if key in self._places else None

    def read(self, key: str) -> NDArray[np.uint8]:
        return self._file.array(*self._places[key], "a storage")

"""PyTorch files (`.pth`, `.pt`): the zip archive that `torch.save` writes since version 1.6.

Inside, below one folder: `data.pkl`, a pickle of the saved value; `data/KEY`, the bytes of each storage; `byteorder`.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import CheckedFile, printable, read_head
from resnet_compile.checkpoints.torch.names import PickleError, TensorView
from resnet_compile.checkpoints.torch.opcodes import MAX_PICKLE, interpret
from resnet_compile.checkpoints.zip_archive import ZipArchive, first_member

# torch.save before 1.6 wrote bare pickles, the first of this number: 0x1950a86a20f9469cfc6c.
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_RECORDS = (b"/data.pkl", b"/version", b"/byteorder", b"/constants.pkl", b"/.format_version", b"/.storage_alignment")
_RESAVE = "save the weights alone: torch.save(model.state_dict(), path), or as safetensors"

STATE_DICT_KEYS = (
    *("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params"),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema"),
)
"""Where a training checkpoint keeps its weights, in the order of preference: raw weights before averaged ones."""


def is_pytorch(path: Path) -> bool:
    """Whether the file begins as an archive of `torch.save` (or TorchScript), or as its older, refused format."""
    head = read_head(path)
    first = first_member(head)
    return first.endswith(_RECORDS) or b"/data/" in first or b"/code/" in first or head[2:15] == _LEGACY_MAGIC


class PyTorchCheckpoint(Checkpoint):
    """The tensors of a state dict, as views of the map; a tensor that is not contiguous is a strided view.

    Which mapping is the state dict: going in from the saved value, a mapping under the first of `STATE_DICT_KEYS` that
    has tensors in it, directly or under such a key again; else the mapping's own tensors; else the only value that is
    a mapping of tensors. Entries that are no tensors are ignored. CRCs are verified where the file has them.

    Attributes:
        section: The keys that lead from the saved value to the state dict: `("state_dict",)`, or `()` for itself.
    """

    format: ClassVar[str] = "PyTorch"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        if self._file.copy(0, min(15, self._file.size), "the head")[2:] == _LEGACY_MAGIC:
            raise self._file.error(
                "the file has the format of PyTorch before 1.6, which only unpickling reads",
                hint="re-save it with a newer PyTorch: torch.save(torch.load(path), path)",
            )
        self._archive = ZipArchive(self._file)
        self._verify = self._archive.has_checksums  # PyTorch can be told to write none
        self._verified: set[str] = set()
        self._folder = self._find_folder()
        try:
            value = interpret(self._small_record("data.pkl", MAX_PICKLE))
            self.section, tensors = find_state_dict(value)
        except PickleError as error:
            raise self._file.error(str(error), self._record("data.pkl"), _RESAVE) from error
        self._tensors = tensors
        if self._record("byteorder") in self._archive and self._small_record("byteorder", 16) != b"little":
            raise self._file.error("the file's numbers are not little-endian", hint=_RESAVE)
        for name, tensor in tensors.items():
            self._check(name, tensor)
            self._add(name, tensor.shape, tensor.dtype)

    def _find_folder(self) -> str:
        folders = [posixpath.dirname(name) for name in self._archive if posixpath.basename(name) == "data.pkl"]
        folders = [folder for folder in folders if folder and "/" not in folder]
        if len(folders) != 1:
            raise self._file.error("not a PyTorch file: it has not exactly one FOLDER/data.pkl")
        if f"{folders[0]}/constants.pkl" in self._archive:
            raise self._file.error("a TorchScript archive, whose modules are code: refused", hint=_RESAVE)
        return folders[0]

    def _record(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _small_record(self, name: str, limit: int) -> bytes:
        record = self._record(name)
        if self._archive[record].size > limit:
            raise self._file.error(f"the record takes more than {limit} bytes", record)
        return self._archive.read(record, verify=self._verify).tobytes()

    def _check(self, name: str, tensor: TensorView) -> None:
        """Compare a tensor's claims with the size of its storage's record, before any view is made of it."""
        storage, itemsize = tensor.storage, tensor.dtype.itemsize
        record = self._record(f"data/{storage.key}")
        if record not in self._archive:
            raise self._file.error("the tensor's storage is missing", name)
        held = self._archive[record].size
        if storage.count * (storage.dtype.itemsize if storage.dtype else 1) != held:
            raise self._file.error(f"the storage has {held} bytes, but claims {storage.count} elements", name)
        claimed = self._file.tensor_bytes(tensor.shape, tensor.dtype, name)
        if len(tensor.strides) != len(tensor.shape):
            raise self._file.error("the tensor has not one stride an axis", name)
        last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
        if claimed and last >= held // itemsize:
            raise self._file.error(f"the tensor reaches to element {last} of a storage of {held} bytes", name)
        if claimed > held:  # strides of zero would let a few bytes stand for terabytes
            raise self._file.error("the tensor has more elements than its storage", name)

    def _read(self, name: str) -> NDArray[Any]:
        tensor = self._tensors[name]
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, tensor.dtype)
        record = self._record(f"data/{tensor.storage.key}")
        storage = self._archive.read(record, verify=self._verify and record not in self._verified)
        self._verified.add(record)
        # The stride of an axis of one is never used and may be any number.
        steps = [step if size > 1 else 0 for size, step in zip(tensor.shape, tensor.strides, strict=True)]
        itemsize = tensor.dtype.itemsize
        return np.ndarray(
            tensor.shape, tensor.dtype, storage.data, tensor.offset * itemsize, [step * itemsize for step in steps]
        )


def find_state_dict(value: object) -> tuple[tuple[str, ...], dict[str, TensorView]]:
    """The keys that lead to the state dict in a saved value, and its tensors, by the rule of `PyTorchCheckpoint`.

    Raises:
        PickleError: There is no mapping of tensors, or several and no rule to choose one.
    """
    if not isinstance(value, dict):
        raise PickleError("the saved value is no mapping of names to tensors")
    found = _search(value, (), set())
    if found is not None:
        return found
    mappings = {key: _tensors(inner) for key, inner in value.items() if isinstance(key, str)}
    candidates = [key for key, tensors in mappings.items() if tensors]
    if len(candidates) == 1:
        return (candidates[0],), mappings[candidates[0]]
    if not candidates:
        raise PickleError("the saved value holds no mapping of names to tensors")
    listed = ", ".join(printable(key) for key in candidates[:5])
    raise PickleError(f"the saved value holds several mappings of names to tensors: {listed}")


def _search(
    value: dict[Any, Any], section: tuple[str, ...], seen: set[int]
) -> tuple[tuple[str, ...], dict[str, TensorView]] | None:
    """The state dict at or below `value`; `seen` ends what a mapping that holds itself would make endless."""
    seen.add(id(value))
    for key in STATE_DICT_KEYS if len(section) < 3 else ():
        inner = value.get(key)
        if isinstance(inner, dict) and id(inner) not in seen and (found := _search(inner, (*section, key), seen)):
            return found
    tensors = _tensors(value)
    return (section, tensors) if tensors else None


def _tensors(value: object) -> dict[str, TensorView]:
    """The entries of a mapping that are tensors under a name."""
    if not isinstance(value, dict):
        return {}
    return {key: entry for key, entry in value.items() if isinstance(key, str) and isinstance(entry, TensorView)}

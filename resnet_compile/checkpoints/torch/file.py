"""PyTorch files (`.pth`, `.pt`, `.ckpt`, `.pt2`) and bare pickles of arrays (`.pkl`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, Unread
from resnet_compile.checkpoints.checked_file import CheckedFile, contiguous, printable, read_head
from resnet_compile.checkpoints.torch.containers import (
    LEGACY_MAGIC,
    RESAVE,
    BarePickle,
    Container,
    LegacyFile,
)
from resnet_compile.checkpoints.torch.exported import archive_of
from resnet_compile.checkpoints.torch.names import runs_code
from resnet_compile.checkpoints.torch.values import Array, Name, PickleError, TensorView, place
from resnet_compile.checkpoints.torch.walk import Tensor, tensors_in
from resnet_compile.checkpoints.zip_archive import first_member

_RECORDS = (
    *(b"/data.pkl", b"/version", b"/byteorder", b"/constants.pkl", b"/.format_version", b"/.storage_alignment"),
    b"serialized_exported_program.json",  # of `torch.export` before 2.8
)
# A pickle begins with its protocol, or before protocol 2 with a mapping; no other format here does.
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(dp[0-9]+\n|\}q.\(|ccollections\n", re.DOTALL)
_SHOWN = 5


def is_pytorch(path: Path) -> bool:
    """Whether the file begins like an archive of `torch.save`, `torch.export.save` or TorchScript, or like a file of
    PyTorch before 1.6.
    """
    head = read_head(path)
    first = first_member(head)
    return first.endswith(_RECORDS) or b"/data/" in first or b"/code/" in first or _is_legacy(head)


def is_pickle(path: Path) -> bool:
    """Whether the file begins like a bare pickle."""
    head = read_head(path)
    return _PICKLE.match(head) is not None and not _is_legacy(head)


def _is_legacy(head: bytes) -> bool:
    return head[2:15] == LEGACY_MAGIC


class PyTorchCheckpoint(Checkpoint):
    """The tensors in a file of `torch.save`, as views of the map; a non-contiguous tensor is a strided view.

    It has all tensors by their paths in the saved value (`walk`): ``conv1.weight`` in a bare state dict,
    ``state_dict/conv1.weight``, ``optimizer/state/0/momentum_buffer``. It does not know which belong to a network.
    Nothing in the file is imported or called; other values than tensors are skipped.
    """

    format: ClassVar[str] = "PyTorch"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        self._container = self._open()
        self._tensors: dict[str, Tensor] = {}
        names: set[Name] = set()
        try:
            for key, pickled in self._container.values():
                self._tensors |= tensors_in({key: pickled.value} if key else pickled.value)
                names |= pickled.names
        except PickleError as error:
            raise self._file.error(str(error), self._container.where, RESAVE) from error
        self.objects, self.warnings = _objects(names), _warnings(names)
        for name, tensor in self._tensors.items():
            match tensor:
                case TensorView():
                    self._check(name, tensor)
                    self._add(name, tensor.shape, tensor.dtype, place(tensor))
                case Array():
                    if self._file.tensor_bytes(tensor.shape, tensor.dtype, name) != tensor.held:
                        raise self._file.error("the array's bytes do not match its shape", name)
                    self._add(name, tensor.shape, tensor.dtype)
                case Unread():
                    self._list(name, tensor)

    def _open(self) -> Container:
        head = self._file.copy(0, min(15, self._file.size), "the head")
        return LegacyFile(self._file) if _is_legacy(head) else archive_of(self._file)

    def _check(self, name: str, tensor: TensorView) -> None:
        """Compares a tensor's claims with the size of its storage, before any view of it exists."""
        storage, itemsize = tensor.storage, tensor.dtype.itemsize
        held = self._container.size(storage.key)
        if held is None:
            raise self._file.error("the tensor's storage is missing", name)
        if (storage.start + storage.count) * storage.kind.itemsize != held and not storage.start:
            raise self._file.error(f"the storage has {held} bytes, but claims {storage.count} elements", name)
        claimed = self._file.tensor_bytes(tensor.shape, tensor.dtype, name)
        if len(tensor.strides) != len(tensor.shape):
            raise self._file.error("the tensor must have one stride for each axis", name)
        last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
        if claimed and last >= held // itemsize:
            raise self._file.error(f"the tensor reaches to element {last} of a storage of {held} bytes", name)
        if claimed > held:  # with strides of zero a few bytes could claim to be terabytes
            raise self._file.error("the tensor has more elements than its storage", name)

    def _read(self, name: str) -> NDArray[Any]:
        tensor = self._tensors[name]
        if isinstance(tensor, TensorView):
            return self._view(tensor)
        assert isinstance(tensor, Array), "nothing else is in the mapping"
        try:
            return contiguous(tensor.values(), tensor.dtype, tensor.shape, order=tensor.order)
        except PickleError as error:
            raise self._file.error(str(error), name) from error

    def _view(self, tensor: TensorView) -> NDArray[Any]:
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, tensor.dtype)
        storage = self._container.read(tensor.storage.key)
        # The stride of an axis of length 1 is never used, and may be any number.
        steps = [step if size > 1 else 0 for size, step in zip(tensor.shape, tensor.strides, strict=True)]
        itemsize = tensor.dtype.itemsize
        return np.ndarray(
            tensor.shape, tensor.dtype, storage.data, tensor.offset * itemsize, [step * itemsize for step in steps]
        )


class PickleCheckpoint(PyTorchCheckpoint):
    """The arrays of numpy in a bare pickle, such as detectron2's `.pkl`, by their paths as in `PyTorchCheckpoint`."""

    format: ClassVar[str] = "pickle"

    def _open(self) -> Container:
        return BarePickle(self._file)


def _objects(names: Iterable[Name]) -> tuple[str, ...]:
    return tuple(sorted(printable(str(name)) for name in names))


def _warnings(names: Iterable[Name]) -> tuple[str, ...]:
    """A warning about names in a file that can run code when a program unpickles it."""
    found = _objects(name for name in names if runs_code(name))
    if not found:
        return ()
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    shown = ", ".join(found[:_SHOWN])
    return (f"names {shown}{more}, which can run code when PyTorch unpickles the file; not run here",)

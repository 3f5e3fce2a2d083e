"""The archives of `torch.export.save` (``.pt2``): the tensors, without the program.

Since PyTorch 2.8 one folder holds `models/NAME.json`, the program; `data/weights/NAME_weights_config.json`, the file
and tensor type of each name in the state dict; and the files with the storages' bytes. `data/constants` likewise holds
the constants of the program. Before 2.8 the archive has `serialized_state_dict.pt`, a file of `torch.save`. Source:
PyTorch's `torch/export/pt2_archive` and `_export/serde/schema.py`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.checkpoints.torch.containers import Archive, Container, ZipContainer
from resnet_compile.checkpoints.torch.opcodes import Pickled
from resnet_compile.checkpoints.torch.values import (
    SCALAR_TYPES,
    PickleError,
    Storage,
    StorageType,
    TensorView,
    naturals,
)
from resnet_compile.checkpoints.zip_archive import ZipArchive

STATE_DICT = "serialized_state_dict.pt"
"""The member with the weights, in an archive from before 2.8."""

_STRIDED = 7


def archive_of(file: CheckedFile) -> Container:
    """The container of the tensors in a zip archive of PyTorch."""
    archive = ZipArchive(file)
    if STATE_DICT in archive:
        inner = CheckedFile(file.path, archive.read(STATE_DICT).data)
        return Archive(inner, ZipArchive(inner))
    configs = [name for name in archive if name.endswith("_weights_config.json")]
    return Exported(file, archive, configs) if configs else Archive(file, archive)


class Exported(ZipContainer):
    """The weights and constants of the models in an archive, by their names in the model's state dict.

    `configs` are the members that describe weights, one for each model. With several, names begin with the model's.
    """

    def __init__(self, file: CheckedFile, archive: ZipArchive, configs: list[str]) -> None:
        super().__init__(file, archive)
        self._configs = configs

    def values(self) -> Iterator[tuple[str, Pickled]]:
        for config in self._configs:
            folder, name = posixpath.split(config)
            model = name.removesuffix("_weights_config.json")
            constants = f"{posixpath.dirname(folder)}/constants/{model}_constants_config.json"
            for key, member in (("", config), ("constants", constants)):
                if member in self._archive:
                    path = [model] if len(self._configs) > 1 else []
                    tensors = dict(self._tensors(member))
                    yield "/".join([*path, *filter(None, [key])]), Pickled(tensors, frozenset(), {}, 0)

    def _tensors(self, config: str) -> Iterator[tuple[str, TensorView | Unread]]:
        entries = self._archive.json(config).get("config")
        if not isinstance(entries, dict):
            raise PickleError("the weights of the program are not described as PyTorch describes them")
        for name, entry in entries.items():
            meta = entry.get("tensor_meta") if isinstance(entry, dict) else None
            if isinstance(meta, dict):  # else an object of another class
                yield name, self._tensor(posixpath.dirname(config), entry, meta)

    def _tensor(self, folder: str, entry: Mapping[str, Any], meta: Mapping[str, Any]) -> TensorView | Unread:
        shape, strides = (_sizes(meta.get(key)) for key in ("sizes", "strides"))
        (offset,) = _sizes([meta.get("storage_offset")])
        number = meta.get("dtype")
        dtype = SCALAR_TYPES.get(number) if type(number) is int else None
        if entry.get("use_pickle"):
            return Unread("of a class of its own", shape, "save model.state_dict() of plain tensors with torch.save")
        if dtype is None or meta.get("layout") != _STRIDED:
            kind = f"of ScalarType {str(number)[:20]}" if dtype is None else "sparse"
            return Unread(kind, shape, "save tensor.float()" if dtype is None else "save tensor.to_dense()")
        key = f"{folder}/{entry.get('path_name')}"
        count = (self.size(key) or 0) // dtype.itemsize
        return TensorView(Storage(key, StorageType(dtype, dtype.itemsize), count), dtype, offset, shape, strides)


def _sizes(values: object) -> tuple[int, ...]:
    """Numbers of the program, ``{"as_int": 3}`` each; raises for symbols."""
    if not isinstance(values, list):
        raise PickleError("a tensor of the program is not described as PyTorch describes one")
    return naturals([value.get("as_int") if isinstance(value, dict) else None for value in values])

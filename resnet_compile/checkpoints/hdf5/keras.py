"""Keras weights in HDF5 (`.h5`), as `model.save_weights` and `model.save` of Keras 1 and 2 write them.

A root group (`model_weights` in a whole model) lists its layers in the attribute `layer_names`, each layer's group its
tensors in `weight_names`; the tensor `conv1/kernel:0` of layer `conv1` lies at `/conv1/conv1/kernel:0` and is called
`conv1/kernel` here. Source: Keras's `hdf5_format.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import CheckedFile, read_head
from resnet_compile.checkpoints.hdf5.dataset import Hdf5Dataset, check_overlap, locate, read_dataset
from resnet_compile.checkpoints.hdf5.file import ATTRIBUTE, SIGNATURE, Hdf5File
from resnet_compile.checkpoints.hdf5.types import StringAttribute, attribute_of

_TOP_LEVEL = "top_level_model_weights"  # variables that belong to no layer
_LEGACY = "save the whole model in Keras's older format: model.save('NAME.h5')"


def is_keras_h5(path: Path) -> bool:
    """Whether the file begins as an HDF5 file, of Keras or not."""
    return read_head(path).startswith(SIGNATURE)


class KerasCheckpoint(Checkpoint):
    """The weights of a Keras model by `layer/weight`; datasets that are not chunked are views of the map.

    The format has no checksums: damage to values is not noticed.
    """

    format: ClassVar[str] = "Keras HDF5"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        self._hdf5 = Hdf5File(self._file)
        self._datasets: dict[str, Hdf5Dataset] = {}
        for name, address in self._weights():
            dataset = locate(self._hdf5, address, name)
            self._add(name, dataset.shape, dataset.dtype)
            self._datasets[name] = dataset
        check_overlap(self._file, self._datasets)

    def _read(self, name: str) -> NDArray[Any]:
        return read_dataset(self._file, self._datasets[name], name)

    def _weights(self) -> Iterator[tuple[str, int]]:
        """Name and dataset's address of every tensor, in the file's order."""
        root = self._hdf5.root
        members = self._hdf5.group(root)
        layers = self._names(root, "layer_names")
        if layers is None and "model_weights" in members:
            root = self._hdf5.member(root, "model_weights")
            layers = self._names(root, "layer_names")
        if layers is None:
            keras3 = "layers" in members or "_layer_checkpoint_dependencies" in members
            what = "weights in the layout of Keras 3, which keeps no names" if keras3 else "no Keras weights in it"
            raise self._file.error(what, hint=_LEGACY if keras3 else None)
        if _TOP_LEVEL in self._hdf5.group(root) and _TOP_LEVEL not in layers:
            layers.append(_TOP_LEVEL)
        for layer in layers:
            group = self._hdf5.member(root, layer)
            weights = self._names(group, "weight_names")
            if weights is None:
                raise self._file.error("a layer without weight_names", layer)
            for weight in weights:
                name = weight.removesuffix(":0")
                yield name if name.startswith(f"{layer}/") else f"{layer}/{name}", self._hdf5.member(group, weight)

    def _names(self, group: int, key: str) -> list[str] | None:
        """A list of strings in an attribute, or in `key0`, `key1`, ... where it outgrew 64 KiB; None if absent."""
        messages = self._hdf5.messages(group)
        attributes = dict(attribute_of(self._file, body) for kind, body in messages if kind == ATTRIBUTE)
        parts = [key] if key in attributes else []
        if not parts:
            numbered = (f"{key}{index}" for index in itertools.count())
            parts = list(itertools.takewhile(attributes.__contains__, numbered))
        names: list[str] = []
        for part in parts:
            attribute = attributes[part]
            if attribute is None:
                raise self._file.error("the attribute is no list of strings", part)
            names += self._strings(attribute)
        return names if parts else None

    def _strings(self, attribute: StringAttribute) -> Iterator[str]:
        for index in range(attribute.count):
            raw = attribute.data[index * attribute.size : (index + 1) * attribute.size]
            if attribute.in_heap:  # length, address of the collection, number of the object in it
                length, collection, number = (
                    int.from_bytes(raw[a:b], "little") for a, b in ((0, 4), (4, 12), (12, 16))
                )
                start, size = self._hdf5.heap_object(collection, number)
                self._hdf5.count(1 + length // 64)  # the same long string could be meant every time
                raw = self._file.copy(start, min(length, size), "a string")
            try:
                yield raw.partition(b"\0")[0].decode("utf-8")
            except UnicodeDecodeError as error:
                raise self._file.error("a name in the file is not UTF-8") from error

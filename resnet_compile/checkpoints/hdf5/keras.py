"""Keras weights: in HDF5 (`.h5`), as Keras 1 and 2 and Keras 3 write them, and whole models of Keras 3 (`.keras`).

Keras 1 and 2: a root group (`model_weights` in a whole model) lists its layers in the attribute `layer_names`; each
layer's group lists its tensors in `weight_names`. The tensor `conv1/kernel:0` of layer `conv1` is at
`/conv1/conv1/kernel:0` and is called `conv1/kernel` here. Source: Keras's `hdf5_format.py`. Keras 3: see `keras3`; a
`.keras` file is a zip archive of `metadata.json`, `config.json` and `model.weights.h5`. Source: its `saving_lib.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, Unread
from resnet_compile.checkpoints.checked_file import CheckedFile, printable, read_head
from resnet_compile.checkpoints.hdf5 import keras3, keras_averages
from resnet_compile.checkpoints.hdf5.attributes import attributes, strings
from resnet_compile.checkpoints.hdf5.dataset import Hdf5Dataset, check_overlap, locate, read_dataset
from resnet_compile.checkpoints.hdf5.file import SIGNATURE, Hdf5File
from resnet_compile.checkpoints.zip_archive import ZipArchive, first_member

_TOP_LEVEL = "top_level_model_weights"  # variables outside the layers
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def is_keras_h5(path: Path) -> bool:
    """Whether the file begins like an HDF5 file, of Keras or not."""
    return read_head(path).startswith(SIGNATURE)


def is_keras_archive(path: Path) -> bool:
    """Whether the file begins like a zip archive with a member of a Keras model."""
    return first_member(read_head(path)).decode("latin-1") in (_CONFIG, _METADATA, _WEIGHTS)


class KerasCheckpoint(Checkpoint):
    """The weights of a Keras model by `layer/weight`. The format has no checksums: damaged values go unnoticed."""

    format: ClassVar[str] = "Keras HDF5"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        self._load(self._file, None)

    def _load(self, file: CheckedFile, model: Mapping[str, Any] | None) -> None:
        """Adds the tensors of an HDF5 file; `model` is the model's `config.json`."""
        self._hdf5 = Hdf5File(file)
        self._datasets: dict[str, Hdf5Dataset] = {}
        found = list(self._found(model))
        averages = {}
        if model and keras_averages.keeps_averages(model):
            averages = keras_averages.average_names(model, {name: dataset.shape for name, dataset in found})
            self.notes += () if averages else (keras_averages.UNTOLD,)
        for known, dataset in found:
            name = averages.get(known, known)
            if isinstance(dataset, Unread):
                self._list(name, dataset)
            else:
                self._add(name, dataset.shape, dataset.dtype)
                self._datasets[name] = dataset
        check_overlap(file, self._datasets)

    def _read(self, name: str) -> NDArray[Any]:
        return read_dataset(self._hdf5.file, self._datasets[name], name)

    def _found(self, model: Mapping[str, Any] | None) -> Iterator[tuple[str, Hdf5Dataset | Unread]]:
        """Name and dataset of every tensor, in the file's order."""
        root = self._hdf5.root
        members = self._hdf5.group(root)
        layers = self._names(root, "layer_names")
        if layers is None and "model_weights" in members:
            root = self._hdf5.member(root, "model_weights")
            layers = self._names(root, "layer_names")
        if layers is not None:
            for name, address in self._weights(root, layers):
                yield name, locate(self._hdf5, address, name)
        elif keras3.is_model(members):
            weights = keras3.Weights(self._hdf5)
            yield from weights.layer(root, model)
            self.notes = weights.notes
        else:
            raise self._file.error("the HDF5 file has no Keras weights")

    def _weights(self, root: int, layers: list[str]) -> Iterator[tuple[str, int]]:
        """Name and dataset's address of every tensor in the listed layers."""
        if _TOP_LEVEL in self._hdf5.group(root) and _TOP_LEVEL not in layers:
            layers.append(_TOP_LEVEL)
        for layer in layers:
            group = self._hdf5.member(root, layer)
            weights = self._names(group, "weight_names")
            if weights is None:
                raise self._file.error("the layer has no weight_names", layer)
            for weight in weights:
                name, variable = weight.removesuffix(":0"), weight.removesuffix(":0").rpartition("/")[2]
                if f"/{name}".endswith(f"/{layer}/{variable}"):  # Keras 3 has its model in front
                    name = f"{layer}/{variable}"
                yield name if name.startswith(f"{layer}/") else f"{layer}/{name}", self._hdf5.member(group, weight)

    def _names(self, group: int, key: str) -> list[str] | None:
        """A list of strings in an attribute, or in `key0`, `key1`, ... if it is larger than 64 KiB; None if absent."""
        found = attributes(self._hdf5, group)
        parts = [key] if key in found else []
        if not parts:
            numbered = (f"{key}{index}" for index in itertools.count())
            parts = list(itertools.takewhile(found.__contains__, numbered))
        names: list[str] = []
        for part in parts:
            attribute = found[part]
            if attribute is None or not attribute.is_list:
                raise self._file.error("the attribute is not a list of strings", part)
            names += strings(self._hdf5, attribute)
        return names if parts else None


class KerasArchive(KerasCheckpoint):
    """The weights of a `.keras` file, with the same names. Opening it verifies the archive's CRC-32."""

    format: ClassVar[str] = "Keras archive"

    def __init__(self, path: Path) -> None:
        Checkpoint.__init__(self, CheckedFile(path))
        archive = ZipArchive(self._file)
        if _WEIGHTS not in archive:
            raise self._file.error(f"no {_WEIGHTS} in the archive", hint="model.save('NAME.keras') writes one")
        metadata, config = (archive.json(member) if member in archive else {} for member in (_METADATA, _CONFIG))
        version = metadata.get("keras_version")
        if isinstance(version, str):
            self.facts["Keras"] = printable(version)
        self._load(CheckedFile(path, archive.read(_WEIGHTS).data), config)
        self.notes += tuple(filter(None, [keras3.scaling(config)]))

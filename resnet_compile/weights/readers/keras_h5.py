"""Keras weights in HDF5 (`.h5`), as `model.save_weights` and `model.save` of Keras 1 and 2 write them.

A root group (`model_weights` in a whole model) lists its layers in the attribute `layer_names`, each layer's group its
tensors in `weight_names`; the tensor `conv1/kernel:0` of layer `conv1` lies at `/conv1/conv1/kernel:0` and is called
`conv1/kernel` here. Source: Keras's `hdf5_format.py`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from resnet_compile.weights.readers.checked_file import CheckedFile, MappedCheckpoint, read_head
from resnet_compile.weights.readers.hdf5_dataset import Dataset, check_overlap, locate, read_dataset

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = re.compile(rb"GCOL\x01\x00{3}")  # a global heap collection: where strings of variable length lie
_MAX_NAMES = 100_000
_MAX_STRING_BYTES = 64 << 20
_LEGACY = "save the whole model in Keras's older format: model.save('NAME.h5')"


def is_keras_h5(path: str | Path) -> bool:
    """Whether the file begins as an HDF5 file, of Keras or not."""
    return read_head(Path(path)).startswith(_SIGNATURE)


def open_keras_h5(path: str | Path) -> KerasCheckpoint:
    """Open a Keras `.h5` file; `CheckpointError` where it is damaged, hostile or not one, or h5py is missing."""
    return KerasCheckpoint(Path(path))


class KerasCheckpoint(MappedCheckpoint):
    """The weights of a Keras model by `layer/weight`; datasets that are not chunked are views of the map."""

    format: ClassVar[str] = "Keras HDF5"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        if not is_keras_h5(path):
            raise self._file.error("not an HDF5 file")
        try:
            import h5py  # an optional dependency
        except ImportError as error:
            hint = 'pip install "resnet_compile[keras]"'
            raise self._file.error("reading an HDF5 file needs h5py", hint=hint) from error
        self._h5py = h5py
        self._datasets: dict[str, Dataset] = {}
        # No lock is wanted for reading, and not every file system grants one.
        with self._guard(), h5py.File(path, "r", locking=False) as h5:
            if h5.userblock_size:
                raise self._file.error("an HDF5 file behind a user block")
            for name, group, weight in self._weights(h5):
                with self._guard(name):
                    dataset = locate(self._file, h5py, self._member(group, weight), name)
                self._add(name, dataset.shape, dataset.dtype)
                self._datasets[name] = dataset
        check_overlap(self._file, self._datasets)

    def _read(self, name: str) -> NDArray[Any]:
        return read_dataset(self._file, self._datasets[name], name)

    @contextmanager
    def _guard(self, name: str | None = None) -> Iterator[None]:
        """Turn what h5py raises about a damaged file into a `CheckpointError`."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
            raise self._file.error(
                f"HDF5 cannot read it ({type(error).__name__}): the file is damaged", name
            ) from error

    def _weights(self, h5: Any) -> Iterator[tuple[str, Any, str]]:
        """Name, layer group and path within it of every tensor, in the file's order."""
        root = h5
        if not self._has_names(root, "layer_names") and "model_weights" in root:
            root = self._member(root, "model_weights")
        if not self._has_names(root, "layer_names"):
            keras3 = "layers" in root or "_layer_checkpoint_dependencies" in root
            what = "weights in the layout of Keras 3, which keeps no names" if keras3 else "no Keras weights in it"
            raise self._file.error(what, hint=_LEGACY if keras3 else None)
        layers = self._names(root, "layer_names")
        if "top_level_model_weights" in root and "top_level_model_weights" not in layers:
            layers.append("top_level_model_weights")  # variables that belong to no layer
        for layer in layers:
            with self._guard(layer):
                group = self._member(root, layer)
                weights = self._names(group, "weight_names")
            for weight in weights:
                name = weight.removesuffix(":0")
                yield name if name.startswith(f"{layer}/") else f"{layer}/{name}", group, weight

    def _member(self, group: Any, path: str) -> Any:
        """The object at a path below a group, by hard links only: any other link could leave the file."""
        for part in path.split("/"):
            if not isinstance(group, self._h5py.Group) or part in ("", "."):
                raise self._file.error("the path leads through no group", path)
            if not isinstance(group.get(part, getlink=True), self._h5py.HardLink):
                raise self._file.error("a soft or external link: refused", path)
            group = group[part]
        return group

    def _has_names(self, group: Any, key: str) -> bool:
        return key in group.attrs or f"{key}0" in group.attrs

    def _names(self, group: Any, key: str) -> list[str]:
        """A list of strings in an attribute, or in `key0`, `key1`, ... where it outgrew HDF5's 64 KiB."""
        keys = [key] if key in group.attrs else []
        if not keys:
            keys = list(itertools.takewhile(group.attrs.__contains__, (f"{key}{index}" for index in itertools.count())))
        names: list[str] = []
        for part in keys:
            attribute = group.attrs.get_id(part)
            count = math.prod(attribute.shape)
            if not count:  # written as an empty list of floats
                continue
            kind = attribute.get_type()
            if len(attribute.shape) != 1 or not isinstance(kind, self._h5py.h5t.TypeStringID):
                raise self._file.error("the attribute is no list of strings", part)
            # Many strings of variable length may all be one long one.
            length = self._longest_string if kind.is_variable_str() else kind.get_size()
            if len(names) + count > _MAX_NAMES or count * length > _MAX_STRING_BYTES:
                raise self._file.error("the attribute claims too many or too long names", part)
            names += [self._text(value) for value in group.attrs[part]]
        return names

    def _text(self, value: object) -> str:
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)

    @cached_property
    def _longest_string(self) -> int:
        """An upper bound for the length of any string of variable length: the largest heap collection in the file."""
        view = self._file.view
        sizes = (int.from_bytes(view[heap.end() : heap.end() + 8], "little") for heap in _HEAP.finditer(view))
        return min(max(sizes, default=0), self._file.size)

"""Saving a network's outputs for many images as ``.npy`` or ``.npz``, with a batch in memory at a time."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ImageError, OptionError
from resnet_compile.files import writing

IMAGES_KEY = "images"
"""The array of a ``.npz`` that holds the images' paths, row by row."""


class FeatureFile:
    """Rows of named arrays, collected on disk batch by batch and then written as one file.

    A ``.npy`` has one array. A ``.npz`` has an array for each name, and the images' paths under ``images``.

    Args:
        path: The file; its suffix decides the format, and temporary files go to its folder.
        names: The arrays' names.

    Raises:
        OptionError: The suffix is neither, or several arrays are to go into a ``.npy``.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._npz = path.suffix.lower() == ".npz"
        if not self._npz and path.suffix.lower() != ".npy":
            raise OptionError(
                f"outputs must be saved as .npy or .npz, got {path.suffix or 'no suffix'}", where=str(path)
            )
        if not self._npz and len(names) != 1:
            raise OptionError(f"a .npy holds one output, got {len(names)}", where=str(path), hint="save as .npz")
        self._path = path
        self._names = tuple(names)
        self._images: list[str] = []
        self._rows: dict[str, BinaryIO] = {}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rows in self._rows.values():
            rows.close()

    def append(self, images: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Adds a row for each image to each array.

        Raises:
            OutputError: The disk is full.
        """
        self._images.extend(images)
        for name in self._names:
            array = arrays[name]
            with writing(self._path):
                if name not in self._rows:
                    self._rows[name] = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115  # closed on exit
                    self._kinds[name] = (array.dtype, array.shape[1:])
                self._rows[name].write(array.tobytes())

    def write(self, file: BinaryIO) -> dict[str, tuple[int, ...]]:
        """Writes everything to an open file.

        Returns:
            The shapes by name.

        Raises:
            ImageError: There is nothing to write.
        """
        if not self._images:
            raise ImageError("no image could be read, so there is nothing to save")
        if not self._npz:
            self._write_array(self._names[0], file)
        else:
            with zipfile.ZipFile(file, "w") as archive:
                for name in self._names:
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        self._write_array(name, member)
                with archive.open(f"{IMAGES_KEY}.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(self._images), allow_pickle=False)
        return {name: (len(self._images), *shape) for name, (_, shape) in self._kinds.items()}

    def _write_array(self, name: str, file: Any) -> None:
        dtype, shape = self._kinds[name]
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (len(self._images), *shape),
        }
        np.lib.format.write_array_header_1_0(file, header)
        rows = self._rows[name]
        with writing(self._path):
            rows.seek(0)  # writes what is still buffered
        shutil.copyfileobj(rows, file, 1 << 20)

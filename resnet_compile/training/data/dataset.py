"""A data set: labels in memory, images where they lie until they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import DataError, ResnetCompileError
from resnet_compile.images import RgbImage, decode_image

Split = Literal["train", "test"]
"""The images to learn from, or those held out."""


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Images of one size.

    Attributes:
        parts: uint8 ``[n, H, W, 3]`` each, usually views of memory maps, in whatever order of bytes the file has.
        starts: Index of each part's first image.
    """

    parts: tuple[NDArray[np.uint8], ...]
    starts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", tuple(accumulate((len(part) for part in self.parts[:-1]), initial=0)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        height, width = self.parts[0].shape[1:3]
        return height, width

    def image(self, index: int) -> RgbImage:
        """One image, copied."""
        return np.ascontiguousarray(self.gather(np.array([index]))[0])

    def gather(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images at `indices`, copied: uint8 ``[n, H, W, 3]``."""
        part_of = np.searchsorted(self.starts, indices, side="right") - 1
        images = np.empty((len(indices), *self.size, 3), np.uint8)
        for part in np.unique(part_of):
            rows = part_of == part
            images[rows] = self.parts[part][indices[rows] - self.starts[part]]
        return images


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files of any sizes, decoded whenever they are wanted."""

    paths: tuple[Path, ...]

    def image(self, index: int) -> RgbImage:
        """One image as `resnet_compile.images` decodes it; `DataError` naming the file where it cannot."""
        with data_errors():
            return decode_image(self.paths[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set; the order of its images is fixed.

    Attributes:
        name: What kind it is: ``cifar10``, ``cifar100``, ``npz``, or ``folder``.
        files: The files that were read; of an image tree, the split's folder.
        labels: Class of each image, int64 ``[N]``, all less than the network's number of classes.
        class_names: A name for each class that the data set knows; the numbers ``0``, ``1`` and on where it has no
            names, and as many as the network has classes where it does not tell how many it knows.
        source: The images.
    """

    name: str
    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    source: ImageArrays | ImageFiles

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> RgbImage:
        """One image, uint8 ``[H, W, 3]``, RGB.

        Raises:
            DataError: It is a file that cannot be decoded.
        """
        return self.source.image(index)


def check_labels(labels: NDArray[Any], classes: int, where: str) -> None:
    """Raises a `DataError` naming the first record, counted from 0, whose integer label is no class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        record = int(wrong[0])
        message = f"label {labels[record]} is not one of {classes} classes, 0 to {classes - 1}"
        raise DataError(message, where=f"{where}: record {record}")


def check_class_count(class_names: Sequence[str], num_classes: int, path: Path) -> None:
    """Raises a `DataError` where the data set has more classes than the network."""
    if len(class_names) > num_classes:
        message = f"the data set has {len(class_names)} classes, the network only {num_classes}"
        raise DataError(message, where=str(path), hint="set the spec's `head.num_classes`")


@contextmanager
def data_errors() -> Iterator[None]:
    """What the readers of files say of damage, as `DataError`."""
    try:
        yield
    except ResnetCompileError as error:
        raise DataError(error.message, where=error.where, hint=error.hint) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(error.filename)) from error

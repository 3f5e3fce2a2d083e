"""A data set: labels in memory, images read from their files on demand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import DataError, ResnetCompileError
from resnet_compile.images import RgbImage, decode_image

# Broken images that one message names beside the first.
_TOLD = 20

Split = Literal["train", "test"]
"""The training or the held-out images."""


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
        return np.ascontiguousarray(self.gather(np.array([index]))[0])

    def gather(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images at `indices`, copied: uint8 ``[n, H, W, 3]``."""
        part_of = np.searchsorted(self.starts, indices, side="right") - 1
        images = np.empty((len(indices), *self.size, 3), np.uint8)
        for part in np.unique(part_of):
            rows = part_of == part
            images[rows] = self.parts[part][indices[rows] - self.starts[part]]
        return images

    def chosen(self, indices: NDArray[np.int64]) -> ImageArrays:
        """The images at `indices`, copied."""
        return ImageArrays((self.gather(indices),))


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files of any sizes, decoded on demand."""

    paths: tuple[Path, ...]

    def image(self, index: int) -> RgbImage:
        """One image as `resnet_compile.images` decodes it; `DataError` naming the file where it cannot."""
        with data_errors():
            return decode_image(self.paths[index])

    def chosen(self, indices: NDArray[np.int64]) -> ImageFiles:
        """The files at `indices`."""
        return ImageFiles(tuple(self.paths[index] for index in indices))


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set; the order of its images is fixed.

    Attributes:
        name: What kind it is: ``cifar10``, ``cifar100``, ``npz``, or ``folder``.
        files: The files that were read; of an image tree, the split's folder.
        labels: Class of each image, int64 ``[N]``, all less than the network's number of classes.
        class_names: The name of each class, or its number as text if the data has no names. An ``.npz`` has as many as
            the network has classes, or one more than its greatest label.
        source: The images.
    """

    name: str
    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    source: ImageArrays | ImageFiles

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> list[str] | None:
        """The classes' names; None if they are only numbered."""
        numbers = tuple(map(str, range(len(self.class_names))))
        return None if self.class_names == numbers else [*self.class_names]

    def image(self, index: int) -> RgbImage:
        """One image, uint8 ``[H, W, 3]``, RGB.

        Raises:
            DataError: It is a file that cannot be decoded.
        """
        return self.source.image(index)

    def images(self) -> Iterator[Path | RgbImage]:
        """Every image in order: its file, or its pixels."""
        if isinstance(self.source, ImageFiles):
            yield from self.source.paths
        else:
            yield from map(self.source.image, range(len(self)))

    def chosen(self, indices: NDArray[np.int64]) -> Dataset:
        """The images at `indices`, in their order; of arrays a copy."""
        return replace(self, labels=self.labels[indices], source=self.source.chosen(indices))


def held_out(dataset: Dataset, fraction: float) -> tuple[Dataset, Dataset]:
    """Splits a data set that has no held-out images.

    In each class, images are ordered by the SHA-256 of their names, or of their pixels if they have no names, and the
    first share is held out. The split therefore depends only on the images, and added images move few others. A class
    of two images or more has at least one on each side.

    Args:
        dataset: The images.
        fraction: The share of each class to hold out, between 0 and 1.

    Returns:
        The training images, and those held out.

    Raises:
        DataError: No class has two images.
    """
    digests = np.array(_digests(dataset))
    out: list[int] = []
    for label in range(len(dataset.class_names)):
        members = np.flatnonzero(dataset.labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        out.extend(members[np.argsort(digests[members], kind="stable")][: max(count, 0)].tolist())
    if not out:
        hint = "a class needs two images at least"
        raise DataError("no image can be held out", where=str(dataset.files[0]), hint=hint)
    chosen = np.zeros(len(dataset), np.bool_)
    chosen[out] = True
    return dataset.chosen(np.flatnonzero(~chosen)), dataset.chosen(np.flatnonzero(chosen))


def _digests(dataset: Dataset) -> list[bytes]:
    if isinstance(dataset.source, ImageFiles):
        names = (path.relative_to(dataset.files[0]).as_posix() for path in dataset.source.paths)
        return [hashlib.sha256(os.fsencode(name)).digest() for name in names]
    return [hashlib.sha256(dataset.image(index).tobytes()).digest() for index in range(len(dataset))]


def check_images(dataset: Dataset, interrupted: Callable[[], bool] = lambda: False) -> None:
    """Decodes every file once, on threads, so that no run ends in the middle over one of them.

    It takes about as long as the first round through the images spends on decoding.

    Args:
        dataset: The images; arrays need no check.
        interrupted: Called before every image; True skips the rest.

    Raises:
        DataError: Images cannot be read; the message names the first and gives their number.
    """
    source = dataset.source
    if not isinstance(source, ImageFiles):
        return

    def fault(index: int) -> DataError | None:
        try:
            if not interrupted():
                source.image(index)
        except DataError as error:
            return error
        return None

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="check") as pool:
        faults = [error for error in pool.map(fault, range(len(dataset))) if error]
    if faults:
        first, *others = faults
        told = DataError(first.message, where=first.where, hint=first.hint)
        told.also = tuple(map(str, others[:_TOLD]))
        if len(others) > _TOLD:
            told.also += (f"and {len(others) - _TOLD} more",)
        raise told


def check_labels(labels: NDArray[Any], classes: int, where: str) -> None:
    """Raises a `DataError` naming the first record, counted from 0, whose integer label is no class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        record = int(wrong[0])
        message = f"label {labels[record]} is not one of {classes} classes, 0 to {classes - 1}"
        raise DataError(message, where=f"{where}: record {record}")


def check_class_count(class_names: Sequence[str], num_classes: int | None, path: Path) -> None:
    """Raises a `DataError` where the data set has more classes than the network."""
    if num_classes is not None and len(class_names) > num_classes:
        message = f"the data set has {len(class_names)} classes, the network only {num_classes}"
        raise DataError(message, where=str(path), hint=f"--num-classes {len(class_names)}")


@contextmanager
def data_errors() -> Iterator[None]:
    """Turns errors of damaged files into `DataError`."""
    try:
        yield
    except ResnetCompileError as error:
        raise DataError(error.message, where=error.where, hint=error.hint) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(error.filename)) from error

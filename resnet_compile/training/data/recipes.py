"""Preparing the images of a batch: a recipe for CIFAR's small images, one for photographs and one for no augmentation.

Each recipe fills rows of a batch from the images at given indices, with a row of random numbers for each image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resnet_compile.images import Preprocessing, choose_scheme, pillow_resize, standardise
from resnet_compile.schemes import Scheme
from resnet_compile.training.data.augmentation import (
    BOX_NUMBERS,
    SHIFT_NUMBERS,
    Numbers,
    random_box,
    shifted,
)
from resnet_compile.training.data.dataset import Dataset, ImageArrays
from resnet_compile.training.options import Augmentation

_CIFAR = "cifar"


class Recipe(Protocol):
    """Fills the rows of a batch from images."""

    @property
    def numbers(self) -> int:
        """How many random numbers an image takes."""

    def fill(self, dataset: Dataset, indices: NDArray[np.int64], numbers: Numbers, rows: NDArray[np.float32]) -> None:
        """Writes the images at `indices`, ``[n]``, into `rows`, ``[n, 3, H, W]``; `numbers` is ``[n, self.numbers]``.

        Raises:
            DataError: An image cannot be decoded.
        """


def training_recipe(scheme: str | Scheme | None, size: tuple[int, int], augmentation: Augmentation) -> Recipe:
    """The augmentation that goes with a scheme.

    ``cifar``: zeros around the image, a random crop back to the size, mirrored half of the time, and standardised at
    the very end, black borders included, as the original does. All others: a random part of the image, of 8 % to all
    of its area, resized to the input, mirrored half of the time, and normalised as the scheme does.

    Args:
        scheme: The preprocessing scheme or its name; None as in `choose_scheme`.
        size: Height and width of the network's input.
        augmentation: ``crop-flip`` does all of this, ``crop`` mirrors nothing, ``none`` is as in evaluation.

    Raises:
        OptionError: There is no such scheme.
    """
    found = choose_scheme(scheme, size)
    if augmentation == "none":
        return Preprocessed(found)
    flip = augmentation == "crop-flip"
    return ShiftedCrop(flip) if found.name == _CIFAR else ResizedCrop(found, flip)


@dataclass(frozen=True, slots=True)
class ShiftedCrop:
    """The CIFAR system's training images."""

    flip: bool
    numbers: int = SHIFT_NUMBERS

    def fill(self, dataset: Dataset, indices: NDArray[np.int64], numbers: Numbers, rows: NDArray[np.float32]) -> None:
        rows[:] = standardise(shifted(_of_size(dataset, indices, rows), numbers, flip=self.flip))


@dataclass(frozen=True, slots=True)
class ResizedCrop:
    """The usual training images of ImageNet's networks, resized with an antialiased bilinear filter."""

    scheme: Preprocessing
    flip: bool
    numbers: int = BOX_NUMBERS + 1

    def fill(self, dataset: Dataset, indices: NDArray[np.int64], numbers: Numbers, rows: NDArray[np.float32]) -> None:
        for index, drawn, row in zip(indices, numbers, rows, strict=True):
            image = dataset.image(index)
            top, left, height, width = random_box(image.shape[0], image.shape[1], drawn[:BOX_NUMBERS])
            image = pillow_resize(image[top : top + height, left : left + width], *row.shape[1:])
            if self.flip and drawn[-1] < 0.5:
                image = image[:, ::-1]
            row[:] = self.scheme.normalise(image).transpose(2, 0, 1)


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """Images as a preprocessing scheme gives them."""

    scheme: Preprocessing
    numbers: int = 0

    def fill(self, dataset: Dataset, indices: NDArray[np.int64], numbers: Numbers, rows: NDArray[np.float32]) -> None:
        for index, row in zip(indices, rows, strict=True):
            row[:] = self.scheme(dataset.image(index), *row.shape[1:]).transpose(2, 0, 1)


def _of_size(dataset: Dataset, indices: NDArray[np.int64], rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Images, uint8 ``[n, H, W, 3]``, resized as the scheme ``cifar`` does where they have not the size of `rows`."""
    height, width = rows.shape[2:]
    if isinstance(dataset.source, ImageArrays) and dataset.source.size == (height, width):
        return dataset.source.gather(indices)
    images = np.empty((len(indices), height, width, 3), np.uint8)
    for index, row in zip(indices, images, strict=True):
        image = dataset.image(index)
        row[:] = image if image.shape == row.shape else pillow_resize(image, height, width)
    return images

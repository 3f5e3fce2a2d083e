"""Random changes of an image that leave its class: where to crop, and whether to mirror.

All randomness comes in as numbers from [0, 1), some for each image, so that an augmented image is a function of the
image and its numbers alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
"""Uniform random numbers from [0, 1), a row for each image."""

SHIFT_NUMBERS = 3
"""How many `shifted` takes for an image."""

_ATTEMPTS = 10
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
BOX_NUMBERS = 2 * _ATTEMPTS + 2
"""How many `random_box` takes."""


def padding(height: int, width: int) -> tuple[int, int]:
    """Zero rows and columns that `shifted` puts on each side: a sixteenth, 2 of 32, and at least 1."""
    return max(height // 16, 1), max(width // 16, 1)


def shifted(images: NDArray[np.uint8], numbers: Numbers, *, flip: bool) -> NDArray[np.uint8]:
    """Pads with zeros, crops back to the size at a random place, then mirrors half of the images.

    The CIFAR system's augmentation, in its order.

    Args:
        images: uint8 ``[n, H, W, 3]``.
        numbers: ``[n, 3]``: the row and the column of the crop, and whether to mirror (less than a half).
        flip: Whether to mirror at all.

    Returns:
        uint8 ``[n, 3, H, W]``.
    """
    count, height, width, channels = images.shape
    down, across = padding(height, width)
    padded = np.zeros((count, channels, height + 2 * down, width + 2 * across), np.uint8)
    padded[:, :, down : down + height, across : across + width] = images.transpose(0, 3, 1, 2)
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    tops, lefts = (numbers[:, :2] * (2 * down + 1, 2 * across + 1)).astype(np.int64).T
    crops: NDArray[np.uint8] = windows[np.arange(count), :, tops, lefts]
    if flip:
        mirrored = numbers[:, 2] < 0.5
        crops[mirrored] = crops[mirrored, :, :, ::-1]
    return crops


def random_box(height: int, width: int, numbers: Numbers) -> tuple[int, int, int, int]:
    """The part of an image that a random resized crop shows (Szegedy et al. 2014, as torchvision draws it).

    A share of the area from 8 % to all of it and an aspect ratio, uniform in its logarithm, from 3/4 to 4/3 are drawn
    until the rectangle fits; after ten attempts it is the largest in the middle that keeps to those ratios.

    Args:
        height: The image's height.
        width: Of the image.
        numbers: ``[22]``: area and ratio of each attempt, then the row and the column.

    Returns:
        Top, left, height and width.
    """
    attempts = numbers[: 2 * _ATTEMPTS].reshape(_ATTEMPTS, 2)
    row, column = numbers[2 * _ATTEMPTS :]
    for share, place in attempts:
        area = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * share)
        aspect = _ASPECT[0] * (_ASPECT[1] / _ASPECT[0]) ** place
        box_height, box_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = int(row * (height - box_height + 1)), int(column * (width - box_width + 1))
            return top, left, box_height, box_width
    box_height = min(height, round(width / _ASPECT[0]))
    box_width = min(width, round(height * _ASPECT[1]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width

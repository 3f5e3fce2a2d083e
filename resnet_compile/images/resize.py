"""The resampling of the original systems: TensorFlow 1's bilinear kernel, and Pillow's filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]
"""Pixels ``[H, W, 3]``, float32."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


def legacy_bilinear(
    image: NDArray[np.uint8], height: int, width: int, *, window: Crop | None = None, scale: float = 1.0
) -> Pixels:
    """Resizes as ``tf.compat.v1.image.resize_bilinear(align_corners=False)`` does, bit for bit.

    A pixel `i` of the result sits at ``i * in / out`` in the source: no half-pixel centres and no antialiasing (ONNX
    calls it ``Resize`` with ``mode=linear, coordinate_transformation_mode=asymmetric``). All arithmetic is float32,
    first along a row, then between rows: ``a + (b - a) * t``.

    Args:
        image: ``[H, W, C]``.
        height: Height of the whole result.
        width: Width of the whole result.
        window: The part of the result to compute; all of it by default.
        scale: Factor for each source pixel before interpolation.

    Returns:
        float32 ``[window.height, window.width, C]``.
    """
    window = window or Crop(0, 0, height, width)
    top, bottom, down = _neighbours(image.shape[0], height, window.top, window.height)
    left, right, across = _neighbours(image.shape[1], width, window.left, window.width)
    rows, places = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    read = image[rows]

    def scaled(columns: NDArray[np.int64]) -> Pixels:
        # Flat rows: numpy is slow along an axis of three.
        pixels = np.take(read, columns, axis=1).reshape(len(rows), -1)
        made: Pixels = np.multiply(pixels, np.float32(scale), dtype=np.float32)
        return made

    from_left = scaled(left)
    lines = _between(from_left, scaled(right), np.repeat(across, image.shape[2]))
    upper, lower = lines[places[: len(top)]], lines[places[len(top) :]]
    made: Pixels = _between(upper, lower, down[:, None]).reshape(len(top), len(left), -1)
    return made


def _between(first: Pixels, second: Pixels, weight: NDArray[np.float32]) -> Pixels:
    """``first + (second - first) * weight``, in the place of the second."""
    second -= first
    second *= weight
    second += first
    return second


def _neighbours(
    size: int, new_size: int, start: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each new pixel along an axis: the two source pixels around it, and the weight of the second."""
    position = np.arange(start, start + count, dtype=np.float32) * (np.float32(size) / np.float32(new_size))
    lower = np.floor(position)
    upper = np.minimum(np.ceil(position), np.float32(size - 1))
    return lower.astype(np.int64), upper.astype(np.int64), position - lower


def area_resize(image: NDArray[np.uint8], height: int, width: int, *, window: Crop | None = None) -> NDArray[np.uint8]:
    """Resizes as OpenCV's ``INTER_AREA`` does: a pixel is the mean of what it covers of the source, halves rounded up.

    OpenCV's own weights have fewer bits, so some pixels round the other way: three in 100,000 when it shrinks.

    Args:
        image: uint8 ``[H, W, C]``.
        height: Height of the whole result.
        width: Width of the whole result.
        window: The part of the result to compute; all of it by default.

    Returns:
        uint8 ``[window.height, window.width, C]``.
    """
    window = window or Crop(0, 0, height, width)
    rows = _shares(image.shape[0], height, window.top, window.height)
    columns = _shares(image.shape[1], width, window.left, window.width)
    lines = np.tensordot(rows, image.astype(np.float64), (1, 0))
    mean = np.tensordot(columns, lines, (1, 1)).transpose(1, 0, 2)
    return np.floor(mean + 0.5).astype(np.uint8)


def _shares(size: int, new_size: int, start: int, count: int) -> NDArray[np.float64]:
    """The share of each source pixel in each new pixel along an axis, ``[count, size]``."""
    step = size / new_size
    first = np.arange(start, start + count)[:, None] * step
    each = np.arange(size)[None, :]
    covered = np.minimum(each + 1, first + step) - np.maximum(each, first)
    shares: NDArray[np.float64] = np.maximum(covered, 0) / step
    return shares


def pillow_resize(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> NDArray[np.uint8]:
    """Resizes an RGB image with Pillow, whose filters are antialiased where they shrink.

    Args:
        image: uint8 ``[H, W, 3]``.
        height: Height of the result.
        width: Width of the result.
        resample: Pillow's filter.

    Returns:
        uint8 ``[height, width, 3]``.
    """
    return np.asarray(Image.fromarray(image).resize((width, height), resample))

"""The images that a network is calibrated on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ImageError, OptionError
from resnet_compile.files import as_path
from resnet_compile.images import Preprocessing, choose_scheme, decode_image, find_images, guess_note
from resnet_compile.lower.network import INPUT
from resnet_compile.plan import Plan
from resnet_compile.runtime import ImageInput

MOST_IMAGES = 64
RANDOM_IMAGES = 32
# A folder with more unreadable images is probably the wrong one.
_MOST_FAULTS = 0.1
# Every activation of so many images is in memory at once.
_BATCH = 4


@dataclass(frozen=True)
class CalibrationImages:
    """Calibration images in the network's layout.

    Attributes:
        source: `random` for normally distributed numbers, `images` for given images.
        values: float32, NCHW or NHWC.
        notes: Notes for the user: which images could not be read, and which preprocessing scheme was guessed.
    """

    source: Literal["random", "images"]
    values: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of the values as little-endian bytes."""
        return hashlib.sha256(np.ascontiguousarray(self.values, "<f4").data).hexdigest()

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """All images, a few at a time."""
        return (self.values[begin : begin + _BATCH] for begin in range(0, len(self.values), _BATCH))


def random_images(plan: Plan, layout: Literal["nchw", "nhwc"], seed: int) -> CalibrationImages:
    """Normally distributed numbers of the network's input size. Initial weights are designed for such inputs."""
    source = _input(plan, layout)
    shape = source.channels, *plan.input.size
    # The stream differs from `verify`'s, so that a model is verified on images it was not calibrated on.
    values = np.random.default_rng([seed, 8]).standard_normal((RANDOM_IMAGES, *shape), np.float32)
    return CalibrationImages("random", source.laid_out(values.transpose(0, 2, 3, 1)))


def folder_images(
    folder: str | os.PathLike[str], plan: Plan, layout: Literal["nchw", "nhwc"], *, held_out: bool = False
) -> CalibrationImages:
    """The images of a folder, at any depth: at most `MOST_IMAGES`, evenly spaced in order of their names.

    With `held_out`, as many of the other images at most, to judge a model on; all images if there are no others.

    Raises:
        OptionError: There is no such folder, or the network does not take three channels.
        UsageError: The folder cannot be listed, or holds no images.
        ImageError: More than a tenth of the images cannot be read; fewer are left out.
    """
    if plan.input.channels != 3:
        raise OptionError(
            f"the network must take 3 channels to be calibrated on images, got {plan.input.channels}",
            where="calibration",
        )
    paths = _chosen(folder, held_out=held_out)
    source = _input(plan, layout)
    scheme = choose_scheme(source.preprocess, plan.input.size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(partial(_prepared, scheme, *plan.input.size), paths))
    faults = [result for result in results if isinstance(result, ImageError)]
    _refuse_many(faults, len(paths))
    notes = [*(f"left out: {fault}" for fault in faults), guess_note(source.preprocess, plan.input.size)]
    read = [result for result in results if not isinstance(result, ImageError)]
    return CalibrationImages("images", source.laid_out(np.stack(read)), tuple(filter(None, notes)))


def has_held_out(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has more images than calibration uses."""
    return len(find_images([folder])) > MOST_IMAGES


def folder_photographs(
    folder: str | os.PathLike[str], left_out: Callable[[ImageError], None], *, held_out: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """The images of `folder_images` without preprocessing, one at a time, uint8 ``[1, H, W, 3]``.

    `left_out` is called with those that cannot be read. Raises as `folder_images`.
    """
    faults, paths = [], _chosen(folder, held_out=held_out)
    for path in paths:
        try:
            yield decode_image(path)[None]
        except ImageError as error:
            faults.append(error)
            _refuse_many(faults, len(paths))
            left_out(error)


def _refuse_many(faults: Sequence[ImageError], count: int) -> None:
    if len(faults) > count * _MOST_FAULTS:
        fault = f"{len(faults)} of {count} images cannot be read, the first: {faults[0].message}"
        raise ImageError(fault, where=faults[0].where)


def _chosen(folder: str | os.PathLike[str], *, held_out: bool) -> list[Path]:
    if not as_path(folder).is_dir():
        raise OptionError("no such folder", where=os.fspath(folder))
    paths = find_images([folder])
    chosen = _evenly(paths)
    rest = sorted({*paths} - {*chosen}) if held_out else []
    return _evenly(rest) if rest else chosen


def _evenly(paths: list[Path]) -> list[Path]:
    if len(paths) <= MOST_IMAGES:
        return paths
    return [paths[index * len(paths) // MOST_IMAGES] for index in range(MOST_IMAGES)]


def given_images(values: NDArray[np.float32], plan: Plan, layout: Literal["nchw", "nhwc"]) -> CalibrationImages:
    """Arrays in the network's layout.

    Raises:
        OptionError: The arrays are not float32 of the network's size, or not all finite.
    """
    if not isinstance(values, np.ndarray):
        raise OptionError(f"images must be a folder or a NumPy array, got {type(values).__name__}", where="images")
    _, *shape = _input(plan, layout).shape(1, plan.input.size)
    if values.dtype != np.float32 or values.ndim != 4 or [*values.shape[1:]] != shape or not len(values):
        raise OptionError(
            f"images must be float32[N, {str(shape)[1:-1]}], got {values.dtype}{list(values.shape)}", where="images"
        )
    if not np.isfinite(values).all():
        raise OptionError("has values that are not finite numbers", where="images")
    return CalibrationImages("images", values)


def _prepared(scheme: Preprocessing, height: int, width: int, path: Path) -> NDArray[np.float32] | ImageError:
    try:
        return scheme(decode_image(path), height, width)
    except ImageError as error:
        return error


def _input(plan: Plan, layout: Literal["nchw", "nhwc"]) -> ImageInput:
    """The input of the compiled network."""
    height, width = plan.input.size
    preprocess = plan.spec.input.preprocess
    return ImageInput(INPUT, "float32", None, plan.input.channels, height, width, layout == "nhwc", preprocess)

"""`.npz` files with the arrays that Keras's data sets have: ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

Read by the checkpoint reader: nothing is unpickled, checksums are verified, and what is not compressed is a view of a
memory map.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.checked_file import printable
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint
from resnet_compile.errors import DataError
from resnet_compile.training.data.dataset import Dataset, ImageArrays, Split, check_labels, data_errors

_NAMED = 8  # arrays that a message lists


def open_npz_dataset(path: Path, split: Split, num_classes: int | None) -> Dataset:
    """Maps or reads the arrays of a split.

    Args:
        path: An ``.npz`` file. Images are uint8 ``[N, H, W, 3]``, or grey, ``[N, H, W]`` or ``[N, H, W, 1]``, which is
            repeated over the three channels; labels are integers ``[N]`` or ``[N, 1]``.
        split: Which arrays.
        num_classes: Classes of the network; None takes one more than the greatest label of either split.

    Raises:
        DataError: The file is damaged, lacks the arrays, or has others than these.
    """
    images_name, labels_name = f"x_{split}", f"y_{split}"
    with data_errors(), NpzCheckpoint(path) as archive:
        for name in (images_name, labels_name):
            if name in archive.unread:
                archive[name]  # an error, which says what to do
            if name not in archive:
                held = ", ".join(printable(array) for array in islice(archive, _NAMED)) or "nothing"
                raise DataError(f"no split {split!r}: no array {name!r}", where=str(path), hint=f"there is {held}")
        # What the header says is checked before a compressed array is read.
        images_info, labels_info = archive.info(images_name), archive.info(labels_name)
        if images_info.dtype != "uint8" or not _is_images(images_info.shape):
            found = f"{images_info.dtype} {list(images_info.shape)}"
            hint = "images are uint8 [N, H, W, 3], [N, H, W, 1] or [N, H, W]"
            raise DataError(f"{found} is not an array of images", where=f"{path}: {images_name}", hint=hint)
        if not _is_labels(labels_info.dtype, labels_info.shape):
            found = f"{labels_info.dtype} {list(labels_info.shape)}"
            hint = "labels are class numbers, integers [N] or [N, 1]"
            raise DataError(f"{found} is not an array of labels", where=f"{path}: {labels_name}", hint=hint)
        if images_info.shape[0] != labels_info.shape[0]:
            message = f"{images_info.shape[0]} images, but {labels_info.shape[0]} labels"
            raise DataError(message, where=f"{path}: {labels_name}")
        labels = archive[labels_name].reshape(-1)
        num_classes = num_classes or _classes(archive)
        check_labels(labels, num_classes, f"{path}: {labels_name}")
        images = _three_channels(archive[images_name])
    names = tuple(map(str, range(num_classes)))
    return Dataset("npz", (path,), labels.astype(np.int64), names, ImageArrays((images,)))


def npz_has_held_out(path: Path) -> bool:
    """Whether there are held-out images."""
    with data_errors(), NpzCheckpoint(path) as archive:
        return "x_test" in archive


def _classes(archive: NpzCheckpoint) -> int:
    """One more than the greatest label; 1 where none is greater than 0."""
    infos = {name: archive.info(name) for name in ("y_train", "y_test") if name in archive}
    greatest = [archive[name].max(initial=0) for name, info in infos.items() if _is_labels(info.dtype, info.shape)]
    return max(int(max(greatest)) + 1, 1)


def _is_images(shape: tuple[int, ...]) -> bool:
    return len(shape) in (3, 4) and min(shape) > 0 and shape[3:] in ((), (1,), (3,))


def _is_labels(dtype: str, shape: tuple[int, ...]) -> bool:
    return dtype.lstrip("u").startswith("int") and len(shape) > 0 and shape[1:] in ((), (1,))


def _three_channels(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.ndim == 3:
        images = images[:, :, :, None]
    return np.broadcast_to(images, (*images.shape[:3], 3))

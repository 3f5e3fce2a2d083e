"""A tree of image files, a folder a class: ``FOLDER/train/CLASS/*.jpg`` and ``FOLDER/val/CLASS/*.jpg``.

Held-out images may lie in ``val``, ``validation`` or ``test``, looked for in this order. A tree without any of these,
``FOLDER/CLASS/*.jpg``, is all for training. Classes are numbered in the order of their folders' names; those of the
training images count for the held-out ones too. Within a class's folder images may lie at any depth. Hidden files,
files whose suffix is of no image format, and files beside the classes' folders are passed over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet_compile.errors import DataError
from resnet_compile.images import find_images
from resnet_compile.training.data.dataset import Dataset, ImageFiles, Split, check_class_count, data_errors

_TRAIN = "train"
_PLACES: dict[Split, tuple[str, ...]] = {"train": (_TRAIN,), "test": ("val", "validation", "test")}


def open_folder(folder: Path, split: Split, num_classes: int | None) -> Dataset:
    """Lists the images of a split; nothing is decoded.

    Raises:
        DataError: The split is missing, a class has no images, or there are more classes than the network has.
    """
    place = _split_folder(folder, split)
    with_classes = folder / _TRAIN if (folder / _TRAIN).is_dir() else place
    class_names = _class_names(with_classes)
    check_class_count(class_names, num_classes, with_classes)
    strangers = set(_class_names(place)) - set(class_names)
    if strangers:
        raise DataError("the training images do not have this class", where=str(place / min(strangers)))
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        if (place / name).is_dir():
            with data_errors():
                paths.extend(find_images([place / name]))
            labels.extend([label] * (len(paths) - len(labels)))
    return Dataset("folder", (place,), np.array(labels, np.int64), class_names, ImageFiles(tuple(paths)))


def tree_has_held_out(folder: Path) -> bool:
    """Whether the tree has held-out images."""
    return any((folder / name).is_dir() for name in _PLACES["test"])


def _split_folder(folder: Path, split: Split) -> Path:
    """Where a split's classes are."""
    found = {
        each: next((folder / name for name in names if (folder / name).is_dir()), None)
        for each, names in _PLACES.items()
    }
    if place := found[split]:
        return place
    if split == "train" and not found["test"]:
        return folder
    hint = f"put its images in {folder / _PLACES[split][0]}/CLASS"
    raise DataError(f"the image tree has no split {split!r}", where=str(folder), hint=hint)


def _class_names(folder: Path) -> tuple[str, ...]:
    with data_errors():
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise DataError("no folders of classes with images", where=str(folder))
    return tuple(names)

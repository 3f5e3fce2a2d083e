"""From a path to a data set, whatever its format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from resnet_compile.checkpoints.checked_file import is_file, is_folder
from resnet_compile.checkpoints.numpy_npz import is_npz
from resnet_compile.errors import DataError, OptionError
from resnet_compile.training.data.cifar import CIFAR100, find_cifar, open_cifar
from resnet_compile.training.data.dataset import Dataset, Split, data_errors, held_out
from resnet_compile.training.data.folder import open_folder, tree_has_held_out
from resnet_compile.training.data.npz import npz_has_held_out, open_npz_dataset

HELD_OUT = 0.2
"""The default share of each class to hold out if the data has no held-out images."""

_FORMATS = (
    "a folder of CIFAR .bin files, a folder train/CLASS/*.jpg and val/CLASS/*.jpg, or an .npz with x_train and on"
)
_WITHIN = ("cifar-10-batches-bin", "cifar-100-binary")  # the folders that CIFAR's archives unpack to
_PICKLED = ("data_batch_1", "test_batch", "train", "test")  # the files of CIFAR's archives for Python


@dataclass(frozen=True, slots=True)
class Splits:
    """A data set.

    Attributes:
        training: The training images.
        test: The held-out images.
        parted: Whether the held-out images were split off here, because the data has none.
    """

    training: Dataset
    test: Dataset
    parted: bool


def open_dataset(
    path: str | os.PathLike[str], split: Split, *, num_classes: int | None, channels: int = 3, compat: bool = False
) -> Dataset:
    """Opens one split of a data set. The format is detected from its files.

    - a folder with CIFAR-10's ``data_batch_1.bin`` and on, and ``test_batch.bin``;
    - a folder with CIFAR-100's ``train.bin`` and ``test.bin``;
    - any other folder: a tree of image files, a folder a class;
    - a file: ``.npz``.

    Args:
        path: A folder or a file.
        split: The training or the held-out images.
        num_classes: The network's number of classes; None takes the data's.
        channels: Input channels of that network; images have 3.
        compat: Repeat the original's error in reading CIFAR-100.

    Returns:
        The split. It is not empty, and every label is known to be a class.

    Raises:
        DataError: There is no such data set or split, it is malformed, or it does not fit the network.
        OptionError: `compat` for anything but CIFAR-100.
    """
    place = Path(path)
    if channels != 3:
        raise DataError(f"the network must take 3 channels, got {channels}", where=str(place))
    kind = find_cifar(place) if is_folder(place) else None
    if compat and kind is not CIFAR100:
        raise OptionError("compat is only for CIFAR-100, which the original read one byte off")
    if kind is not None:
        return open_cifar(place, kind, split, num_classes, compat=compat)
    if is_folder(place):
        _refuse_neighbours(place)
        return open_folder(place, split, num_classes)
    if is_npz(place):
        return open_npz_dataset(place, split, num_classes)
    if not is_file(place):
        raise DataError("no such file or folder", where=str(place))
    hint = "name the folder that it is in" if place.suffix == ".bin" else f"a data set is {_FORMATS}"
    raise DataError("not a data set", where=str(place), hint=hint)


def open_splits(
    path: str | os.PathLike[str],
    *,
    num_classes: int | None,
    channels: int = 3,
    compat: bool = False,
    fraction: float | None = None,
) -> Splits:
    """Opens both splits of a data set; of a tree or an `.npz` without held-out images a share of each class is held
    out.

    Args:
        path: As for `open_dataset`.
        num_classes: As for `open_dataset`.
        channels: As for `open_dataset`.
        compat: As for `open_dataset`.
        fraction: The share to hold out where there is no held-out image; None takes `HELD_OUT`.

    Raises:
        DataError: As `open_dataset`.
        OptionError: As `open_dataset`; or there are held-out images already, and a share of the others is asked for.
    """

    def opened(split: Split, classes: int | None) -> Dataset:
        return open_dataset(path, split, num_classes=classes, channels=channels, compat=compat)

    training = opened("train", num_classes)
    if not _lacks_held_out(Path(path), training):
        if fraction is not None:
            raise OptionError("the data has held-out images already", where="val_fraction")
        return Splits(training, opened("test", num_classes or len(training.class_names)), parted=False)
    return Splits(*held_out(training, fraction or HELD_OUT), parted=True)


def _lacks_held_out(place: Path, training: Dataset) -> bool:
    if training.name == "folder":
        return not tree_has_held_out(place)
    return training.name == "npz" and not npz_has_held_out(place)


def _refuse_neighbours(folder: Path) -> None:
    """Says what to do about CIFAR one folder too high, in its Python version, and about an empty folder."""
    with data_errors():
        entries = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not entries:
        raise DataError("the folder is empty", where=str(folder), hint=f"a data set is {_FORMATS}")
    for name in _WITHIN:
        if name in entries:
            raise DataError("the data set is in a folder further down", where=str(folder), hint=f"take {folder / name}")
    if any(name in entries and is_file(folder / name) for name in _PICKLED):
        hint = "take the binary version, which has .bin files"
        raise DataError("the pickled version of CIFAR is not supported", where=str(folder), hint=hint)

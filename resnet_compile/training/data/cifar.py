"""The binary files of CIFAR-10 and CIFAR-100.

A record is one label byte (CIFAR-100: the superclass, then the class) and 3,072 pixels: 32 rows of 32 for red, then
green, then blue. Files are records one after the other, and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.errors import DataError
from resnet_compile.training.data.dataset import (
    Dataset,
    ImageArrays,
    Split,
    check_class_count,
    check_labels,
    data_errors,
)

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_TRAIN_BATCH = re.compile(r"data_batch_([1-9][0-9]{0,3})\.bin")


@dataclass(frozen=True, slots=True)
class CifarFormat:
    """One of the two formats.

    Attributes:
        name: The data set's name.
        title: The name that people use.
        label: Position of the label in a record.
        classes: How many classes there are where no file names them.
        test: Name of the file of held-out images.
        names: Name of the file with a class name a line, which need not be there.
    """

    name: str
    title: str
    label: int
    classes: int
    test: str
    names: str

    @property
    def record(self) -> int:
        """Bytes of a record; the pixels end it."""
        return self.label + 1 + _PIXELS


CIFAR10 = CifarFormat("cifar10", "CIFAR-10", 0, 10, "test_batch.bin", "batches.meta.txt")
CIFAR100 = CifarFormat("cifar100", "CIFAR-100", 1, 100, "test.bin", "fine_label_names.txt")
_CIFAR100_TRAIN = "train.bin"


def find_cifar(folder: Path) -> CifarFormat | None:
    """Which of the two a folder holds, by the names of its files; None if it holds neither.

    Raises:
        DataError: It holds both.
    """
    with data_errors():
        names = {path.name for path in folder.iterdir()}
    has_10 = CIFAR10.test in names or any(map(_TRAIN_BATCH.fullmatch, names))
    has_100 = bool({_CIFAR100_TRAIN, CIFAR100.test} & names)
    if has_10 and has_100:
        raise DataError(
            "the folder has files of both CIFAR-10 and CIFAR-100", where=str(folder), hint="keep them apart"
        )
    return CIFAR10 if has_10 else CIFAR100 if has_100 else None


def open_cifar(folder: Path, kind: CifarFormat, split: Split, num_classes: int | None, *, compat: bool) -> Dataset:
    """Maps the files of a split and checks their sizes and every label.

    Args:
        folder: Where the files are.
        kind: Which of the two it holds.
        split: ``train``: ``data_batch_1.bin`` and on, or ``train.bin``; ``test``: ``test_batch.bin`` or ``test.bin``.
        num_classes: The network's number of classes; None takes the data's.
        compat: Start the image one byte early, as the old TensorFlow models did with CIFAR-100: the class stands in
            place of the first red pixel, all pixels move by one and the last blue one is lost.

    Raises:
        DataError: A file is missing, has another size or a label that is no class.
    """
    class_names = _class_names(folder, kind)
    check_class_count(class_names, num_classes, folder)
    files = _split_files(folder, kind, split)
    labels: list[NDArray[np.int64]] = []
    images: list[NDArray[np.uint8]] = []
    for file in files:
        records = _records(file, kind)
        labels.append(records[:, kind.label].astype(np.int64))
        check_labels(labels[-1], len(class_names), str(file))
        pixels = records[:, kind.label : -1] if compat else records[:, kind.label + 1 :]
        images.append(pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))
    return Dataset(kind.name, files, np.concatenate(labels), class_names, ImageArrays(tuple(images)))


def _split_files(folder: Path, kind: CifarFormat, split: Split) -> tuple[Path, ...]:
    if split == "test":
        return (folder / kind.test,)
    if kind is CIFAR100:
        return (folder / _CIFAR100_TRAIN,)
    with data_errors():
        numbers = {int(match[1]) for path in folder.iterdir() if (match := _TRAIN_BATCH.fullmatch(path.name))}
    # A gap is a download that was cut short, and would otherwise only show as a worse network.
    return tuple(folder / f"data_batch_{number}.bin" for number in range(1, max(numbers, default=1) + 1))


def _records(file: Path, kind: CifarFormat) -> NDArray[np.uint8]:
    """A file's bytes, a record a row: a view of a memory map."""
    with data_errors():
        data = np.frombuffer(CheckedFile(file).view, np.uint8)
    if not data.size:
        raise DataError("the file is empty", where=str(file))
    if data.size % kind.record:
        message = f"{data.size} bytes are no multiple of the {kind.record} of a {kind.title} record"
        raise DataError(message, where=str(file), hint="the file is cut short or of another format")
    return data.reshape(-1, kind.record)


def _class_names(folder: Path, kind: CifarFormat) -> tuple[str, ...]:
    file = folder / kind.names
    if not file.exists():
        return tuple(map(str, range(kind.classes)))
    with data_errors():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError("the class names are not UTF-8", where=str(file)) from error
    names = tuple(name.strip() for name in text.rstrip().split("\n"))
    if not all(names):
        raise DataError("not a class name a line", where=str(file))
    return names

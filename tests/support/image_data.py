"""Small data sets on disk, written and read one byte at a time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from resnet_compile.training.data import Dataset
from resnet_compile.training.data.dataset import ImageArrays

CIFAR10_TRAIN = ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin")


@dataclass(frozen=True)
class Record:
    """What a CIFAR record says: `labels` is one label, or the superclass and the class."""

    labels: tuple[int, ...]
    image: np.ndarray  # uint8 [32, 32, 3]


def random_records(count: int, seed: int, *classes: int) -> list[Record]:
    """Records with a random label for each of `classes`."""
    rng = np.random.default_rng(seed)
    return [
        Record(
            tuple(int(rng.integers(number)) for number in classes), rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        )
        for _ in range(count)
    ]


def record_bytes(records: list[Record]) -> bytes:
    """Records as the description of CIFAR's binary version has them, byte by byte."""
    out = bytearray()
    for record in records:
        out.extend(record.labels)
        for channel in range(3):
            for row in range(32):
                for column in range(32):
                    out.append(record.image[row, column, channel])
    return bytes(out)


def write_cifar10(folder: Path, count: int = 7, seed: int = 0) -> list[Record]:
    """Three training files of `count` images each, and as many held-out images; returns the training images."""
    folder.mkdir(parents=True, exist_ok=True)
    train: list[Record] = []
    for number, name in enumerate(CIFAR10_TRAIN):
        records = random_records(count, seed + number, 10)
        (folder / name).write_bytes(record_bytes(records))
        train.extend(records)
    (folder / "test_batch.bin").write_bytes(record_bytes(random_records(count, seed + 100, 10)))
    return train


def write_cifar100(folder: Path, count: int = 5, seed: int = 0) -> list[Record]:
    """One training file of `count` images and one held-out image; returns the training images."""
    folder.mkdir(parents=True, exist_ok=True)
    records = random_records(count, seed, 20, 100)
    (folder / "train.bin").write_bytes(record_bytes(records))
    (folder / "test.bin").write_bytes(record_bytes(random_records(1, seed + 100, 20, 100)))
    return records


def write_image(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """A random RGB image in a lossless file; returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def array_dataset(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Dataset:
    """Random images in memory, each of a label of its own."""
    images = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3)).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Dataset("arrays", (), np.arange(count), names, ImageArrays((images,)))

"""What `open_dataset` takes a path for, and what it says of anything that is no data set."""

import contextlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.damage import BLIND, Files
from support.image_data import random_records, record_bytes, write_cifar10, write_cifar100, write_image

from resnet_compile.errors import DataError, UsageError
from resnet_compile.training.data import Dataset, Split, open_dataset


def test_format_is_told_by_content(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "a")
    write_cifar100(tmp_path / "b")
    write_image(tmp_path / "c" / "train" / "x" / "1.png", 3, 3)
    images, labels = np.zeros((2, 3, 3, 3), np.uint8), np.zeros(2, np.int64)
    with (tmp_path / "d.dat").open("wb") as file:
        np.savez(file, x_train=images, y_train=labels)
    names = [open_dataset(tmp_path / name, "train", num_classes=100).name for name in ("a", "b", "c", "d.dat")]
    assert names == ["cifar10", "cifar100", "folder", "npz"]
    assert open_dataset(str(tmp_path / "a"), "test", num_classes=10).name == "cifar10"
    assert get_args(Split) == ("train", "test")


def test_data_set_cannot_be_changed(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    dataset = open_dataset(tmp_path, "train", num_classes=10)
    with pytest.raises(AttributeError):
        dataset.name = "other"  # type: ignore[misc]


def make_nothing(place: Path) -> Path:
    return place / "absent"


def make_null_byte(place: Path) -> Path:
    return place / "a\0b"


def make_text(place: Path) -> Path:
    (place / "notes.txt").write_text("notes")
    return place / "notes.txt"


def make_single_bin(place: Path) -> Path:
    write_cifar100(place)
    return place / "train.bin"


def make_empty_folder(place: Path) -> Path:
    (place / ".DS_Store").touch()
    return place


def make_folder_above(place: Path) -> Path:
    write_cifar10(place / "cifar-10-batches-bin")
    return place


def make_pickled(place: Path) -> Path:
    for name in ("data_batch_1", "batches.meta"):
        (place / name).write_bytes(b"\x80\x02}q\x01.")
    return place


def make_pickled_100(place: Path) -> Path:
    (place / "train").write_bytes(b"\x80\x02}q\x01.")
    return place


def make_loose_files(place: Path) -> Path:
    write_image(place / "1.png", 3, 3)
    return place


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_nothing, r"^no such file or folder @ .*absent$"),
        (make_null_byte, "^no such file or folder @ "),
        (make_text, r"^not a data set @ .*notes\.txt \(a data set is a folder of CIFAR \.bin files, "),
        (make_single_bin, r"^not a data set @ .*train\.bin \(name the folder that it is in\)$"),
        (make_empty_folder, r"^the folder is empty @ .*\(a data set is "),
        (make_folder_above, r"^the data set is in a folder further down @ .*\(take .*cifar-10-batches-bin\)$"),
        (make_pickled, r"^the pickled version of CIFAR is not supported @ .*\(take the binary version"),
        (make_pickled_100, r"^the pickled version of CIFAR"),
        (make_loose_files, r"^no folders of classes with images @ "),
    ],
)
def test_what_is_no_data_set(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path, "train", num_classes=10)
    assert "\n" not in str(caught.value)


def test_network_of_other_channels(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    with pytest.raises(DataError, match=r"^the network must take 3 channels, got 1 @ "):
        open_dataset(tmp_path, "train", num_classes=10, channels=1)


def test_data_errors_are_errors_of_usage() -> None:
    assert issubclass(DataError, UsageError)
    assert DataError("x").exit_code == 2


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"^cannot be read: Permission denied @ ") as caught:
        open_dataset(tmp_path, "train", num_classes=10)
    assert caught.value.where == str(tmp_path)


def npz_files(save: Callable[..., None]) -> Files:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    save(buffer, x_train=rng.integers(0, 256, (3, 4, 4, 3)).astype(np.uint8), y_train=np.arange(3))
    return {"set.npz": buffer.getvalue()}


def tree_files(suffix: str) -> Files:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 8, 3)).astype(np.uint8)).save(buffer, suffix)
    return {f"train/a/1.{suffix}": buffer.getvalue()}


CIFAR_FILES = {
    "data_batch_1.bin": record_bytes(random_records(2, 0, 3)),
    "batches.meta.txt": b"zero\none\ntwo\n",
}
SEEDS: dict[str, tuple[Files, str]] = {
    "cifar10": (CIFAR_FILES, ""),
    "cifar100": ({"train.bin": record_bytes(random_records(2, 0, 20, 100))}, ""),
    "npz": (npz_files(np.savez), "set.npz"),
    "compressed npz": (npz_files(np.savez_compressed), "set.npz"),
    "png": (tree_files("png"), ""),
    "jpeg": (tree_files("jpeg"), ""),
}


def read_all(dataset: Dataset) -> None:
    """An image is pixels, a label a class."""
    assert len(dataset) == len(dataset.labels) > 0
    assert ((dataset.labels >= 0) & (dataset.labels < 100)).all()
    for index in range(len(dataset)):
        image = dataset.image(index)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damage_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int) -> None:
    files, name = SEEDS[kind]
    folder = tmp_path_factory.mktemp("damaged")
    rng = random.Random(seed)
    damaged = dict(files)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if damaged:
            rng.choice(BLIND)(rng, damaged)
    for file, content in damaged.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    with contextlib.suppress(DataError):
        read_all(open_dataset(folder / name, "train", num_classes=100))


@pytest.mark.parametrize("kind", SEEDS)
def test_what_is_damaged_in_those_tests_is_right(tmp_path: Path, kind: str) -> None:
    files, name = SEEDS[kind]
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(content)
    read_all(open_dataset(tmp_path / name, "train", num_classes=100))

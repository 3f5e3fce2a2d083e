"""Held-out images where the data has none of its own, and images that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from support.image_data import write_cifar10, write_image

from resnet_compile.errors import DataError, OptionError
from resnet_compile.training.data import Dataset, check_images, open_dataset, open_splits
from resnet_compile.training.data.dataset import ImageArrays, ImageFiles


def write_tree(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        for number in range(count):
            write_image(folder / name / f"{number}.png", 3, 4, number)
    return folder


def names(dataset: Dataset) -> set[str]:
    assert isinstance(dataset.source, ImageFiles)
    return {f"{path.parent.name}/{path.name}" for path in dataset.source.paths}


@pytest.mark.parametrize(("fraction", "held"), [(None, {"a": 2, "b": 1, "c": 0}), (0.5, {"a": 5, "b": 2, "c": 0})])
@pytest.mark.parametrize("inside", ["", "train"])
def test_a_share_of_each_class_is_held_out(
    tmp_path: Path, fraction: float | None, held: dict[str, int], inside: str
) -> None:
    """Ten, four and one of a class: of one image none, of more at least one."""
    write_tree(tmp_path / inside, a=10, b=4, c=1)
    splits = open_splits(tmp_path, num_classes=None, fraction=fraction)
    assert splits.parted
    assert names(splits.training) | names(splits.test) == names(open_splits_whole(tmp_path))
    assert not names(splits.training) & names(splits.test)
    assert {name: sum(each.startswith(name) for each in names(splits.test)) for name in held} == held
    assert splits.training.class_names == splits.test.class_names == ("a", "b", "c")
    for dataset in (splits.training, splits.test):
        assert isinstance(dataset.source, ImageFiles)
        parents = [path.parent.name for path in dataset.source.paths]
        assert [dataset.class_names[label] for label in dataset.labels] == parents


def open_splits_whole(folder: Path) -> Dataset:
    return open_dataset(folder, "train", num_classes=None)


def test_an_image_that_is_added_moves_few_others(tmp_path: Path) -> None:
    write_tree(tmp_path, a=20)
    before = names(open_splits(tmp_path, num_classes=None).test)
    write_image(tmp_path / "a" / "zz.png", 3, 3)
    after = names(open_splits(tmp_path, num_classes=None).test)
    assert len(before ^ after) <= 2


def test_arrays_are_parted_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 3, 3, 3)).astype(np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels)
    splits = open_splits(tmp_path / "set.npz", num_classes=None)
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    assert splits.training.class_names == ("0", "1")
    assert isinstance(splits.test.source, ImageArrays)
    rows = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for dataset in (splits.training, splits.test):
        assert [rows.pop(dataset.image(index).tobytes()) for index in range(len(dataset))] == dataset.labels.tolist()
    assert not rows


def test_data_with_held_out_images_keeps_them(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar")
    write_tree(tmp_path / "tree" / "train", a=3)
    write_tree(tmp_path / "tree" / "val", a=2)
    for name in ("cifar", "tree"):
        assert not open_splits(tmp_path / name, num_classes=None).parted
        with pytest.raises(OptionError, match="has held-out images already @ val_fraction"):
            open_splits(tmp_path / name, num_classes=None, fraction=0.5)
    (tmp_path / "cifar" / "test_batch.bin").unlink()
    with pytest.raises(DataError, match="test_batch"):
        open_splits(tmp_path / "cifar", num_classes=None)


def test_classes_of_one_image_leave_nothing_to_hold_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image can be held out @ .*\(a class needs two images at least\)"):
        open_splits(write_tree(tmp_path, a=1, b=1), num_classes=None)


def test_every_image_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    write_tree(tmp_path, a=6)
    whole = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "4.png").write_bytes(b"no image")
    dataset = open_splits_whole(tmp_path)
    with pytest.raises(DataError, match=r"a/1\.png.*; not an image of a known format @ .*a/4\.png$"):
        check_images(dataset)
    check_images(dataset, lambda: True)

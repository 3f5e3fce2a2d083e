"""Trees of image files, a folder a class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.image_data import write_image

from resnet_compile.errors import DataError
from resnet_compile.training.data import open_dataset
from resnet_compile.training.data.dataset import ImageFiles


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for seed, name in enumerate(
        ("train/b/2.png", "train/b/1.png", "train/a/x.bmp", "train/c/deep/er.png", "val/c/1.png", "val/a/1.png")
    ):
        write_image(tmp_path / name, 4 + seed, 9 - seed, seed)
    for name in ("train/a/notes.txt", "train/a/.hidden.png", "train/.cache/1.png", "train/list.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_classes_are_folders_in_the_order_of_their_names(tree: Path) -> None:
    dataset = open_dataset(tree, "train", num_classes=3)
    assert dataset.name == "folder"
    assert dataset.files == (tree / "train",)
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.labels.tolist() == [0, 1, 1, 2]
    assert isinstance(dataset.source, ImageFiles)
    names = [str(path.relative_to(tree / "train")) for path in dataset.source.paths]
    assert names == ["a/x.bmp", "b/1.png", "b/2.png", "c/deep/er.png"]
    for index, (height, width, seed) in enumerate([(6, 7, 2), (5, 8, 1), (4, 9, 0), (7, 6, 3)]):
        expected = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
        np.testing.assert_array_equal(dataset.image(index), expected)


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_held_out_images_have_the_classes_of_the_training_images(tree: Path, name: str) -> None:
    (tree / "val").rename(tree / name)
    dataset = open_dataset(tree, "test", num_classes=3)
    assert dataset.class_names == ("a", "b", "c")
    assert dataset.labels.tolist() == [0, 2]


def test_held_out_images_without_training_images(tree: Path) -> None:
    (tree / "train").rename(tree / "elsewhere")
    dataset = open_dataset(tree, "test", num_classes=3)
    assert dataset.class_names == ("a", "c")
    assert dataset.labels.tolist() == [0, 1]
    with pytest.raises(DataError, match=r"the image tree has no split 'train' @ .*put its images in .*train/CLASS"):
        open_dataset(tree, "train", num_classes=3)


def test_validation_comes_before_test(tree: Path) -> None:
    write_image(tree / "test" / "a" / "1.png", 3, 3)
    assert open_dataset(tree, "test", num_classes=3).files == (tree / "val",)


def test_tree_without_splits_is_for_training(tree: Path) -> None:
    flat = tree / "train"
    assert open_dataset(flat, "train", num_classes=3).class_names == ("a", "b", "c")
    with pytest.raises(DataError, match=r"the image tree has no split 'test' @ .*put its images in .*val/CLASS"):
        open_dataset(flat, "test", num_classes=3)


def test_fewer_classes_than_the_network_has_are_no_fault(tree: Path) -> None:
    assert open_dataset(tree, "train", num_classes=1000).class_names == ("a", "b", "c")


def test_more_classes_than_the_network_has(tree: Path) -> None:
    with pytest.raises(DataError, match=r"the data set has 3 classes, the network only 2 @ .*train"):
        open_dataset(tree, "train", num_classes=2)


def test_class_that_the_training_images_have_not(tree: Path) -> None:
    write_image(tree / "val" / "bb" / "1.png", 3, 3)
    with pytest.raises(DataError, match=r"the training images do not have this class @ .*val/bb"):
        open_dataset(tree, "test", num_classes=10)


def test_class_without_images(tree: Path) -> None:
    (tree / "train" / "aa").mkdir()
    (tree / "train" / "aa" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"^no images in this folder @ .*train/aa"):
        open_dataset(tree, "train", num_classes=10)


def test_split_without_classes(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "1.png", 3, 3)
    with pytest.raises(DataError, match=r"no folders of classes with images @ .*train"):
        open_dataset(tmp_path, "train", num_classes=10)


def test_image_that_cannot_be_decoded_is_told_when_it_is_wanted(tree: Path) -> None:
    (tree / "train" / "b" / "1.png").write_bytes(b"no image")
    dataset = open_dataset(tree, "train", num_classes=3)
    dataset.image(0)
    with pytest.raises(DataError, match=r"^not an image of a known format @ .*train/b/1\.png$"):
        dataset.image(1)


def test_grey_transparent_and_turned_images_are_decoded_as_everywhere(tmp_path: Path) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    Image.fromarray(grey).save(folder / "1.png")
    Image.fromarray(np.stack([grey, grey, grey, grey * 0], axis=2)).save(folder / "2.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    Image.fromarray(grey).save(folder / "3.png", exif=exif)
    dataset = open_dataset(tmp_path, "train", num_classes=1)
    expected = np.stack([grey] * 3, axis=2)
    np.testing.assert_array_equal(dataset.image(0), expected)
    np.testing.assert_array_equal(dataset.image(1), expected)
    np.testing.assert_array_equal(dataset.image(2), np.rot90(expected, -1))

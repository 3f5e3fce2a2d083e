"""`.npz` files as data sets."""

from pathlib import Path

import numpy as np
import pytest

from resnet_compile.errors import DataError, OptionError
from resnet_compile.training.data import open_dataset
from resnet_compile.training.data.dataset import ImageArrays

Arrays = dict[str, np.ndarray]


def arrays(count: int = 6, shape: tuple[int, ...] = (5, 4, 3)) -> Arrays:
    rng = np.random.default_rng(count)
    held: Arrays = {}
    for split, number in (("train", count), ("test", 2)):
        held[f"x_{split}"] = rng.integers(0, 256, (number, *shape)).astype(np.uint8)
        held[f"y_{split}"] = rng.integers(0, 10, number)
    return held


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("split", ["train", "test"])
def test_arrays_are_read_as_they_are(tmp_path: Path, save, split) -> None:
    held = arrays()
    save(tmp_path / "set.npz", **held)
    dataset = open_dataset(tmp_path / "set.npz", split, num_classes=10)
    assert dataset.name == "npz"
    assert dataset.files == (tmp_path / "set.npz",)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == held[f"y_{split}"].tolist()
    assert len(dataset) == len(held[f"x_{split}"])
    for index, image in enumerate(held[f"x_{split}"]):
        np.testing.assert_array_equal(dataset.image(index), image)


def test_what_is_not_compressed_is_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays())
    source = open_dataset(tmp_path / "set.npz", "train", num_classes=10).source
    assert isinstance(source, ImageArrays)
    assert not source.parts[0].flags.owndata
    assert not source.parts[0].flags.writeable


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1)])
def test_grey_images_are_repeated_over_three_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    held = arrays(shape=shape)
    np.savez(tmp_path / "set.npz", **held)
    image = open_dataset(tmp_path / "set.npz", "train", num_classes=10).image(1)
    assert image.shape == (5, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(image[:, :, channel], held["x_train"][1].reshape(5, 4))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i4", ">i4", "<u8"])
def test_labels_of_any_integers_in_a_row_or_a_column(tmp_path: Path, dtype: str) -> None:
    held = arrays()
    expected = held["y_train"].tolist()
    held["y_train"] = held["y_train"].astype(dtype)[:, None]
    np.savez(tmp_path / "set.npz", **held)
    assert open_dataset(tmp_path / "set.npz", "train", num_classes=10).labels.tolist() == expected


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x_train", np.zeros((6, 3, 5, 4), np.uint8), r"uint8 \[6, 3, 5, 4\] is not an array of images @ .*: x_train"),
        ("x_train", np.zeros((6, 5, 4, 4), np.uint8), "not an array of images"),
        ("x_train", np.zeros((6, 5), np.uint8), "not an array of images"),
        ("x_train", np.zeros((0, 5, 4, 3), np.uint8), "not an array of images"),
        ("x_train", np.zeros((6, 0, 4, 3), np.uint8), "not an array of images"),
        ("x_train", np.zeros((6, 5, 4, 3), np.float32), "float32 .* is not an array of images"),
        ("y_train", np.zeros((6, 10), np.int64), r"int64 \[6, 10\] is not an array of labels @ .*: y_train"),
        ("y_train", np.zeros(6), "float64 .* is not an array of labels"),
        ("y_train", np.zeros((), np.int64), "not an array of labels"),
        ("y_train", np.zeros(6, np.bool_), "not an array of labels"),
        ("y_train", np.array(["a"] * 6), "not an array of labels"),
        ("y_train", np.zeros(5, np.int64), "6 images, but 5 labels"),
        ("y_train", np.array([0, 1, 9, -1, 10, 2]), "label -1 is not one of 10 classes, 0 to 9 @ .*: record 3"),
        ("y_train", np.array([0, 1, 10, -1, 1, 2]), "label 10 is not one of 10 classes, 0 to 9 @ .*: record 2"),
        ("y_train", np.full(6, 2**64 - 1, np.uint64), "label 18446744073709551615 is not"),
        ("y_train", np.array([object()] * 6), "the tensor is of Python objects, which is not supported @ .*: y_train"),
    ],
)
def test_arrays_that_are_no_data_set(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "set.npz", **{**arrays(), name: array})
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "set.npz", "train", num_classes=10)


def test_split_that_is_not_there(tmp_path: Path) -> None:
    held = arrays()
    del held["y_test"]
    np.savez(tmp_path / "set.npz", **held)
    message = r"^no split 'test': no array 'y_test' @ .*set\.npz \(there is x_train, y_train, x_test\)$"
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "set.npz", "test", num_classes=10)
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(DataError, match=r"no split 'train': .*there is nothing"):
        open_dataset(tmp_path / "empty.npz", "train", num_classes=10)


def test_compat_is_not_for_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **arrays())
    with pytest.raises(OptionError, match="compat"):
        open_dataset(tmp_path / "set.npz", "train", num_classes=10, compat=True)

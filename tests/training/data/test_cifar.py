"""CIFAR's binary files, against readers that take one byte at a time."""

from pathlib import Path

import numpy as np
import pytest
from support.image_data import random_records, record_bytes, write_cifar10, write_cifar100

from resnet_compile.errors import DataError, OptionError
from resnet_compile.training.data import open_dataset
from resnet_compile.training.data.dataset import ImageArrays


def test_cifar10_is_read_record_by_record_in_the_order_of_its_files(tmp_path: Path) -> None:
    train = write_cifar10(tmp_path)
    dataset = open_dataset(tmp_path, "train", num_classes=10)
    assert dataset.name == "cifar10"
    assert [file.name for file in dataset.files] == ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin"]
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [record.labels[0] for record in train]
    assert len(dataset) == len(train) == 21
    for index, record in enumerate(train):
        image = dataset.image(index)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, record.image)
    assert dataset.class_names == tuple("0123456789")


def test_numbered_files_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    parts = [random_records(1, number, 10) for number in range(11)]
    for number, records in enumerate(parts, 1):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(record_bytes(records))
    dataset = open_dataset(tmp_path, "train", num_classes=10)
    for index, records in enumerate(parts):
        np.testing.assert_array_equal(dataset.image(index), records[0].image)


def test_images_are_gathered_from_several_files_at_once(tmp_path: Path) -> None:
    train = write_cifar10(tmp_path)
    source = open_dataset(tmp_path, "train", num_classes=10).source
    assert isinstance(source, ImageArrays)
    indices = [20, 0, 7, 6, 13, 14, 0]
    np.testing.assert_array_equal(source.gather(np.array(indices)), np.stack([train[i].image for i in indices]))
    assert source.size == (32, 32)


def test_held_out_images_come_from_their_own_file(tmp_path: Path) -> None:
    write_cifar10(tmp_path, count=4, seed=3)
    dataset = open_dataset(tmp_path, "test", num_classes=10)
    expected = random_records(4, 103, 10)
    assert dataset.labels.tolist() == [record.labels[0] for record in expected]
    np.testing.assert_array_equal(dataset.image(3), expected[3].image)


def test_files_are_mapped_not_read(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    source = open_dataset(tmp_path, "train", num_classes=10).source
    assert isinstance(source, ImageArrays)
    for part in source.parts:
        assert not part.flags.owndata
        assert not part.flags.writeable
    # What is written to the file shows in the image.
    before = source.gather(np.array([0]))[0, 0, 0, 0]
    with (tmp_path / "data_batch_1.bin").open("r+b") as file:
        file.seek(1)
        file.write(bytes([before ^ 255]))
    assert source.gather(np.array([0]))[0, 0, 0, 0] == before ^ 255


def test_cifar100_has_the_class_and_not_the_superclass(tmp_path: Path) -> None:
    train = write_cifar100(tmp_path)
    dataset = open_dataset(tmp_path, "train", num_classes=100)
    assert dataset.name == "cifar100"
    assert dataset.labels.tolist() == [record.labels[1] for record in train]
    for index, record in enumerate(train):
        np.testing.assert_array_equal(dataset.image(index), record.image)
    assert dataset.class_names == tuple(map(str, range(100)))
    assert len(open_dataset(tmp_path, "test", num_classes=100)) == 1


def test_compat_starts_the_image_of_cifar100_at_its_class(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    data = (tmp_path / "train.bin").read_bytes()
    right = open_dataset(tmp_path, "train", num_classes=100)
    compat = open_dataset(tmp_path, "train", num_classes=100, compat=True)
    assert compat.labels.tolist() == right.labels.tolist()
    for index in range(len(compat)):
        record = data[index * 3074 : (index + 1) * 3074]
        image = compat.image(index)
        for position in range(3072):
            channel, place = divmod(position, 1024)
            assert image[place // 32, place % 32, channel] == record[1 + position]
        assert image[0, 0, 0] == compat.labels[index]


def test_compat_is_for_cifar100_alone(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    with pytest.raises(OptionError, match="compat is only for CIFAR-100"):
        open_dataset(tmp_path, "train", num_classes=10, compat=True)


@pytest.mark.parametrize("text", ["zero\none\ntwo\n", "zero\r\none\r\ntwo\r\n\r\n", "zero\none\ntwo"])
def test_class_names_are_read_where_they_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "test_batch.bin").write_bytes(record_bytes(random_records(4, 0, 3)))
    (tmp_path / "batches.meta.txt").write_bytes(text.encode())
    assert open_dataset(tmp_path, "test", num_classes=5).class_names == ("zero", "one", "two")


def test_class_names_of_cifar100_are_those_of_the_classes(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    names = [f"class {number}" for number in range(100)]
    (tmp_path / "coarse_label_names.txt").write_text("\n".join("abcdefghijklmnopqrst"))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(names))
    assert open_dataset(tmp_path, "train", num_classes=100).class_names == tuple(names)


@pytest.mark.parametrize("split", ["train", "test"])
def test_file_of_a_missing_split(tmp_path: Path, split: str) -> None:
    write_cifar10(tmp_path / "10")
    write_cifar100(tmp_path / "100")
    for folder, name in (("10", "data_batch_1.bin"), ("100", "train.bin")):
        missing = name if split == "train" else {"10": "test_batch.bin", "100": "test.bin"}[folder]
        (tmp_path / folder / missing).unlink()
        with pytest.raises(DataError, match="no such file") as caught:
            open_dataset(tmp_path / folder, split, num_classes=100)  # type: ignore[arg-type]
        assert caught.value.where == str(tmp_path / folder / missing)


def test_gap_in_the_numbered_files(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"no such file @ .*data_batch_2\.bin"):
        open_dataset(tmp_path, "train", num_classes=10)


@pytest.mark.parametrize("size", [1, 3072, 3074, 5 * 3073 - 1])
def test_size_that_is_no_number_of_records(tmp_path: Path, size: int) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    message = rf"^{size} bytes are no multiple of the 3073 of a CIFAR-10 record @ .*test_batch\.bin \(the file is cut"
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, "test", num_classes=10)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "test.bin").touch()
    with pytest.raises(DataError, match=r"^the file is empty @ .*test\.bin$"):
        open_dataset(tmp_path, "test", num_classes=100)


def test_label_that_is_no_class_names_the_record(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    file = tmp_path / "data_batch_2.bin"
    data = bytearray(file.read_bytes())
    data[4 * 3073] = 10
    data[6 * 3073] = 200
    file.write_bytes(data)
    message = r"^label 10 is not one of 10 classes, 0 to 9 @ .*data_batch_2\.bin: record 4$"
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, "train", num_classes=1000)


def test_more_classes_than_the_network_has(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    with pytest.raises(DataError, match=r"the data set has 100 classes, the network only 10 @ .*--num-classes 100\)"):
        open_dataset(tmp_path, "train", num_classes=10)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"one\n\nthree\n"])
def test_file_that_does_not_name_classes(tmp_path: Path, content: bytes) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"^not a class name a line @ .*batches\.meta\.txt$"):
        open_dataset(tmp_path, "train", num_classes=10)


def test_class_names_that_are_no_text(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"^the class names are not UTF-8 @ .*batches\.meta\.txt$"):
        open_dataset(tmp_path, "train", num_classes=10)


def test_files_of_both_formats_in_one_folder(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    with pytest.raises(DataError, match="the folder has files of both CIFAR-10 and CIFAR-100"):
        open_dataset(tmp_path, "train", num_classes=100)

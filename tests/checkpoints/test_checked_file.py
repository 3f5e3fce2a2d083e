"""What every reader has from its file: bounded reads, shapes that numpy can hold, and errors that name the place."""

from pathlib import Path

import numpy as np
import pytest

from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.errors import CheckpointError

FLOAT = np.dtype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> CheckedFile:
    (tmp_path / "weights").write_bytes(bytes(range(10)))
    return CheckedFile(tmp_path / "weights")


@pytest.mark.parametrize(("start", "size"), [(0, 11), (10, 1), (-1, 1), (0, -1), (11, 0), (1 << 70, 1)])
def test_reads_are_bounded(file: CheckedFile, start: int, size: int) -> None:
    for read in (file.part, file.copy, file.array):
        with pytest.raises(CheckpointError, match=f"the header is outside the file: {size} bytes at {start} of 10"):
            read(start, size, "the header")


def test_all_of_a_file_and_nothing(file: CheckedFile) -> None:
    assert file.copy(0, 10, "all") == bytes(range(10))
    assert file.array(3, 2, "some").tolist() == [3, 4]
    assert file.copy(10, 0, "nothing") == b""
    assert file.array(10, 0, "nothing").size == 0


@pytest.mark.parametrize("shape", [(), (0, 1 << 30, 1 << 30), (1,) * 31 + (0,), ((1 << 61) - 1, 0)])
def test_largest_shape_that_passes_is_one_that_numpy_takes(file: CheckedFile, shape: tuple[int, ...]) -> None:
    size = file.tensor_bytes(shape, FLOAT, "w")
    assert np.empty(size // 4, FLOAT).reshape(shape).shape == shape


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((-1,), "not a list of sizes"),
        ((-1, 0), "not a list of sizes"),
        ((True,), "not a list of sizes"),
        ((1.0,), "not a list of sizes"),
        ((1 << 60, 4), "larger than any memory"),
        ((1 << 61,), "larger than any memory"),
        ((0, 1 << 60, 1 << 60), "larger than any memory"),
        ((1,) * 33, "33 axes"),
    ],
)
def test_impossible_shape(file: CheckedFile, shape: tuple[object, ...], reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        file.tensor_bytes(shape, FLOAT, "w")
    assert caught.value.where == f"{file.path}: w"


def test_error_names_the_file_and_the_record(file: CheckedFile) -> None:
    assert str(file.error("is damaged")) == f"is damaged @ {file.path}"
    assert str(file.error("is damaged", "a/b", "write it again")) == f"is damaged @ {file.path}: a/b (write it again)"
    assert str(file.at("a/b")("is damaged")) == f"is damaged @ {file.path}: a/b"


def test_no_name_breaks_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x1b[31m\udcff"
    path.write_bytes(b"")
    message = str(CheckedFile(path).error("is damaged", "w\n" + "x" * 1000))
    assert message.isprintable()
    assert r"a\nb\x1b[31m\udcff: w\nxxx" in message
    assert len(message) < len(str(tmp_path)) + 200


@pytest.mark.parametrize("kind", ["missing", "folder", "null"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = {"missing": tmp_path / "a", "folder": tmp_path, "null": tmp_path / "a\0b"}[kind]
    with pytest.raises(CheckpointError, match=r"no such file|not a regular file|cannot be mapped") as caught:
        CheckedFile(path)
    assert str(caught.value).isprintable()

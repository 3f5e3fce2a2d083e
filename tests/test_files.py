"""Files that appear whole or not at all, and whose fault it is when they do not."""

from pathlib import Path

import numpy as np
import pytest
from support.disk import files_of_at_most

from resnet_compile.errors import OptionError, OutputError
from resnet_compile.features import FeatureFile
from resnet_compile.files import as_path, replacing


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "cat.jpg"), OSError(5, "Input/output error"), KeyboardInterrupt()]
)
def test_what_goes_wrong_beside_the_file_is_not_blamed_on_it(tmp_path: Path, error: BaseException) -> None:
    def half_a_page() -> None:
        with replacing(tmp_path / "report.html") as file:
            file.write(b"<html>")
            raise error

    with pytest.raises(type(error)) as caught:
        half_a_page()
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1001, 1 << 20])
def test_a_full_disk_is_the_files_own_fault(tmp_path: Path, size: int) -> None:
    """Little is written when the file is closed, much at once."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    refused = pytest.raises(OutputError, match=r"^cannot write: File too large @ .*model\.onnx$")
    with files_of_at_most(1000), refused, replacing(path) as file:
        file.write(b"x" * size)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_is_the_files_own_fault(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(OutputError, match=r"^cannot write: Is a directory @ .*model\.onnx$"), replacing(path):
        path.mkdir()
    assert list(tmp_path.iterdir()) == [path]


def test_rows_that_find_no_room_are_the_outputs_fault(tmp_path: Path) -> None:
    path = tmp_path / "features.npy"
    refused = pytest.raises(OutputError, match=r"cannot write: File too large @ .*features\.npy")
    with FeatureFile(path, ["block4"]) as features, files_of_at_most(1000), refused:
        features.append(["cat.jpg"], {"block4": np.zeros((1, 1 << 20))})


@pytest.mark.parametrize("path", [None, 3, ["model.onnx"], "a\0b", b"a\0b"])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(
        OptionError, match=r"must be a path, got (NoneType|int|list)|cannot have null characters @ 'a\\x00b'"
    ):
        as_path(path)


def test_paths_come_in_any_form() -> None:
    assert as_path("a/b") == as_path(b"a/b") == as_path(Path("a/b")) == Path("a/b")

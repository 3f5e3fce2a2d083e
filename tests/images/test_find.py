"""Which files a list of paths means."""

import os
from pathlib import Path

import pytest

from resnet_compile.errors import UsageError
from resnet_compile.images import find_images


def test_folders_are_expanded_in_order_and_files_stay(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpeg", "a/deep/er/x.webp", "c.gif", "c.txt", ".hidden.png", ".git/x.png", "labels"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    within = [tmp_path / name for name in ("c.gif", "a/deep/er/x.webp", "b/1.jpeg", "b/2.PNG")]
    assert find_images([tmp_path]) == within
    named = [tmp_path / "c.txt", tmp_path / "absent.png"]
    assert find_images([named[0], str(tmp_path / "b"), named[1]]) == [named[0], *within[2:], named[1]]


def test_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="no images in this folder @ ") as caught:
        find_images([tmp_path])
    assert caught.value.where == str(tmp_path)


def test_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match="cannot list the folder: Permission denied @ ") as caught:
        find_images([tmp_path])
    assert caught.value.where == str(tmp_path)

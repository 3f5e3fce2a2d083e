"""The README's examples, run as they stand."""

import doctest
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_examples_of_the_python_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = np.load(README.parent / "tests" / "golden" / "photos.npz")
    Path("photo.jpg").write_bytes(photos["photo/chelsea"].tobytes())
    Path("imagenet_labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 15
    assert results.failed == 0

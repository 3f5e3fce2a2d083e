"""`tools/write_digits.py`, with a stand-in for scikit-learn."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from resnet_compile.training.data import open_dataset

TOOL = Path(__file__).parents[3] / "tools" / "write_digits.py"
IMAGES = np.random.default_rng(0).integers(0, 17, (60, 8, 8)).astype(np.float64)
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 6))


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_digits", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = ModuleType("sklearn.datasets")
    datasets.load_digits = lambda: SimpleNamespace(images=IMAGES, target=LABELS)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", datasets)


def run(tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["write_digits.py", str(folder)])
    return int(tool.main())


def test_digits_are_written_once_each_and_every_fifth_of_a_class_is_held_out(
    tool: ModuleType, digits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tool, tmp_path / "new" / "digits", monkeypatch) == 0
    held_out = [int(np.flatnonzero(label == LABELS)[4]) for label in range(10)]
    left = set(range(60)) - set(held_out)
    for split, count in (("train", 50), ("test", 10)):
        dataset = open_dataset(tmp_path / "new" / "digits", split, num_classes=10)  # type: ignore[arg-type]
        assert len(dataset) == count
        assert dataset.class_names[3] == "three"
        found = set()
        for index, label in enumerate(dataset.labels):
            image = dataset.image(index).astype(int)
            # The value in the middle of every 4x4 pixels, back on the scale of 0 to 16; all else repeats it.
            values = np.rint(image[1::4, 1::4, 0] * 16 / 255)
            np.testing.assert_array_equal(image, np.kron(image[::4, ::4, 0], np.ones((4, 4)))[:, :, None] + [0, 0, 0])
            (which,) = [number for number in range(60) if np.array_equal(IMAGES[number], values)]
            assert LABELS[which] == label
            found.add(which)
        assert found == (left if split == "train" else set(held_out))
    assert len(list((tmp_path / "new" / "digits").glob("data_batch_*.bin"))) == 5


def test_without_scikit_learn_the_message_says_so(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert run(tool, tmp_path / "digits", monkeypatch) == 1
    assert capsys.readouterr().err == (
        "the digits are in scikit-learn, which is not installed (pip install scikit-learn)\n"
    )
    assert not (tmp_path / "digits").exists()


def test_folder_that_cannot_be_written(
    tool: ModuleType,
    digits: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "digits").touch()
    assert run(tool, tmp_path / "digits", monkeypatch) == 1
    assert "File exists" in capsys.readouterr().err

"""The fuzzer over every reader, for a few hundred cases, and proof that it notices what it is there to notice."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import CheckedFile
from resnet_compile.errors import CheckpointError

TOOL = Path(__file__).resolve().parents[2] / "tools" / "fuzz_readers.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_readers", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_readers_raise_nothing_but_their_own_error(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOL), "--count", "300", "--seed", "1", "--save", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert {"tensorflow_v1", "tensorflow_v2"} <= {line.partition(":")[0] for line in lines}
    assert all("300 cases" in line and "refused" in line for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reader", ["tensorflow_v1", "tensorflow_v2"])
def test_informed_damage_gets_behind_the_checksums(tool: ModuleType, reader: str, tmp_path: Path) -> None:
    """Some of it makes sense and is taken, which blind damage never is."""
    counts = tool.fuzz(reader, tool.READERS[reader], range(300), 2, tmp_path)
    assert counts["taken"] > 5
    assert counts["refused"] > 100


class Fake(Checkpoint):
    """One tensor `w`; what looking it up does is up to the test."""

    format = "fake"

    def __init__(self, path: Path, look_up: Callable[[bytes], Any]) -> None:
        super().__init__(CheckedFile(path))
        self._look_up = look_up
        self._add("w", (1,), np.dtype(np.uint8))

    def _read(self, name: str) -> np.ndarray:
        array = self._look_up(self.files[0].read_bytes())
        assert isinstance(array, np.ndarray)
        return array


RIGHT = b"right"


def fails_with(error: BaseException) -> Callable[[bytes], np.ndarray]:
    def look_up(data: bytes) -> np.ndarray:
        if data != RIGHT:
            raise error
        return np.zeros(1, np.uint8)

    return look_up


def fuzz(tool: ModuleType, look_up: Callable[[bytes], Any], save: Path, *, sealed: bool = False) -> Any:
    seed = tool.Seed("file", {"file": RIGHT})
    reader = tool.Reader(lambda path: Fake(path, look_up), lambda: [seed], sealed=sealed)
    return tool.fuzz("fake", reader, range(50), 0, save)


def test_own_error_is_what_is_wanted(tool: ModuleType, tmp_path: Path) -> None:
    counts = fuzz(tool, fails_with(CheckpointError("damaged")), tmp_path, sealed=True)
    assert counts["refused"] + counts["unchanged"] == 50
    assert counts["refused"] > 40


@pytest.mark.parametrize("error", [KeyError("w"), ValueError(), MemoryError(), RecursionError(), UserWarning()])
def test_other_error_ends_the_run_and_leaves_the_files(tool: ModuleType, tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fuzz(tool, fails_with(error), tmp_path)
    (saved,) = tmp_path.iterdir()
    assert saved.name.startswith("fake-0-")
    assert (saved / "file").read_bytes() != RIGHT


def test_array_of_another_type_than_was_said(tool: ModuleType, tmp_path: Path) -> None:
    def look_up(data: bytes) -> np.ndarray:
        return np.zeros(1 if data == RIGHT else 2, np.uint8)

    with pytest.raises(AssertionError, match="was said"):
        fuzz(tool, look_up, tmp_path)


def test_damage_that_is_taken(tool: ModuleType, tmp_path: Path) -> None:
    counts = fuzz(tool, lambda _: np.zeros(1, np.uint8), tmp_path)
    assert counts["taken"] > 40
    with pytest.raises(AssertionError, match="taken without an error"):
        fuzz(tool, lambda _: np.zeros(1, np.uint8), tmp_path, sealed=True)


def test_memory_is_bounded() -> None:
    script = f"""
import sys
sys.path.insert(0, {str(TOOL.parent)!r})
import fuzz_readers
fuzz_readers.limit_memory(64)
bytearray(1 << 20)
try:
    bytearray(1 << 28)
except MemoryError:
    print("bounded")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout == "bounded\n", run.stderr

"""Models that were made ready for this machine: opened at once, never where anything is not what it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import onnxruntime
import pytest
from support.commands import command
from support.image_data import write_image

from resnet_compile import CompileOptions, compile
from resnet_compile.errors import ModelFileError, OutputError
from resnet_compile.runtime import Session, SessionOptions, prepare
from resnet_compile.runtime.kept import MODEL, Seen, Shelf

CACHE = SessionOptions(cache=True, spinning=False)
PLAIN = SessionOptions(spinning=False)
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
# Longer than the coarsest clock of a file system.
LATER = 10_000_000_000


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    compile("tiny", CompileOptions(target="cpu")).save(path)
    return path


def entries(model: Path) -> list[Path]:
    return sorted(path.parent for path in model.parent.glob(f"{model.name}.prepared/*/{MODEL}"))


def outputs(session: Session) -> dict[str, np.ndarray]:
    shape = [axis if isinstance(axis, int) else 2 for axis in session.inputs["input"].shape]
    return session.run({"input": np.random.default_rng(0).standard_normal(shape, np.float32)})


def opened(model: Path) -> str | None:
    """What became of the cache; the session computes what it would without."""
    plain, cached = (Session.open(model, "cpu", options) for options in (PLAIN, CACHE))
    assert cached.metadata == plain.metadata
    assert (cached.producer, cached.inputs, cached.outputs) == (plain.producer, plain.inputs, plain.outputs)
    expected = outputs(plain)
    for name, array in outputs(cached).items():
        np.testing.assert_array_equal(array, expected[name])
    return cached.cache


def shelf(model: Path, **machine: Any) -> Shelf:
    """A shelf for a machine of one's own."""
    return Shelf(model, {"onnxruntime": "1.31.1", "processor": "avx512f", **machine})


def write(path: Path) -> None:
    """Stands in for onnxruntime."""
    path.write_bytes(b"graph" * 100)
    path.with_name(f"{path.name}.data").write_bytes(b"weights" * 1000)


def test_a_model_is_prepared_once_and_then_opened_from_there(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(model) == "prepared now"
    (entry,) = entries(model)
    monkeypatch.setattr(Shelf, "make", lambda *_: pytest.fail("prepared again"))
    assert opened(model) == "prepared before"
    assert entries(model) == [entry]
    assert sorted(path.name for path in entry.iterdir()) == [MODEL, f"{MODEL}.data", "record.json"]


def test_without_being_asked_nothing_is_kept_nor_read(model: Path) -> None:
    assert Session.open(model, "cpu", PLAIN).cache is None
    assert entries(model) == []
    prepare(model)
    (entry,) = entries(model)
    (entry / MODEL).write_bytes(b"nonsense")
    assert Session.open(model, "cpu", PLAIN).cache is None


def test_what_is_open_is_what_was_prepared(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    native: Callable[..., Any] = onnxruntime.InferenceSession

    def session(source: str, *given: Any, **named: Any) -> Any:
        read.append(source)
        return native(source, *given, **named)

    path = prepare(model)
    assert prepare(model) == path
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    assert Session.open(model, "cpu", CACHE).cache == "prepared before"
    assert read == [str(path)]


def test_a_model_with_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for seed in (0, 1):
        compile("tiny", CompileOptions(seed=seed, external_data=True)).save(path)
        assert opened(path) == "prepared now"
        assert opened(path) == "prepared before"
    model = path.read_bytes()
    compile("tiny", CompileOptions(seed=2, external_data=True)).save(path)
    path.write_bytes(model)
    assert opened(path) == "prepared now", "of the model and its weights the weights are others"


def test_a_changed_model_is_prepared_anew_and_the_old_one_goes(model: Path) -> None:
    assert opened(model) == "prepared now"
    (first,) = entries(model)
    times = model.stat()
    compile("tiny", CompileOptions(target="cpu", seed=1)).save(model)
    os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert opened(model) == "prepared now"
    (second,) = entries(model)
    assert second != first


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}.data", "record.json"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_flipped_bit_is_never_opened(name: str, hidden: bool, model: Path) -> None:
    """Also where the times are put back to what they were."""
    assert opened(model) == "prepared now"
    (entry,) = entries(model)
    path = entry / name
    before, times = bytearray(path.read_bytes()), path.stat()
    place = before.index(b"sha256") + 12 if name == "record.json" else len(before) // 2
    before[place] ^= 1
    path.write_bytes(before)
    if hidden:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert opened(model) == "prepared now"
    assert entry not in entries(model)
    assert opened(model) == "prepared before"


@pytest.mark.parametrize(
    "told",
    [{"model": {}}, {"files": {}}, {"files": {"model.onnx": None}}, {"model": []}, {"machine": {}}, None],
    ids=str,
)
def test_a_record_that_does_not_tell_of_every_file_is_none(told: dict[str, Any] | None, model: Path) -> None:
    path = shelf(model).make(write)
    assert shelf(model).find() == path
    record = path.with_name("record.json")
    whole = json.loads(record.read_text())
    if told == {"files": {"model.onnx": None}}:
        told = {"files": {"model.onnx": whole["files"]["model.onnx"]}}
    record.write_text(json.dumps([] if told is None else whole | told))
    assert shelf(model).find() is None


@pytest.mark.parametrize(
    "other", [{"onnxruntime": "1.32.0"}, {"processor": "avx2"}, {"optimization": "basic"}, {"form": 2}], ids=str
)
def test_another_machine_has_entries_of_its_own(other: dict[str, Any], model: Path) -> None:
    here, there = shelf(model), shelf(model, **other)
    path = here.make(write)
    assert here.find() == path
    assert there.find() is None
    # Not even under the other's name.
    moved = path.parent.with_name(there.make(write).parent.name + "z")
    path.parent.rename(moved)
    (found,) = (each for each in (there.find(),) if each)
    assert found.parent != moved
    assert here.find() is None


def test_what_the_machine_is(model: Path) -> None:
    prepare(model)
    (entry,) = entries(model)
    machine = json.loads((entry / "record.json").read_text())["machine"]
    assert machine["onnxruntime"] == onnxruntime.__version__
    assert machine["optimization"] == "all"
    if sys.platform == "linux":
        assert set(machine["processor"].split()) & {"sse2", "asimd", "fp"}


def test_entries_are_few(model: Path) -> None:
    for number in range(7):
        shelf(model, processor=str(number)).make(write)
    found = [number for number in range(7) if shelf(model, processor=str(number)).find()]
    assert found == [3, 4, 5, 6]


KILLED = """
import os, signal, sys
from pathlib import Path
from resnet_compile.runtime.kept import Shelf

def write(path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

Shelf(Path(sys.argv[1]), {"onnxruntime": "1.31.1", "processor": "avx512f"}).make(write)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_process_that_is_killed_while_it_writes_leaves_nothing_that_is_opened(model: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(model)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (part,) = shelf(model).folder.iterdir()
    assert shelf(model).find() is None
    path = shelf(model).make(write)
    assert shelf(model).find() == path
    assert part.exists(), "it may be another process that writes"
    os.utime(part, (0, 0))
    path = shelf(model).make(write)
    assert list(shelf(model).folder.iterdir()) == [path.parent]


def test_two_that_prepare_at_once_both_have_a_model(model: Path) -> None:
    both = Barrier(2)

    def together(path: Path) -> None:
        both.wait(30)
        write(path)
        both.wait(30)

    with ThreadPoolExecutor(2) as pool:
        made = [each.result() for each in [pool.submit(shelf(model).make, together) for _ in range(2)]]
    assert len(set(made)) == 2
    assert shelf(model).find() == max(made), "the younger one, whichever was ready first"
    assert shelf(model).make(write).parent == shelf(model)._entries()[0]


def test_one_whose_entry_goes_while_it_is_opened_opens_the_model_itself(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(model)
    monkeypatch.setattr(Shelf, "find", lambda self: self.folder / "gone" / MODEL)
    assert (opened(model) or "").startswith("not prepared: ")


@pytest.mark.parametrize("fault", ["a file", "a read-only folder"])
def test_where_nothing_can_be_kept_the_model_is_opened_all_the_same(
    fault: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "a file":
        shelf(model).folder.write_text("")
    else:

        def refuse(path: Path, *_: Any, **__: Any) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", refuse)
    assert (opened(model) or "").startswith("not prepared: cannot keep the prepared model: ")
    with pytest.raises(OutputError):
        prepare(model)


def test_what_is_kept_in_a_read_only_folder_is_opened(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(model)

    def refuse(path: Path, *_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + LATER)
    assert opened(model) == "prepared before"


def test_contents_are_read_once_when_the_times_can_tell(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shelf(model)
    path = here.make(write)
    read: list[Path] = []
    of = Seen.of
    monkeypatch.setattr(Seen, "of", lambda path: read.append(path) or of(path))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + LATER)
    assert here.find() == path
    assert sorted(each.name for each in read) == ["model.onnx", "model.onnx", "model.onnx.data"]
    read.clear()
    assert here.find() == path
    assert read == []


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_somebody_elses_entry_is_not_looked_at(model: Path) -> None:
    path = shelf(model).make(write)
    os.chown(path.parent, 12345, 12345)
    assert shelf(model).find() is None
    os.chown(model, 12345, 12345)
    assert shelf(model).find() == path


def test_what_is_no_model_is_refused_as_without(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nonsense")
    for options in (PLAIN, CACHE):
        with pytest.raises(ModelFileError) as error:
            Session.open(path, "cpu", options)
        assert error.value.where == str(path)
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == ["model.onnx"]


def test_the_commands(tmp_path: Path) -> None:
    write_image(tmp_path / "image.png", 32, 32, 0)
    done = command("resnet-compile", "tiny", "--prepare", "-o", "model.onnx", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    (entry,) = entries(tmp_path / "model.onnx")
    assert json.loads(done.out)["prepared"] == str(entry.relative_to(tmp_path) / MODEL)
    run = ("resnet-run", "model.onnx", "image.png", "--device", "cpu")
    plain, cached = (command(*run, *flags, cwd=tmp_path) for flags in ((), ("--cache", "-v")))
    assert (plain.out, plain.code) == (cached.out, cached.code)
    assert "resnet-run: prepared before" in cached.err
    (tmp_path / "other.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    (tmp_path / "other.onnx.prepared").write_text("")
    told = command("resnet-run", "other.onnx", "image.png", "--device", "cpu", "--cache", cwd=tmp_path)
    assert (told.code, told.out) == (0, plain.out)
    assert "resnet-run: not prepared: cannot keep the prepared model: " in told.err
    for flags, fault in (
        (("tiny", "image.png", "--cache"), "--cache needs a model's file, got a spec (resnet-compile tiny makes one)"),
        (("model.onnx", "image.png", "--device", "cuda", "--cache"), "--cache needs the CPU, got cuda (--device cpu)"),
    ):
        refused = command("resnet-run", *flags, cwd=tmp_path)
        assert (refused.code, refused.err) == (2, f"resnet-run: error: {fault}\n")

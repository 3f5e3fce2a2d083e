"""resnet-train as a process: what it prints, its exit codes, what it leaves behind."""

import importlib.util
import json
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import command
from support.models import run
from support.training_run import images_of_test, narrow_document, write_cifar

QUICKLY = ("--batch", "8", "--eval-every", "10", "--save-every", "5", "--device", "cpu")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, data, and a run of twelve steps."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "spec.json").write_text(json.dumps(narrow_document()))
    write_cifar(folder / "data")
    done = command(
        "resnet-train", "spec.json", "--data", "data", "-o", "run", "--steps", 12, *QUICKLY, "--json", cwd=folder
    )
    assert done.code == 0, done.err
    (folder / "out.json").write_text(done.out)
    (folder / "err.txt").write_text(done.err)
    return folder


def test_the_result_is_one_document(workplace: Path) -> None:
    document = json.loads((workplace / "out.json").read_text())
    assert {key: document[key] for key in ("name", "out", "steps", "checkpoint", "report", "device")} == {
        "name": "narrow",
        "out": "run",
        "steps": 12,
        "checkpoint": "run/checkpoint-00000012.npz",
        "report": "run/report.html",
        "device": "cpu",
    }
    assert 0 <= document["accuracy"] <= document["best_accuracy"] <= 1


def test_lines_tell_how_it_goes(workplace: Path) -> None:
    layout = "note: convolutions compute in onnxruntime's layout for this processor"  # for those that have one
    lines = [line for line in (workplace / "err.txt").read_text().splitlines() if not line.startswith(layout)]
    assert lines[0] == "training on cpu to step 12"
    assert [line.split(",")[0] for line in lines[1:]] == ["step: 10", "step: 12"]
    assert all("accuracy: 0." in line and "best accuracy: 0." in line for line in lines[1:])


def test_the_page_is_whole(workplace: Path) -> None:
    page = (workplace / "run" / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "Trained for 12 of 12 steps on cpu" in page


def test_evaluating_says_what_the_run_said(workplace: Path) -> None:
    said = json.loads((workplace / "out.json").read_text())
    done = command(
        "resnet-train", "spec.json", "--data", "data", "-o", "run", "--eval", "--json", "--device", "cpu", cwd=workplace
    )
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert {key: document[key] for key in ("accuracy", "best_accuracy")} == {
        key: said[key] for key in ("accuracy", "best_accuracy")
    }
    assert document["images"] == 24
    other = command("resnet-train", "spec.json", "--data", "data", "--eval", "--weights", "run", cwd=workplace)
    assert other.code == 0
    assert f"24 images, loss: {document['loss']:.3f}, accuracy: {document['accuracy']:.4f}" in other.out


def test_the_run_compiles_to_a_model_of_the_same_accuracy(workplace: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    done = command("resnet-compile", workplace / "spec.json", "--weights", workplace / "run", "-o", model)
    assert done.code == 0, done.err
    images, labels = images_of_test(workplace / "data")
    accuracy = (run(str(model), images)["predictions"].argmax(1) == labels).mean()
    assert accuracy == json.loads((workplace / "out.json").read_text())["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--out", "run"],
            r"the folder has a run already, with checkpoint-00000012.npz @ run (--resume goes on with it)",
        ),
        (["--out", "new", "--resume"], "the folder has no run to resume @ new"),
        (["--out", "run", "--resume", "--seed", "1"], "the run began with other settings: $.seed was 0 and is 1 @ run"),
        ([], "--out is required @ out (give --out)"),
        (["--eval"], "--eval needs a checkpoint"),
        (["--out", "new", "--steps", "1", "--epochs", "1"], "--steps and --epochs exclude each other"),
        (["--out", "new", "--freeze", "blok1"], "no scope with parameters 'blok1' @ freeze (did you mean block1 "),
        (["--out", "new", "--freeze", "all"], "no scope with parameters 'all' @ freeze"),
        (["--out", "run", "--eval", "--resume"], "--resume does not apply to --eval"),
        (["--out", "run", "--eval", "--steps", "3"], "--steps does not apply to --eval"),
        (["--out", "new", "--schedule", '{"kind": "piecewise", "values": [1]}'], "required @ $.boundaries"),
        (
            ["--out", "new", "--schedule", "missing.json"],
            "cannot read the schedule: No such file or directory @ missing.json",
        ),
        (["--out", "new", "--data", "spec.json"], "spec.json"),
        (["--out", "new", "--optimizer", "adam"], "adam"),
        (["--out", "new", "--weights", "spec.json"], "a network's spec, not its weights @ spec.json"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(workplace: Path, arguments: list[str], message: str) -> None:
    done = command("resnet-train", "spec.json", "--data", "data", *QUICKLY, *arguments, cwd=workplace)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert message in line
    assert not (workplace / "new").exists()


def test_a_rate_without_bounds_ends_with_exit_code_1(workplace: Path, tmp_path: Path) -> None:
    schedule = '{"kind": "piecewise", "boundaries": [7], "values": [0.1, 1e30]}'
    done = command(
        "resnet-train", "spec.json", "--data", "data", "-o", tmp_path, "--schedule", schedule, *QUICKLY,
        "--steps", 20, cwd=workplace,
    )  # fmt: skip
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert "error: the loss is " in last
    assert "the last good checkpoint is" in last
    assert "checkpoint-00000005.npz" in last


def lines_of(stream: Any) -> Iterator[str]:
    while line := stream.readline():
        yield line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_checkpoint_and_says_how_to_go_on(
    workplace: Path, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ["spec.json", "--data", "data", "-o", str(tmp_path / "a run"), "--weights", "run", *QUICKLY]
    executable = Path(sys.executable).with_name("resnet-train")
    process = subprocess.Popen(
        [executable, *arguments, "--steps", "100000"], cwd=workplace, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in lines_of(process.stderr):
        if line.startswith("step: 10,"):
            break
    process.send_signal(number)
    rest = process.stderr.read().splitlines()
    assert process.wait() == 1
    process.stderr.close()
    assert "interrupted after step " in rest[-1]
    step = int(rest[-1].split("interrupted after step ")[1].split()[0].replace(",", ""))
    assert (tmp_path / "a run" / f"checkpoint-{step:08}.npz").is_file()
    assert "Interrupted" in (tmp_path / "a run" / "report.html").read_text()
    told = rest[-1].split("(go on with: ")[1].removesuffix(")")
    name, *again = shlex.split(told)
    assert (name, again[-1]) == ("resnet-train", "--resume")
    again[again.index("100000")] = str(step + 3)
    done = command(name, *again, cwd=workplace)
    assert done.code == 0, done.err
    assert f"from step {step:,} to step {step + 3:,}" in done.err


def test_killed_at_random_moments_nothing_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small run of the tool that does it twenty times."""
    path = Path(__file__).resolve().parents[2] / "tools" / "kill_training.py"
    location = importlib.util.spec_from_file_location("kill_training", path)
    assert location is not None
    assert location.loader is not None
    tool = importlib.util.module_from_spec(location)
    location.loader.exec_module(tool)
    assert tool.survives(tmp_path, 2, 40, random.Random(0)), capsys.readouterr().out


def test_help_needs_nothing_slow() -> None:
    started = command("resnet-train", "--help")
    assert started.code == 0
    assert "--freeze" in started.out
    code = "import sys, resnet_compile.cli.train; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"onnxruntime", "onnx", "rich"} & set(loaded)

"""How long work is followed on stderr, training above all."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.training_run import narrow_spec, write_cifar

from resnet_compile.cli import progress
from resnet_compile.cli.common import Report
from resnet_compile.cli.train import SECONDS_BETWEEN_LINES, progress_listener
from resnet_compile.training import StepTaken


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    bar = progress.WorkProgress(SECONDS_BETWEEN_LINES)
    lines = progress_listener(Report(as_json=False, verbose=False), bar)
    bar.begin(100, done=40)
    for step in range(41, 65):
        clock.now += 1.0
        lines.stepped(StepTaken(step, 1.25, 0.5, 0.1, 1234.0))
    out, err = capsys.readouterr()
    assert out == ""
    # A step takes a second.
    assert err.splitlines() == [
        "step: 50, loss: 1.250, accuracy: 0.500, 1,234 images/s, 0:00:50 left",
        "step: 60, loss: 1.250, accuracy: 0.500, 1,234 images/s, 0:00:40 left",
    ]


def test_a_terminal_has_a_bar(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(narrow_spec().model_dump_json())
    write_cifar(tmp_path / "data")
    ours, theirs = pty.openpty()
    arguments = ["spec.json", "--data", "data", "--out", "run", "--steps", "25", "--batch", "8", "--device", "cpu"]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("resnet-train"), *arguments, "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    # Linux ends a terminal whose other end is closed with an error.
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:
        pass
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.startswith(b"{")
    text = shown.decode()
    assert "25/25" in text
    assert "images/s" in text
    assert "step: 25, evaluation loss: " in text

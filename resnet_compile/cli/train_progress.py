"""How a training is followed on stderr: as a bar, or as lines."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from resnet_compile.cli.common import Report
from resnet_compile.runtime import Session
from resnet_compile.training import Evaluation, Listener, StepTaken
from resnet_compile.training import Progress as TrainingProgress

_SECONDS_BETWEEN_LINES = 10.0


class Lines(Listener):
    """A line every few seconds, and one an evaluation."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._steps = 0
        self._first = 0
        self._start = self._last = 0.0

    def say(self, text: str) -> None:
        """Writes one line."""
        click.echo(text, err=True)

    def note(self, text: str) -> None:
        """Something worth knowing, always shown."""
        self.say(f"note: {text}")

    def started(self, progress: TrainingProgress, session: Session) -> None:
        """Where it runs, and from which step on."""
        begun = f" from step {progress.step:,}" if progress.step else ""
        self.say(f"training on {session.device}{begun} to step {progress.steps:,}")
        self._report.note(f"session: {session.record()}")
        self.begin(progress.step, progress.steps)

    def begin(self, first: int, steps: int) -> None:
        """Starts the clock: so many steps are done, of so many."""
        self._first, self._steps = first, steps
        self._start = self._last = time.monotonic()

    def stepped(self, taken: StepTaken) -> None:
        """The step, where the last line is some time ago."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            seconds = (now - self._start) / (taken.step - self._first) * (self._steps - taken.step)
            self.say(f"{_described(taken)}, {timedelta(seconds=round(seconds))} left")

    def evaluated(self, progress: TrainingProgress, evaluation: Evaluation) -> None:
        """What the original's evaluation prints."""
        self.say(
            f"step: {progress.step}, evaluation loss: {evaluation.loss:.3f}, precision: {evaluation.precision:.3f}, "
            f"best precision: {progress.best_precision:.3f}"
        )

    def saved(self, path: Path) -> None:
        """The checkpoint, with -v."""
        self._report.note(f"wrote {path}")


class Bar(Lines):
    """A bar with the step's figures, and lines above it."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), redirect_stdout=False)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Writes one line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def begin(self, first: int, steps: int) -> None:
        """The bar begins where the run is."""
        self._bar.reset(self._task, total=steps, completed=first)

    def stepped(self, taken: StepTaken) -> None:
        """The bar's next position."""
        self._bar.update(self._task, completed=taken.step, description=_described(taken))


def _described(taken: StepTaken) -> str:
    return (
        f"step: {taken.step}, loss: {taken.loss:.3f}, precision: {taken.accuracy:.3f}, "
        f"{taken.images_per_second:,.0f} images/s"
    )

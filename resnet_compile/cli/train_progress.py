"""How a training is followed on stderr."""

from __future__ import annotations

from pathlib import Path

from resnet_compile.cli.common import Report
from resnet_compile.cli.progress import WorkProgress
from resnet_compile.runtime import Session
from resnet_compile.training import Evaluation, Listener, Progress, StepTaken

SECONDS_BETWEEN_LINES = 10.0


class ProgressListener(Listener):
    """Moves a bar, and says a line an evaluation."""

    def __init__(self, report: Report, bar: WorkProgress) -> None:
        self._report = report
        self._bar = bar

    def note(self, text: str) -> None:
        """Something worth knowing, always shown."""
        self._bar.say(f"note: {text}")

    def started(self, progress: Progress, session: Session) -> None:
        """Where it runs, and from which step on."""
        begun = f" from step {progress.step:,}" if progress.step else ""
        self._bar.say(f"training on {session.device}{begun} to step {progress.steps:,}")
        self._report.note(f"session: {session.record()}")
        self._bar.begin(progress.steps, progress.step)

    def stepped(self, taken: StepTaken) -> None:
        """The step's figures."""
        self._bar.reach(
            taken.step,
            f"step: {taken.step}, loss: {taken.loss:.3f}, precision: {taken.accuracy:.3f}, "
            f"{taken.images_per_second:,.0f} images/s",
        )

    def evaluated(self, progress: Progress, evaluation: Evaluation) -> None:
        """What the original's evaluation prints."""
        self._bar.say(
            f"step: {progress.step}, evaluation loss: {evaluation.loss:.3f}, precision: {evaluation.precision:.3f}, "
            f"best precision: {progress.best_precision:.3f}"
        )

    def saved(self, path: Path) -> None:
        """The checkpoint, with -v."""
        self._report.note(f"wrote {path}")

"""The loop: step after step, with evaluations and checkpoints in between."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from resnet_compile.errors import OutputError, TrainingError
from resnet_compile.plan import Plan
from resnet_compile.runtime import Recurrence, Session
from resnet_compile.training.checkpoints import Progress, require_finite, save_checkpoint
from resnet_compile.training.data import Batch, Dataset
from resnet_compile.training.evaluation import Evaluation, evaluate, unsettled
from resnet_compile.training.options import learning_rate
from resnet_compile.training.recipe import Settled
from resnet_compile.training.run_log import JUDGED, RunLog
from resnet_compile.training.step import ACCURACY, IMAGES, LABELS, LEARNING_RATE, LOSS

LOG_EVERY = 10
"""The number of steps between lines of the log."""

SETTLED = 0.01
"""An evaluation counts only if the initial values' weight in the moving averages is at most this."""


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One training step.

    Attributes:
        step: The step's number, from 1.
        loss: The loss of its batch with the L2 penalty, before the update.
        accuracy: The share of its images whose greatest logit was the label's, before the update.
        learning_rate: The learning rate of the step.
        images_per_second: Throughput since the last line of the log, without evaluations and checkpoints.
    """

    step: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float


class Listener:
    """Receives the progress of a training run; the methods do nothing unless overridden."""

    def note(self, text: str) -> None:
        """A note for the user."""

    def started(self, progress: Progress, session: Session) -> None:
        """The first step is about to be taken."""

    def stepped(self, taken: StepTaken) -> None:
        """A step was taken."""

    def evaluated(self, progress: Progress, evaluation: Evaluation) -> None:
        """The whole test set was evaluated."""

    def saved(self, path: Path) -> None:
        """A checkpoint was written."""


@dataclass
class Loop:
    """The training loop of a run.

    Attributes:
        plan: The network.
        how: The settled options.
        folder: The run's folder.
        test: The images to evaluate on.
        session: The session of the training step.
        state: The step's state, on the device.
        log: The run's log.
        listener: Receives the progress.
        interrupted: Called between steps; True stops the run.
        checkpoint: The newest checkpoint, if there is one.
    """

    plan: Plan
    how: Settled
    folder: Path
    test: Dataset
    session: Session
    state: Recurrence
    log: RunLog
    listener: Listener
    interrupted: Callable[[], bool]
    checkpoint: Path | None

    def run(self, batches: Iterator[Batch], progress: Progress) -> Progress:
        """Takes steps up to `progress.steps` or an interruption, and ends with a checkpoint.

        Args:
            batches: The batches from the next step on.
            progress: The run's progress: the newest checkpoint's, if there is one.

        Returns:
            The progress at the end.
        """
        self.listener.started(progress, self.session)
        saved = progress.step if self.checkpoint else None
        clock = _Clock(progress.step)
        while True:
            done, evaluated = progress.step, False
            finished = done >= progress.steps
            if done > progress.evaluated and (finished or done % self.how.eval_every == 0):
                evaluation = self._evaluate()
                evaluated = evaluation is not None
                progress = self._judged(progress, evaluation) if evaluation else progress
                clock = _Clock(done)
            stop = finished or self.interrupted()
            if evaluated or (saved != done and (stop or done % self.how.options.save_every == 0)):
                self._save(progress)
                saved, clock = done, _Clock(done)
            if stop:
                return progress
            clock = self._step(next(batches), clock)
            progress = replace(progress, step=done + 1)

    def _step(self, batch: Batch, clock: _Clock) -> _Clock:
        """Takes one step and reports it; returns the clock for the next."""
        number = batch.step + 1
        rate = learning_rate(self.how.schedule, batch.step)
        told = self.state.run({IMAGES: batch.images, LABELS: batch.labels, LEARNING_RATE: np.array(rate, np.float32)})
        loss, accuracy = float(told[LOSS]), float(told[ACCURACY])
        if not math.isfinite(loss):
            with self._hinting():
                raise TrainingError(f"the loss is {loss} at step {number}", where=str(self.folder))
        taken = StepTaken(number, loss, accuracy, rate, clock.rate(number, self.how.batch))
        self.listener.stepped(taken)
        if number % LOG_EVERY:
            return clock
        with self._hinting():
            self.log.add(asdict(taken))
        return _Clock(number)

    def _evaluate(self) -> Evaluation | None:
        values = self.state.state()
        with self._hinting():
            require_finite(values)
            return evaluate(
                self.plan.spec,
                {parameter.name: values[parameter.name] for parameter in self.plan.parameters},
                self.test,
                batch=self.how.batch,
                device=str(self.session.device),
                session=self.session.options,
                interrupted=self.interrupted,
            )

    def _judged(self, progress: Progress, evaluation: Evaluation) -> Progress:
        progress = replace(progress, evaluated=progress.step, accuracy=evaluation.accuracy)
        # The newest of equally good ones wins: its moving averages have seen more steps.
        if progress.best_accuracy is None or evaluation.accuracy >= progress.best_accuracy:
            progress = replace(progress, best_accuracy=evaluation.accuracy, best_step=progress.step)
        with self._hinting():
            self.log.add({"step": progress.step, **asdict(evaluation), JUDGED: progress.best_accuracy})
        self.listener.evaluated(progress, evaluation)
        share = unsettled(self.plan.spec, progress.step)
        if self.how.recipe == "original" and share > SETTLED:
            self.listener.note(
                f"after {progress.step} steps initial values still make up {share:.0%} of the moving averages: "
                "this evaluation says little"
            )
        return progress

    def _save(self, progress: Progress) -> None:
        with self._hinting():
            self.log.to_disk()
            self.checkpoint = save_checkpoint(self.folder, self.state.state(), progress, self.how.options.keep)
        self.listener.saved(self.checkpoint)

    @contextlib.contextmanager
    def _hinting(self) -> Iterator[None]:
        """Adds to errors that end the run a hint which checkpoint remains."""
        try:
            yield
        except (OutputError, TrainingError) as error:
            left = f"the last good checkpoint is {self.checkpoint}" if self.checkpoint else "there is no checkpoint yet"
            raise type(error)(error.message, where=error.where, hint=left) from None


class _Clock:
    """Measures images per second, starting at a step."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._start = time.perf_counter()

    def rate(self, step: int, batch: int) -> float:
        """Images per second up to and including this step."""
        return (step - self._step) * batch / max(time.perf_counter() - self._start, 1e-9)

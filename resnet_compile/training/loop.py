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
"""Steps from one line of the log to the next."""

SETTLED = 0.01
"""The share of the moving averages that may be from before the first step when an evaluation counts."""


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One step.

    Attributes:
        step: Its number, from 1.
        loss: With the L2 penalty, before the update.
        accuracy: The share of its images whose greatest logit was the label's, before the update.
        learning_rate: What it was taken with.
        images_per_second: Since the last line of the log, evaluations and checkpoints left out.
    """

    step: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float


class Listener:
    """Hears how a training goes; the methods do nothing unless they are overridden."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

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
    """A run that goes on.

    Attributes:
        plan: The network.
        how: How to train it.
        folder: The run's.
        test: What to evaluate on.
        session: The training step's.
        state: The step's state, on the device.
        log: The run's.
        listener: Hears how it goes.
        interrupted: Whether to stop.
        checkpoint: The newest, if there is one.
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
        """Takes steps until there are as many as the progress says, or it is interrupted; then there is a checkpoint.

        Args:
            batches: From the first step that is not taken yet.
            progress: How far the run is; that of the checkpoint where there is one.

        Returns:
            How far it came.
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
        """Takes one step and tells of it; gives the clock for the next."""
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
        # Of equally good ones the newest, whose moving averages have followed for longer.
        if progress.best_accuracy is None or evaluation.accuracy >= progress.best_accuracy:
            progress = replace(progress, best_accuracy=evaluation.accuracy, best_step=progress.step)
        with self._hinting():
            self.log.add({"step": progress.step, **asdict(evaluation), JUDGED: progress.best_accuracy})
        self.listener.evaluated(progress, evaluation)
        share = unsettled(self.plan.spec, progress.step)
        if self.how.recipe == "original" and share > SETTLED:
            self.listener.note(
                f"after {progress.step} steps {share:.0%} of the moving averages is still what they began with: "
                "an evaluation says little yet"
            )
        return progress

    def _save(self, progress: Progress) -> None:
        with self._hinting():
            self.log.to_disk()
            self.checkpoint = save_checkpoint(self.folder, self.state.state(), progress, self.how.options.keep)
        self.listener.saved(self.checkpoint)

    @contextlib.contextmanager
    def _hinting(self) -> Iterator[None]:
        """Lets the errors of a run that cannot go on say what is left of it."""
        try:
            yield
        except (OutputError, TrainingError) as error:
            left = f"the last good checkpoint is {self.checkpoint}" if self.checkpoint else "there is no checkpoint yet"
            raise type(error)(error.message, where=error.where, hint=left) from None


class _Clock:
    """Measures images a second from a step on."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._start = time.perf_counter()

    def rate(self, step: int, batch: int) -> float:
        """Images a second, the last step being this one."""
        return (step - self._step) * batch / max(time.perf_counter() - self._start, 1e-9)

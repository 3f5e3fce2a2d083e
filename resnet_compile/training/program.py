"""Training as a whole, after the CIFAR system's main program, but with an end and resumable after any stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from resnet_compile.checkpoints.training_run import checkpoint_files, newest_whole
from resnet_compile.errors import DeviceError, OptionError
from resnet_compile.files import as_path
from resnet_compile.images import guess_note
from resnet_compile.notebook import html_table
from resnet_compile.runtime import Session, SessionOptions, choose_device
from resnet_compile.spec import NetworkSpec, SpecSource, as_spec
from resnet_compile.training.checkpoints import Progress, Saved, best_checkpoint, clear_folder, read_checkpoint
from resnet_compile.training.data import Dataset, Splits, check_images, open_splits, training_batches
from resnet_compile.training.evaluation import Evaluation, evaluate, require_one_label
from resnet_compile.training.loop import Listener, Loop
from resnet_compile.training.machine import blocked_step
from resnet_compile.training.options import StepOptions, TrainOptions
from resnet_compile.training.recipe import EVALUATION_BATCH, Settled, settled
from resnet_compile.training.run_log import LOG, RunLog, read_log
from resnet_compile.training.setup import require_same, setup_of
from resnet_compile.training.start import classes_in, starting_state
from resnet_compile.training.step import ACCURACY, LOSS, TrainingStep, compile_step

SESSION_OPTIONS = SessionOptions(spinning=False)
"""The default settings of training sessions. Threads do not spin: spinning takes cores from the threads that prepare
batches and, where two logical processors share a core, from each other.
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training run.

    Attributes:
        spec: The network, with the head that was trained.
        progress: The run's progress.
        checkpoint: The newest checkpoint.
        best: The checkpoint with the best evaluation; the run's folder stands for it when used as weights. None if
            none was evaluated.
        interrupted: Whether the run was stopped before its last evaluation.
        device: The device that it ran on.
    """

    spec: NetworkSpec
    progress: Progress
    checkpoint: Path
    best: Path | None
    interrupted: bool
    device: str

    def _repr_html_(self) -> str:
        told = self.progress
        rows = [
            ("steps", told.step),
            ("accuracy", told.accuracy),
            ("best accuracy", told.best_accuracy),
            ("after", told.best_step),
            ("checkpoint", str(self.best or self.checkpoint)),
        ]
        return html_table(f"{self.spec.name}, trained on {self.device}", ("", ""), rows)


def train(
    spec: SpecSource,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: TrainOptions | None = None,
    *,
    resume: bool = False,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    session: SessionOptions | None = None,
    listener: Listener | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Trained:
    """Trains a network, and evaluates it regularly on the whole test set.

    With `resume`, a run that was killed or interrupted continues from its newest checkpoint. On the same CPU, with the
    same number of threads, the result has the same bits as an uninterrupted run: a batch depends only on the seed and
    its number, the learning rate only on the number of steps taken, and everything else is in the checkpoint. On
    another processor convolutions may be computed in another layout, and sums in another order.

    Args:
        spec: The network. Images are preprocessed for its input. Its head gets the options' number of classes, or the
            data's.
        data: Training and test images, as for `resnet_compile.training.data.open_splits`.
        out: The folder for checkpoints and `log.jsonl`.
        options: The options; None for the defaults, which are those of fine-tuning if there are weights.
        resume: Whether to continue the run in the folder. All options except steps, epochs, eval_every, save_every and
            keep must be those that it began with.
        weights: A checkpoint of any format to begin with; not used when a run resumes. If only its number of classes
            differs, the head gets new initial values.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA unless something is known to keep it from working, else CPU.
        session: Settings of the sessions; None for `SESSION_OPTIONS`.
        listener: Receives the progress.
        interrupted: Called between steps; when it returns True, a checkpoint is written and training ends.

    Raises:
        SpecError: The spec describes no network.
        OptionError: An option is impossible; the folder already holds a run, or has none to resume; or the run to
            resume began with other options.
        DataError: The data is malformed, or an image cannot be read.
        WeightsError: The weights do not fill the network, or every checkpoint of the run is damaged.
        DeviceError: The device is not usable.
        TrainingError: The loss or a variable is no longer finite.
        OutputError: A file cannot be written. The last checkpoint remains after this and every other error.
    """
    options, listener, folder = TrainOptions.given(options), listener or Listener(), as_path(out)
    spec = as_spec(spec)
    saved = _saved(folder, resume=resume, weights=weights, listener=listener)
    chosen = choose_device(device)
    if chosen.provider.engine:
        raise DeviceError(f"{chosen.provider.title} trains no network", where=str(chosen), hint="--device cpu does")
    splits = _opened(spec, data, options, options.num_classes)
    spec = _with_head(spec, options.num_classes, splits.training, listener)
    progress, how = _progress(spec, options, splits, folder, saved, fine_tuning=weights is not None)
    target = chosen.provider.target
    step = compile_step(
        spec, StepOptions(batch=how.batch, optimizer=options.optimizer, freeze=options.freeze, target=target)
    )
    require_one_label(step.plan)
    size = (spec.input.height, spec.input.width)
    if note := guess_note(spec.input.preprocess, size):
        listener.note(note)
    if saved is None:
        _look_at(splits, listener, interrupted)
    state = saved.state if saved else _first_state(step, weights, options.seed, listener)
    here, block = blocked_step(step) if chosen.provider.kind == "cpu" else (step, 0)
    if block:
        listener.note(f"convolutions compute in onnxruntime's layout for this processor, {block} channels a block")
    opened = Session.open(here.to_proto().SerializeToString(), str(chosen), session or SESSION_OPTIONS)
    recurrence = opened.recur(state, step.next_names, (LOSS, ACCURACY))
    checkpoint = saved.path if saved else None
    clear_folder(folder, checkpoint)
    batches = training_batches(
        splits.training,
        batch=how.batch,
        size=size,
        scheme=spec.input.preprocess,
        augmentation=options.augmentation,
        seed=options.seed,
        first_step=progress.step,
    )
    with closing(RunLog(folder, progress.step, progress.evaluated)) as log, batches as stream:
        loop = Loop(step.plan, how, folder, splits.test, opened, recurrence, log, listener, interrupted, checkpoint)
        progress = loop.run(stream, progress)
    assert loop.checkpoint is not None, "a run ends with a checkpoint"
    interruption = progress.evaluated < progress.steps
    return Trained(spec, progress, loop.checkpoint, best_checkpoint(folder, progress), interruption, str(chosen))


def evaluate_run(
    spec: SpecSource,
    data: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    options: TrainOptions | None = None,
    *,
    device: str = "auto",
    session: SessionOptions | None = None,
) -> Evaluation:
    """Evaluates a checkpoint on the whole test set.

    Args:
        spec: The network.
        data: The data, as for `train`.
        weights: A checkpoint of any format, or a run's folder, which stands for its best checkpoint. If the number of
            classes differs from the spec's, the checkpoint's is used.
        options: Only batch, compat, num_classes and val_fraction are used.
        device: The device, as for `train`.
        session: Settings of the session; None for `SESSION_OPTIONS`.

    Raises:
        SpecError, DataError, WeightsError, DeviceError: As `train`.
    """
    options, spec = TrainOptions.given(options), as_spec(spec)
    classes = options.num_classes or classes_in(spec, weights)
    test = _opened(spec, data, options, classes).test
    chosen = str(choose_device(device))
    sized = spec.replace(head=spec.head.replace(num_classes=classes))
    batch, settings = options.batch or EVALUATION_BATCH, session or SESSION_OPTIONS
    evaluation = evaluate(sized, weights, test, batch=batch, device=chosen, session=settings)
    assert evaluation is not None, "nothing interrupts it"
    return evaluation


def _saved(folder: Path, *, resume: bool, weights: object, listener: Listener) -> Saved | None:
    """The checkpoint to resume from; None for a new run."""
    if not resume:
        if newest := checkpoint_files(folder):
            hint = "--resume goes on with it"
            raise OptionError(f"the folder has a run already, with {newest[0].name}", where=str(folder), hint=hint)
        if read_log(folder):
            hint = "move it away, or give another --out"
            raise OptionError("the folder has the log of a run and no checkpoints", where=str(folder / LOG), hint=hint)
        return None
    if weights is not None:
        listener.note("the run goes on with its own weights")
    saved, faults = newest_whole(folder, read_checkpoint)
    if saved is None:
        raise OptionError("the folder has no run to resume", where=str(folder), hint="leave --resume out to begin one")
    for fault in faults:
        listener.note(f"going on from {saved.path.name}: {fault}")
    return saved


def _opened(spec: NetworkSpec, data: str | os.PathLike[str], options: TrainOptions, num_classes: int | None) -> Splits:
    return open_splits(
        as_path(data),
        num_classes=num_classes,
        channels=spec.input.channels,
        compat=options.compat,
        fraction=options.val_fraction,
    )


def _with_head(spec: NetworkSpec, asked: int | None, training: Dataset, listener: Listener) -> NetworkSpec:
    """The network with the requested number of classes, or the data's."""
    classes, own = asked or len(training.class_names), spec.head.num_classes
    if own is None and asked is None:
        hint = f"--num-classes {classes} gives it some"
        raise OptionError("the network must have logits to be trained", where="$.head.num_classes", hint=hint)
    if own is not None and own != classes and asked is None:
        choice = f"--num-classes {own} keeps these" if own > classes else f"--num-classes {classes} confirms it"
        listener.note(f"the head gets the data's {classes} classes, not {spec.name}'s {own}; {choice}")
    return spec.replace(head=spec.head.replace(num_classes=classes)) if own != classes else spec


def _look_at(splits: Splits, listener: Listener, interrupted: Callable[[], bool]) -> None:
    """Notes how many images were held out here, and refuses images that cannot be read."""
    if splits.parted:
        held, kept = len(splits.test), len(splits.training)
        listener.note(f"the data has no held-out images: {held} of {held + kept} are held out (--val-fraction)")
    for each in (splits.training, splits.test):
        check_images(each, interrupted)


def _progress(
    spec: NetworkSpec, options: TrainOptions, data: Splits, folder: Path, saved: Saved | None, *, fine_tuning: bool
) -> tuple[Progress, Settled]:
    """The run's progress, with its end, and the settled options."""
    begun = saved.progress if saved else None
    how = settled(
        options,
        len(data.training),
        fine_tuning=fine_tuning,
        begun=begun.setup if begun else None,
        steps=begun.steps if begun else 0,
    )
    setup = setup_of(spec, how, data)
    if begun is None:
        return Progress(0, how.steps, setup, class_names=data.training.names), how
    require_same(folder, begun.setup, setup)
    if how.steps < begun.step:
        raise OptionError(f"steps must be at least the {begun.step} that the run has taken", where="steps")
    return replace(begun, steps=how.steps, setup=setup), how


def _first_state(
    step: TrainingStep, weights: str | os.PathLike[str] | None, seed: int, listener: Listener
) -> Mapping[str, NDArray[Any]]:
    state, notes = starting_state(step, weights, seed)
    for note in notes:
        listener.note(note)
    return state

"""``resnet-train SPEC --data PATH --out RUN``."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.parameters import COUNT, PATH, SEED, device_option, scopes
from resnet_compile.cli.progress import WorkProgress, progress
from resnet_compile.errors import OptionError, TrainingError
from resnet_compile.limits import MAX_BATCH, MAX_CLASSES

PAGE = "report.html"
SECONDS_BETWEEN_LINES = 10.0


@command("resnet-train")
@click.argument("spec")
@click.option(
    "--data",
    required=True,
    type=PATH,
    help="Training and test images: a folder of CIFAR .bin files, a folder with one folder for each class, or an .npz.",
)
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of each class to hold out if the data has no test images; by default 0.2.",
)
@click.option(
    "--num-classes",
    type=click.IntRange(1, MAX_CLASSES),
    metavar="N",
    help="Number of classes of the network; by default that of the data.",
)
@click.option("-o", "--out", type=PATH, help="Folder of the run, for checkpoints, log and page.")
@click.option(
    "--steps",
    type=COUNT,
    help="Total steps; by default to the schedule's end, or with --weights ten epochs but at least 100 steps.",
)
@click.option("--epochs", type=COUNT, help="Instead of --steps: passes over the training images.")
@click.option("--batch", type=click.IntRange(1, MAX_BATCH), help="Batch size; by default 128, or 32 with --weights.")
@click.option(
    "--optimizer",
    type=click.Choice(["momentum", "sgd"]),
    default="momentum",
    help="Gradient descent, with a momentum of 0.9 or plain.",
)
@click.option(
    "--schedule",
    metavar="JSON|FILE",
    help='Learning rates, as {"kind": "piecewise", "boundaries": [900], "values": [0.1, 0.01]} or {"kind": "cosine", '
    '"peak": 0.1, "warmup": 50}; by default 0.1, divided by 10 after 40000, 60000 and 80000 steps, or with --weights '
    "a cosine with a peak of 0.01.",
)
@click.option(
    "--lr",
    type=click.FloatRange(0, 1e30),
    metavar="RATE",
    help="Greatest rate of the default schedule.",
)
@click.option("--seed", type=SEED, default=0, help="Seed of initial weights, image order and augmentation.")
@click.option(
    "--augment",
    "augmentation",
    type=click.Choice(["crop-flip", "crop", "none"]),
    default="crop-flip",
    help="Augmentation of the training images.",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out; the result is the same as without the stop.")
@click.option("--weights", type=PATH, help="Checkpoint to start from, or to evaluate.")
@click.option(
    "--freeze", callback=scopes, metavar="SCOPE[,SCOPE...]", help="Scopes to leave untrained, such as conv1,block1."
)
@click.option("--eval", "only_evaluate", is_flag=True, help="Only evaluate the run in --out, or --weights.")
@click.option(
    "--eval-every",
    type=COUNT,
    help="Steps between evaluations on the test images; by default 1000, or a tenth of a shorter run.",
)
@click.option("--save-every", type=COUNT, default=500, help="Steps between checkpoints.")
@click.option("--keep", type=COUNT, default=5, help="Number of newest checkpoints to keep, in addition to the best.")
@click.option("--compat", is_flag=True, help="Read CIFAR-100 one byte off, as the old TensorFlow models did.")
@device_option
def cli(
    report: Report,
    spec: str,
    data: Path,
    out: Path | None,
    schedule: str | None,
    resume: bool,
    weights: Path | None,
    freeze: tuple[str, ...],
    only_evaluate: bool,
    device: str,
    **options: Any,
) -> None:
    """Train SPEC, a JSON file or a name of the catalogue, and evaluate it on the test images.

    The head gets as many classes as the data has. The best checkpoint is kept; --weights RUN uses it. Ctrl-C ends the
    run after the current step and writes a checkpoint. --resume continues from the last checkpoint.

    \b
    resnet-train cifar_resnet32 --data cifar-10-batches-bin --steps 80000 --out run
    resnet-train cifar_resnet32 --data cifar-10-batches-bin --steps 80000 --out run --resume
    resnet-train cifar_resnet32 --data cifar-10-batches-bin --out run --eval
    resnet-train resnet50 --data photos --weights resnet_v2_50.ckpt --freeze conv1,block1 --out tuned
    """  # noqa: D301  # click keeps a paragraph's line breaks after the backspace character itself
    network = rc.load_spec(spec)
    if options["steps"] and options["epochs"]:
        raise OptionError("--steps and --epochs exclude each other")
    chosen = rc.training.TrainOptions(schedule=_schedule(schedule), freeze=freeze, **options)
    if only_evaluate:
        unread = {"--resume": resume, "--schedule": schedule, "--freeze": freeze}
        unread |= {f"--{name}": options[name] for name in ("steps", "epochs", "lr")}
        if given := next((flag for flag, value in unread.items() if value), None):
            raise OptionError(f"{given} does not apply to --eval")
        _evaluate(report, network, data, out, weights, chosen, device)
        return
    if out is None:
        raise OptionError("--out is required", where="out", hint="give --out")
    document = _train(report, network, data, out, chosen, resume=resume, weights=weights, device=device)
    classes = [] if document["num_classes"] == network.head.num_classes else ["--num-classes", document["num_classes"]]
    to_model = shlex.join(map(str, ["resnet-compile", spec, *classes, "--weights", out, "-o", "model.onnx"]))
    report.result(
        document,
        lambda: (
            f"{out}: {network.name}, {document['steps']:,} steps, accuracy: {document['accuracy']:.4f}, "
            f"best accuracy: {document['best_accuracy']:.4f} after {document['best_step']:,}\n"
            f"{document['report']}: its curves\n{to_model}: a model of the best"
        ),
    )


def _schedule(text: str | None) -> rc.training.PiecewiseSchedule | rc.training.CosineSchedule | None:
    """The schedule, from JSON or the name of a JSON file; None without a value."""
    if not text:
        return None
    return rc.training.parse_schedule(text) if text.lstrip().startswith("{") else rc.training.read_schedule(Path(text))


def _train(
    report: Report, spec: rc.NetworkSpec, data: Path, out: Path, options: rc.training.TrainOptions, **how: Any
) -> dict[str, Any]:
    """Trains, writes the page, and returns the result as a JSON document."""
    # Deferred: --help and usage errors do not need it.
    from resnet_compile.report.training_page import training_page

    with _interruption() as interrupted, progress(SECONDS_BETWEEN_LINES) as bar:
        listener = progress_listener(report, bar)
        trained = rc.training.train(
            spec, data, out, options, session=_session(report), listener=listener, interrupted=interrupted, **how
        )
    page = out / PAGE
    with rc.files.replacing(page) as file:
        file.write(training_page(spec.name, trained, rc.training.read_log(out)).encode())
    steps = trained.progress
    if trained.interrupted:
        again = [] if "--resume" in sys.argv[1:] else ["--resume"]
        raise TrainingError(
            f"interrupted after step {steps.step:,} of {steps.steps:,}",
            where=str(trained.checkpoint),
            hint=f"go on with: {shlex.join(['resnet-train', *sys.argv[1:], *again])}",
        )
    return {
        "name": spec.name,
        "out": str(out),
        "steps": steps.step,
        "accuracy": steps.accuracy,
        "best_accuracy": steps.best_accuracy,
        "best_step": steps.best_step,
        "num_classes": trained.spec.head.num_classes,
        "class_names": steps.class_names,
        "checkpoint": str(trained.checkpoint),
        "best_checkpoint": str(trained.best) if trained.best else None,
        "report": str(page),
        "device": trained.device,
    }


def _evaluate(
    report: Report,
    spec: rc.NetworkSpec,
    data: Path,
    out: Path | None,
    weights: Path | None,
    options: rc.training.TrainOptions,
    device: str,
) -> None:
    source = weights or out
    if source is None:
        raise OptionError("--eval needs a checkpoint", where="eval", hint="give --out or --weights")
    if note := rc.images.guess_note(spec.input.preprocess, (spec.input.height, spec.input.width)):
        click.echo(f"resnet-train: {note}", err=True)
    evaluation = rc.training.evaluate_run(spec, data, source, options, device=device, session=_session(report))
    best = max(evaluation.accuracy, rc.training.best_accuracy(source) or 0.0)
    document = {
        "name": spec.name,
        "weights": str(source),
        "images": evaluation.images,
        "loss": evaluation.loss,
        "accuracy": evaluation.accuracy,
        "best_accuracy": best,
    }
    report.result(
        document,
        lambda: (
            f"{source}: {evaluation.images:,} images, loss: {evaluation.loss:.3f}, "
            f"accuracy: {evaluation.accuracy:.4f}, best accuracy: {best:.4f}"
        ),
    )


def _session(report: Report) -> rc.runtime.SessionOptions:
    return rc.training.SESSION_OPTIONS.replace(log_severity=report.log_severity)


def progress_listener(report: Report, bar: WorkProgress) -> rc.training.Listener:
    """Moves the bar, and prints a line for each evaluation."""

    class Lines(rc.training.Listener):
        def note(self, text: str) -> None:
            bar.say(f"note: {text}")

        def started(self, progress: rc.training.Progress, session: rc.runtime.Session) -> None:
            begun = f" from step {progress.step:,}" if progress.step else ""
            bar.say(f"training on {session.device}{begun} to step {progress.steps:,}")
            report.note(f"session: {session.record()}")
            bar.begin(progress.steps, progress.step)

        def stepped(self, taken: rc.training.StepTaken) -> None:
            figures = f"step: {taken.step}, loss: {taken.loss:.3f}, accuracy: {taken.accuracy:.3f}"
            bar.reach(taken.step, f"{figures}, {taken.images_per_second:,.0f} images/s")

        def evaluated(self, progress: rc.training.Progress, evaluation: rc.training.Evaluation) -> None:
            figures = f"evaluation loss: {evaluation.loss:.3f}, accuracy: {evaluation.accuracy:.3f}"
            bar.say(f"step: {progress.step}, {figures}, best accuracy: {progress.best_accuracy:.3f}")

        def saved(self, path: Path) -> None:
            report.note(f"wrote {path}")

    return Lines()


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Gives a function: whether Ctrl-C or SIGTERM was received. A second one ends the process at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        # Not through click: its stream may be in the middle of a write.
        os.write(2, b"\nresnet-train: ending after this step; once more to end at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


main = partial(run, cli)

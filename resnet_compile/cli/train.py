"""``resnet-train SPEC --data PATH --out RUN``."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.parameters import scopes
from resnet_compile.limits import MAX_BATCH

if TYPE_CHECKING:
    from resnet_compile.spec import NetworkSpec
    from resnet_compile.training import Listener, Trained, TrainOptions

PAGE = "report.html"


@command("resnet-train")
@click.argument("spec")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Training and test images: a folder of CIFAR .bin files, one of image folders by class, or an .npz.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The run's folder: checkpoints, log and page.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps in all; by default to the schedule's end.")
@click.option("--epochs", type=click.IntRange(min=1), help="The same in rounds through the training images.")
@click.option("--batch", type=click.IntRange(1, MAX_BATCH), default=128, show_default=True, help="Images at a time.")
@click.option(
    "--optimizer",
    type=click.Choice(["momentum", "sgd"]),
    default="momentum",
    show_default=True,
    help="Gradient descent with a momentum of 0.9, or plain.",
)
@click.option(
    "--schedule",
    metavar="JSON|FILE",
    help='Learning rates, as {"kind": "piecewise", "boundaries": [900], "values": [0.1, 0.01]} or {"kind": "cosine", '
    '"peak": 0.1, "steps": 1000, "warmup": 50}; by default 0.1, divided by 10 after 40000, 60000 and 80000 steps.',
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Of initial weights, order and augmentation.",
)
@click.option(
    "--augment",
    "augmentation",
    type=click.Choice(["crop-flip", "crop", "none"]),
    default="crop-flip",
    show_default=True,
    help="What is done to training images.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out, exactly as if it had never stopped.")
@click.option("--weights", type=click.Path(path_type=Path), help="A checkpoint to begin with, or to evaluate.")
@click.option(
    "--freeze", callback=scopes, metavar="SCOPE[,SCOPE...]", help="What is not trained, such as conv1,block1."
)
@click.option("--eval", "only_evaluate", is_flag=True, help="Only evaluate: the run in --out, or --weights.")
@click.option(
    "--eval-every",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Steps from one evaluation on the test images to the next.",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Steps from one checkpoint to the next.",
)
@click.option("--keep", type=click.IntRange(min=1), default=5, show_default=True, help="Checkpoints to keep.")
@click.option("--compat", is_flag=True, help="Read CIFAR-100 one byte off, as the original did.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where to run.")
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

    Ctrl-C ends it after the step with a checkpoint; --resume goes on from there, or from wherever it was killed.

    \b
    resnet-train cifar_resnet32 --data cifar-10-batches-bin --steps 80000 --out run
    resnet-train cifar_resnet32 --data cifar-10-batches-bin --steps 80000 --out run --resume
    resnet-train cifar_resnet32 --data cifar-10-batches-bin --out run --eval
    resnet-train mine.json --data photos --weights resnet_v2_50.ckpt --freeze conv1,block1 --epochs 3 --out tuned
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    # Deferred, so that --help and usage errors need none of it.
    from resnet_compile.errors import OptionError
    from resnet_compile.spec import load_spec

    network = load_spec(spec)
    if options["steps"] and options["epochs"]:
        raise OptionError("--steps and --epochs exclude each other")
    # After what can be wrong without it, since it takes longest.
    from resnet_compile.training import CIFAR_SCHEDULE, TrainOptions

    chosen = TrainOptions(schedule=_schedule(schedule) if schedule else CIFAR_SCHEDULE, freeze=freeze, **options)
    if only_evaluate:
        unread = {"--resume": resume, "--schedule": schedule, "--freeze": freeze}
        unread |= {f"--{name}": options[name] for name in ("steps", "epochs")}
        if given := next((flag for flag, value in unread.items() if value), None):
            raise OptionError(f"--eval only evaluates and takes no {given}")
        _evaluate(report, network, data, out, weights, chosen, device)
        return
    if out is None:
        raise OptionError("a run needs a folder", where="out", hint="give --out")
    trained = _train(report, network, data, out, chosen, resume=resume, weights=weights, device=device)
    to_model = shlex.join(["resnet-compile", spec, "--weights", str(out), "-o", "model.onnx"])
    report.result(trained, lambda: _summary(trained, to_model))


def _schedule(text: str) -> Any:
    """JSON as it is, or the name of a file of it."""
    from resnet_compile.training import parse_schedule, read_schedule

    return parse_schedule(text) if text.lstrip().startswith("{") else read_schedule(Path(text))


def _train(
    report: Report, spec: NetworkSpec, data: Path, out: Path, options: TrainOptions, **how: Any
) -> dict[str, Any]:
    """Trains, writes the page, and gives the result as a JSON document."""
    from resnet_compile.errors import TrainingError
    from resnet_compile.training import train

    with _interruption() as interrupted, _listener(report) as listener:
        trained = train(
            spec, data, out, options, session=_session(report), listener=listener, interrupted=interrupted, **how
        )
    page = _page(spec, out, trained)
    progress = trained.progress
    if trained.interrupted:
        raise TrainingError(
            f"interrupted after step {progress.step:,} of {progress.steps:,}",
            where=str(trained.checkpoint),
            hint=f"go on with: {_resuming(sys.argv[1:])}",
        )
    return {
        "name": spec.name,
        "out": str(out),
        "steps": progress.step,
        "precision": progress.precision,
        "best_precision": progress.best_precision,
        "checkpoint": str(trained.checkpoint),
        "report": str(page),
        "device": trained.device,
    }


def _summary(trained: dict[str, Any], to_model: str) -> str:
    precision = f"precision: {trained['precision']:.4f}, best precision: {trained['best_precision']:.4f}"
    return (
        f"{trained['out']}: {trained['name']}, {trained['steps']:,} steps, {precision}\n"
        f"{trained['report']}: its curves\n"
        f"{to_model}: a model of it"
    )


def _page(spec: NetworkSpec, out: Path, trained: Trained) -> Path:
    """Writes the run's page."""
    from resnet_compile.files import replacing
    from resnet_compile.report.training_page import training_page
    from resnet_compile.training import read_log

    page = out / PAGE
    with replacing(page) as file:
        file.write(training_page(spec.name, trained, read_log(out)).encode())
    return page


def _evaluate(
    report: Report,
    spec: NetworkSpec,
    data: Path,
    out: Path | None,
    weights: Path | None,
    options: TrainOptions,
    device: str,
) -> None:
    from resnet_compile.errors import OptionError
    from resnet_compile.training import best_precision, evaluate_run

    source = weights or out
    if source is None:
        raise OptionError("there is nothing to evaluate", where="eval", hint="give --out or --weights")
    evaluation = evaluate_run(spec, data, source, options, device=device, session=_session(report))
    best = max(evaluation.precision, best_precision(source) or 0.0)
    document = {
        "name": spec.name,
        "weights": str(source),
        "images": evaluation.images,
        "loss": evaluation.loss,
        "precision": evaluation.precision,
        "best_precision": best,
    }
    report.result(
        document,
        lambda: (
            f"{source}: {evaluation.images:,} images, loss: {evaluation.loss:.3f}, "
            f"precision: {evaluation.precision:.4f}, best precision: {best:.4f}"
        ),
    )


def _session(report: Report) -> Any:
    from resnet_compile.training import SESSION_OPTIONS

    return SESSION_OPTIONS.replace(log_severity="warning" if report.verbose else "fatal")


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM asked for the end; a second one does not wait for it."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        # Not by click, whose stream may be in the middle of a line.
        os.write(2, b"\nresnet-train: ending after this step; once more to end at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resuming(arguments: list[str]) -> str:
    """The command line that goes on with what this one began."""
    resume = [] if "--resume" in arguments else ["--resume"]
    return shlex.join(["resnet-train", *arguments, *resume])


@contextmanager
def _listener(report: Report) -> Iterator[Listener]:
    """A bar on a terminal, and lines every so often elsewhere."""
    from resnet_compile.cli.train_progress import Bar, Lines

    if not sys.stderr.isatty():
        yield Lines(report)
        return
    with Bar(report) as bar:
        yield bar


def main() -> None:
    """The console entry point."""
    run(cli)

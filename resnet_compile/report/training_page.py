"""A training run as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from resnet_compile.report.curves import curves, smoothed
from resnet_compile.report.page import legend, note, page, section, table, tiles
from resnet_compile.report.svg import Points, element
from resnet_compile.training import Trained
from resnet_compile.training.run_log import JUDGED, Entry

# The table shows only this many evaluations, the newest; the curve shows all.
_ROWS = 30
_TRAINING, _TEST = "training batches, smoothed", "test images"


def training_page(name: str, trained: Trained, log: Sequence[Entry]) -> str:
    """The HTML page, with style and drawings embedded.

    Args:
        name: The network's name.
        trained: The result of the run.
        log: The entries of the log, from `resnet_compile.training.read_log`.
    """
    steps = [entry for entry in log if JUDGED not in entry]
    evaluations = [entry for entry in log if JUDGED in entry]
    progress = trained.progress
    described = f"Trained for {progress.step:,} of {progress.steps:,} steps on {trained.device}"
    return page(
        f"resnet-train: {name}",
        element("h1", escape(name)),
        element("p", escape(described)),
        note("Interrupted: --resume goes on from here.") if trained.interrupted else "",
        _tiles(trained, steps),
        _curves(
            "Accuracy",
            "The share of images for which the greatest logit is that of their class.",
            {_TRAINING: smoothed(_points(steps, "accuracy")), _TEST: _points(evaluations, "accuracy")},
        ),
        _curves(
            "Loss",
            "Cross-entropy; that of training batches has the L2 penalty in it.",
            {_TRAINING: smoothed(_points(steps, "loss")), _TEST: _points(evaluations, "loss")},
            factors=True,
        ),
        _curves("Learning rate", "", {"learning rate": _points(steps, "learning_rate")}, factors=True),
        _evaluations(evaluations),
        section("Setup", "", table([], _setup(trained))),
    )


def _tiles(trained: Trained, steps: Sequence[Entry]) -> str:
    progress = trained.progress
    figures = []
    if progress.accuracy is not None and progress.best_accuracy is not None:
        best = f"best accuracy, step {progress.best_step:,}" if progress.best_step is not None else "best accuracy"
        figures += [(f"{progress.accuracy:.2%}", "accuracy"), (f"{progress.best_accuracy:.2%}", best)]
    if steps:
        figures.append((f"{steps[-1]['loss']:.3f}", "loss, last step logged"))
        figures.append((f"{np.median([each['images_per_second'] for each in steps]):,.0f}", "images a second, median"))
    return tiles(figures)


def _points(entries: Sequence[Entry], key: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[key]) for entry in entries]


def _curves(heading: str, explanation: str, lines: Mapping[str, Points], *, factors: bool = False) -> str:
    """A chart of the lines that have points; with `factors` and only positive values its y axis is logarithmic."""
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    styles = {name: "s1" if name == _TEST else "s0" for name in lines}
    positive = all(value > 0 for points in lines.values() for _, value in points)
    return section(
        heading, explanation, legend(styles), curves(heading, lines, styles, logarithmic=factors and positive)
    )


def _evaluations(evaluations: Sequence[Entry]) -> str:
    if not evaluations:
        return ""
    rows = [
        [f"{each['step']:,}", f"{each['accuracy']:.4f}", f"{each['best_accuracy']:.4f}", f"{each['loss']:.4f}"]
        for each in reversed(evaluations[-_ROWS:])
    ]
    explanation = f"On all {evaluations[-1]['images']:,} test images, the newest first."
    return section("Evaluations", explanation, table(["step", "accuracy", "best accuracy", "loss"], rows, words=()))


def _setup(trained: Trained) -> list[list[str]]:
    setup = trained.progress.setup
    schedule = setup["schedule"]
    rates = ", ".join(f"{key} {value}" for key, value in schedule.items() if key != "kind")
    rows = [
        ("batch", f"{setup['batch']} images"),
        ("classes", str(setup["spec"]["head"]["num_classes"])),
        ("training images", f"{setup['data']['training']['images']:,}"),
        ("optimizer", setup["optimizer"]),
        ("schedule", f"{schedule['kind']}: {rates}"),
        ("augmentation", setup["augmentation"]),
        ("weight decay", f"{setup['spec']['weight_decay']:g}"),
        ("frozen", ", ".join(setup["freeze"])),
        ("seed", str(setup["seed"])),
        ("last checkpoint", str(trained.checkpoint)),
        ("best checkpoint", str(trained.best or "")),
    ]
    return [[name, value] for name, value in rows if value]

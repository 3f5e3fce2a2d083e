"""Options of training, and learning-rate schedules."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resnet_compile.checked import (
    Batch,
    CheckedModel,
    Classes,
    Names,
    Natural,
    Positive,
    Seed,
    Side,
    checked_call,
    invalid,
    parse_json,
    read_json,
)
from resnet_compile.errors import OptionError
from resnet_compile.files import as_path

Optimizer = Literal["momentum", "sgd"]


class StepOptions(CheckedModel):
    """The options of `resnet_compile.training.compile_step`."""

    batch: Batch
    """Images at a time."""

    size: tuple[Side, Side] | None = None
    """Rows and columns of the images; None takes the spec's."""

    optimizer: Optimizer = "momentum"
    """`sgd`: w' = w - lr g. `momentum`, with factor 0.9 in TensorFlow's form: v' = 0.9 v + g, w' = w - lr v'."""

    freeze: Names = ()
    """Scopes that are not trained, such as `conv1` or `block1/unit_1`, with or without the network's name. Their
    variables do not change, and their norms use the moving statistics.
    """

    target: Literal["cpu", "cuda"] = "cpu"
    """The execution provider for which gradients are optimised; the step computes the same on any."""

    opset: int = 18
    """Version of ONNX's default operator set."""


Rate = Annotated[float, Field(ge=0, le=1e30)]


class PiecewiseSchedule(CheckedModel):
    """A learning rate that changes at given steps."""

    kind: Literal["piecewise"] = "piecewise"

    boundaries: Annotated[tuple[Positive, ...], Field(strict=False)]
    """Step numbers after which the next value applies, ascending."""

    values: Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]
    """The learning rates: one more than there are boundaries."""

    @model_validator(mode="after")
    def _values_fit_the_boundaries(self) -> Self:
        for index, (before, boundary) in enumerate(pairwise(self.boundaries), 1):
            if boundary <= before:
                raise invalid(f"must be greater than the boundary before it, {before}", "boundaries", index)
        if len(self.values) != len(self.boundaries) + 1:
            wanted = len(self.boundaries) + 1
            raise invalid(f"must have {wanted} items, one more than boundaries, got {len(self.values)}", "values")
        return self


class CosineSchedule(CheckedModel):
    """A learning rate that rises linearly to its peak, then falls along half a cosine."""

    kind: Literal["cosine"] = "cosine"

    peak: Rate
    """The greatest rate."""

    steps: Positive | None = None
    """The step that reaches the final value, counted from the run's first step; None takes the run's last step."""

    warmup: Natural = 0
    """The number of steps to reach the peak."""

    final: Rate = 0.0
    """The last value."""

    @model_validator(mode="after")
    def _the_peak_comes_before_the_end(self) -> Self:
        if self.steps is not None and self.warmup >= self.steps:
            raise invalid(f"must be less than steps, {self.steps}", "warmup")
        return self


Schedule = Annotated[PiecewiseSchedule | CosineSchedule, Field(discriminator="kind")]


def parse_schedule(text: str | bytes) -> PiecewiseSchedule | CosineSchedule:
    """The schedule that a JSON text describes.

    Raises:
        OptionError: The text is not JSON, or describes no schedule; `where` is the path of the first fault.
    """
    schedule: PiecewiseSchedule | CosineSchedule = parse_json(Schedule, text)
    return schedule


def read_schedule(path: str | os.PathLike[str]) -> PiecewiseSchedule | CosineSchedule:
    """The schedule that a JSON file describes.

    Raises:
        OptionError: The file cannot be read or holds no schedule; `where` begins with the file's name.
    """
    schedule: PiecewiseSchedule | CosineSchedule = read_json(Schedule, as_path(path), "schedule")
    return schedule


@checked_call(CheckedModel)
def learning_rate(schedule: Schedule, done: Natural) -> float:
    """The learning rate of step number `done` + 1; an `OptionError` for a cosine schedule without its length.

    Piecewise: a boundary b separates the steps 1 to b from those after it. With the CIFAR system's boundary 40,000,
    step 40,001 is the first at 0.01: after each step, its main program sets the next step's rate from the number of
    steps done. The original always starts again at 0.1 after a restart; this does not.

    Cosine: step w of the W warm-up steps has w / W of the peak. A later step s has

        final + (peak - final) (1 + cos(pi (s - W) / (steps - W))) / 2,

    so step number `steps` and all later ones have the final rate.
    """
    if isinstance(schedule, PiecewiseSchedule):
        return schedule.values[bisect_right(schedule.boundaries, done)]
    number = done + 1
    if number < schedule.warmup:
        return schedule.peak * number / schedule.warmup
    if schedule.steps is None:
        raise OptionError("a cosine that ends with its run has no rate before the run's length is known", where="steps")
    progress = min((number - schedule.warmup) / (schedule.steps - schedule.warmup), 1.0)
    return schedule.final + (schedule.peak - schedule.final) * (1 + math.cos(math.pi * progress)) / 2


def end_of(schedule: PiecewiseSchedule | CosineSchedule) -> int | None:
    """The number of steps after which the rate is constant; None for a constant rate or a cosine without length."""
    if isinstance(schedule, PiecewiseSchedule):
        return schedule.boundaries[-1] if schedule.boundaries else None
    return schedule.steps


CIFAR_SCHEDULE = PiecewiseSchedule(boundaries=(40_000, 60_000, 80_000), values=(0.1, 0.01, 0.001, 0.0001))
"""The CIFAR system's schedule."""

Augmentation = Literal["crop-flip", "crop", "none"]


class TrainOptions(CheckedModel):
    """The options of `resnet_compile.training.train`; the defaults are those of ``resnet-train``."""

    steps: Positive | None = None
    """Steps to take in all, including those before a resumption."""

    epochs: Positive | None = None
    """Epochs to take in all, instead of `steps`. With neither, a resumed run continues to its old end, and a new run to
    the end of its schedule. A new run that begins with weights and has no schedule takes 10 epochs, and at least 100
    steps.
    """

    batch: Batch | None = None
    """Images at a time; None takes 128, or 32 for a run that begins with weights."""

    optimizer: Optimizer = "momentum"
    """As in `StepOptions`."""

    schedule: Schedule | None = None
    """The learning-rate schedule. None takes `CIFAR_SCHEDULE`; for a run that begins with weights, a cosine over the
    run's length with a peak of 0.01 and a warm-up of a tenth of the steps.
    """

    lr: Rate | None = None
    """The greatest learning rate, instead of the schedule's own."""

    seed: Seed = 0
    """Seed of the initial weights, and of the order and the augmentation of the images."""

    augmentation: Augmentation = "crop-flip"
    """Augmentation of training images: random crops of the padded image, and random flips."""

    compat: bool = False
    """Read CIFAR-100 as the CIFAR system did, one byte off."""

    freeze: Names = ()
    """As in `StepOptions`."""

    eval_every: Positive | None = None
    """Steps between evaluations; there is always one after the last step. None evaluates every 1000 steps, and at least
    ten times.
    """

    save_every: Positive = 500
    """Steps between checkpoints; there is always one after the last step."""

    keep: Positive = 5
    """How many of the newest checkpoints to keep; the best one is kept in addition."""

    num_classes: Classes | None = None
    """Number of classes; None takes the data's."""

    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of each class to hold out for validation if the data has no held-out images; None takes a fifth."""

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise invalid("steps and epochs exclude each other", "epochs")
        if self.schedule is not None and self.lr is not None:
            raise invalid("schedule and lr exclude each other", "lr")
        return self

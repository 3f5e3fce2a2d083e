"""What training can be asked for, the learning rate as a function of the steps taken among it."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

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
    """`sgd`: w' = w - lr g; `momentum`, of 0.9, in TensorFlow's form: v' = 0.9 v + g, w' = w - lr v'."""

    freeze: Names = ()
    """Scopes that are not trained, with or without the network's name, such as `conv1` or `block1/unit_1`: their
    variables stay, and their norms go by the moving statistics.
    """

    target: Literal["cpu", "cuda"] = "cpu"
    """The provider in whose best forms gradients are written; the step computes the same on any."""

    opset: int = 18
    """Version of ONNX's default operator set."""


Rate = Annotated[float, Field(ge=0, le=1e30)]


class PiecewiseSchedule(CheckedModel):
    """A learning rate that changes at given steps."""

    kind: Literal["piecewise"] = "piecewise"

    boundaries: Annotated[tuple[Positive, ...], Field(strict=False)]
    """Numbers of steps after which the next value is taken, ascending."""

    values: Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]
    """One more than there are boundaries."""

    @model_validator(mode="after")
    def _values_fit_the_boundaries(self) -> Self:
        for index, (before, boundary) in enumerate(pairwise(self.boundaries), 1):
            if boundary <= before:
                raise PydanticCustomError(
                    "boundaries",
                    "must be greater than the boundary before it, {before}",
                    {"before": before, "path": ("boundaries", index)},
                )
        if len(self.values) != len(self.boundaries) + 1:
            raise PydanticCustomError(
                "values",
                "must have one value more than there are boundaries, {wanted} and not {given}",
                {"wanted": len(self.boundaries) + 1, "given": len(self.values), "path": ("values",)},
            )
        return self


class CosineSchedule(CheckedModel):
    """A learning rate that rises linearly to its peak and falls along half a cosine."""

    kind: Literal["cosine"] = "cosine"

    peak: Rate
    """The greatest rate."""

    steps: Positive | None = None
    """The step with which the last value is reached, counted from the first step of all; None is the run's last."""

    warmup: Natural = 0
    """Steps that it takes to reach the peak."""

    final: Rate = 0.0
    """The last value."""

    @model_validator(mode="after")
    def _the_peak_comes_before_the_end(self) -> Self:
        if self.steps is not None and self.warmup >= self.steps:
            raise PydanticCustomError(
                "warmup", "must be less than steps, {steps}", {"steps": self.steps, "path": ("warmup",)}
            )
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
    """The rate of the step that is taken when `done` steps are done; an `OptionError` for a cosine without its length.

    Piecewise: a boundary b parts the steps 1 to b from those after it. With the CIFAR system's 40,000 the step number
    40,001 is the first at 0.01: its main program looks at the number of steps done, after each step, and feeds what it
    finds to the next. Where the original starts again it feeds its first step 0.1, whatever the number; this does not.

    Cosine: step number w of the warmup's W steps has w / W of the peak, and step number s of those that follow

        final + (peak - final) (1 + cos(pi (s - W) / (steps - W))) / 2,

    so that the step number `steps` has the final rate, and all after it.
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
    """The number of steps after which the rate changes no more; None where it never does, or none is set."""
    if isinstance(schedule, PiecewiseSchedule):
        return schedule.boundaries[-1] if schedule.boundaries else None
    return schedule.steps


CIFAR_SCHEDULE = PiecewiseSchedule(boundaries=(40_000, 60_000, 80_000), values=(0.1, 0.01, 0.001, 0.0001))
"""The CIFAR system's."""

Augmentation = Literal["crop-flip", "crop", "none"]


class TrainOptions(CheckedModel):
    """The options of `resnet_compile.training.train`; the defaults are those of ``resnet-train``."""

    steps: Positive | None = None
    """Steps to take in all, those before a resumption among them."""

    epochs: Positive | None = None
    """The same in rounds through the training set, in the place of `steps`. With neither, a resumed run goes on to the
    end that it had, and a new one to the schedule's end; one that begins with weights and is given none takes ten
    rounds, or 100 steps where those are more.
    """

    batch: Batch | None = None
    """Images at a time; None takes 128, or 32 for a run that begins with weights."""

    optimizer: Optimizer = "momentum"
    """As in `StepOptions`."""

    schedule: Schedule | None = None
    """The learning rate over the steps; None takes `CIFAR_SCHEDULE`, or for a run that begins with weights a cosine
    over its length, with a peak of 0.01 and a tenth of the steps to reach it.
    """

    lr: Rate | None = None
    """The greatest learning rate, in the place of that schedule's own."""

    seed: Seed = 0
    """Of the initial weights, and of the order and the augmentation of the images."""

    augmentation: Augmentation = "crop-flip"
    """What is done to images of the training set: random crops of the padded image, and random flips."""

    compat: bool = False
    """Read CIFAR-100 as the CIFAR system did, one byte off."""

    freeze: Names = ()
    """As in `StepOptions`."""

    eval_every: Positive | None = None
    """Steps from one evaluation to the next; the last step is followed by one too. None evaluates every 1000 steps, and
    at least ten times.
    """

    save_every: Positive = 500
    """Steps from one checkpoint to the next; the last step is followed by one too."""

    keep: Positive = 5
    """How many checkpoints to keep: the newest ones, and the best one besides."""

    num_classes: Classes | None = None
    """Classes of the network; None takes as many as the data has."""

    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of each class's images to hold out where the data has no held-out images; None takes a fifth."""

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise PydanticCustomError("steps", "steps and epochs exclude each other", {"path": ("epochs",)})
        if self.schedule is not None and self.lr is not None:
            raise PydanticCustomError("lr", "schedule and lr exclude each other", {"path": ("lr",)})
        return self

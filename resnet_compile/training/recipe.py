"""Defaults of training: the original system's, or those of fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from resnet_compile.errors import OptionError
from resnet_compile.training.options import (
    CIFAR_SCHEDULE,
    CosineSchedule,
    PiecewiseSchedule,
    TrainOptions,
    end_of,
    parse_schedule,
)

Recipe = Literal["original", "fine-tuning"]
"""`original`, from the CIFAR system: batches of 128, and a learning rate of 0.1 that falls tenfold after 40,000, 60,000
and 80,000 steps. `fine-tuning`, for a network that begins with weights: batches of 32, and a learning rate that rises
to 0.01 in the first tenth of the steps, then falls along half a cosine to 0 at the last step.
"""

EVALUATION_BATCH = 32
"""The default batch size of an evaluation without training."""

_BATCH: Mapping[Recipe, int] = {"original": 128, "fine-tuning": 32}
_PEAK = 0.01
_WARMUP = 10  # one step in ten is warm-up
# The epochs of fine-tuning, and its least number of steps.
_ROUNDS, _LEAST = 10, 100
_EVALUATIONS, _MOST_BETWEEN = 10, 1000


@dataclass(frozen=True, slots=True)
class Settled:
    """Training options with every default filled in.

    Attributes:
        options: The options as given; the attributes below replace theirs.
        steps: Steps to take in all.
        batch: Images at a time.
        schedule: The learning-rate schedule, with its length.
        eval_every: Steps between evaluations.
        recipe: The recipe that supplied the defaults.
    """

    options: TrainOptions
    steps: int
    batch: int
    schedule: PiecewiseSchedule | CosineSchedule
    eval_every: int
    recipe: Recipe


def settled(
    options: TrainOptions, images: int, *, fine_tuning: bool, begun: Mapping[str, Any] | None = None, steps: int = 0
) -> Settled:
    """Fills in what the options leave open.

    Args:
        options: The options as given.
        images: The number of training images.
        fine_tuning: Whether a new run begins with weights; a resumed run has this in its setup.
        begun: The setup of the run to resume, which supplies the defaults; None for a new run.
        steps: The number of steps that the run to resume was to take; 0 for a new run.

    Raises:
        OptionError: Nothing says where the run ends, or the warm-up is longer than the run.
    """
    begun = begun or {}
    # Runs older than recipes used the original's.
    recipe: Recipe = begun.get("recipe", "original") if begun else "fine-tuning" if fine_tuning else "original"
    batch = options.batch or begun.get("batch") or _BATCH[recipe]
    if options.epochs is not None:
        steps = -(-options.epochs * images // batch)
    steps = options.steps or steps or _default_steps(options.schedule, recipe, images, batch)
    if not steps:
        raise OptionError("the schedule has no end", where="steps", hint="give --steps or --epochs")
    # A schedule keeps the length that the run began with, even if the run is extended.
    length = begun.get("schedule", {}).get("steps") or steps
    schedule = options.schedule
    if schedule is None and options.lr is None and begun:
        schedule = parse_schedule(json.dumps(begun["schedule"]))
    schedule = schedule or _default_schedule(recipe, options.lr, length)
    if isinstance(schedule, CosineSchedule) and schedule.steps is None:
        schedule = schedule.replace(steps=length)
    every = options.eval_every or min(_MOST_BETWEEN, -(-steps // _EVALUATIONS))
    return Settled(options, steps, batch, schedule, every, recipe)


def _default_steps(given: PiecewiseSchedule | CosineSchedule | None, recipe: Recipe, images: int, batch: int) -> int:
    """The steps of a new run without `steps` and `epochs`; 0 if they cannot be derived."""
    if given is not None and (end := end_of(given)) is not None:
        return end
    if recipe == "fine-tuning" and not isinstance(given, PiecewiseSchedule):
        return max(-(-_ROUNDS * images // batch), _LEAST)
    return (end_of(CIFAR_SCHEDULE) or 0) if given is None else 0


def _default_schedule(recipe: Recipe, peak: float | None, steps: int) -> PiecewiseSchedule | CosineSchedule:
    """A recipe's schedule, with the given greatest rate if there is one."""
    if recipe == "fine-tuning":
        return CosineSchedule(peak=_PEAK if peak is None else peak, steps=steps, warmup=steps // _WARMUP)
    if peak is None:
        return CIFAR_SCHEDULE
    first = CIFAR_SCHEDULE.values[0]
    return CIFAR_SCHEDULE.replace(values=tuple(peak * (value / first) for value in CIFAR_SCHEDULE.values))

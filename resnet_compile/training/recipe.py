"""How a training goes where it is not told: as the original system trained, or as a network is fine-tuned."""

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
"""`original`: the CIFAR system's, of batches of 128 and a rate of 0.1 that falls tenfold after 40,000, 60,000 and
80,000 steps. `fine-tuning`, of a network that begins with weights: batches of 32, and a rate that rises to 0.01 in the
first tenth of the steps and falls along half a cosine to nothing with the last.
"""

EVALUATION_BATCH = 32
"""Images at a time where nothing is learned and nothing else is said."""

_BATCH: Mapping[Recipe, int] = {"original": 128, "fine-tuning": 32}
_PEAK = 0.01
_WARMUP = 10  # of so many steps one
# Rounds through the images that fine-tuning takes, and steps where those are fewer.
_ROUNDS, _LEAST = 10, 100
_EVALUATIONS, _MOST_BETWEEN = 10, 1000


@dataclass(frozen=True, slots=True)
class Settled:
    """A training of which everything is decided.

    Attributes:
        options: As they were given; what follows stands in the place of theirs.
        steps: To take in all.
        batch: Images at a time.
        schedule: With its length.
        eval_every: Steps from one evaluation to the next.
        recipe: What decided the rest.
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
    """Decides what the options leave open.

    Args:
        options: As they were given.
        images: How many training images there are.
        fine_tuning: Whether a new run begins with weights; one that goes on knows it itself.
        begun: The setup of the run that goes on, which decides what the options leave open; None for a new one.
        steps: The steps that the run that goes on was to take; 0 for a new one.

    Raises:
        OptionError: There is no telling where the run ends, or its warm-up is longer than it.
    """
    begun = begun or {}
    # A run from before there were recipes went by the original's.
    recipe: Recipe = begun.get("recipe", "original") if begun else "fine-tuning" if fine_tuning else "original"
    batch = options.batch or begun.get("batch") or _BATCH[recipe]
    if options.epochs is not None:
        steps = -(-options.epochs * images // batch)
    steps = options.steps or steps or _default_steps(options.schedule, recipe, images, batch)
    if not steps:
        raise OptionError("the schedule has no end", where="steps", hint="give --steps or --epochs")
    # A schedule goes by the length that the run had when it began, whatever it is extended to.
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
    """The steps of a new run that is told neither them nor its rounds; 0 where nothing tells."""
    if given is not None and (end := end_of(given)) is not None:
        return end
    if recipe == "fine-tuning" and not isinstance(given, PiecewiseSchedule):
        return max(-(-_ROUNDS * images // batch), _LEAST)
    return (end_of(CIFAR_SCHEDULE) or 0) if given is None else 0


def _default_schedule(recipe: Recipe, peak: float | None, steps: int) -> PiecewiseSchedule | CosineSchedule:
    """A recipe's schedule, with another greatest rate where one is given."""
    if recipe == "fine-tuning":
        return CosineSchedule(peak=_PEAK if peak is None else peak, steps=steps, warmup=steps // _WARMUP)
    if peak is None:
        return CIFAR_SCHEDULE
    first = CIFAR_SCHEDULE.values[0]
    return CIFAR_SCHEDULE.replace(values=tuple(peak * (value / first) for value in CIFAR_SCHEDULE.values))

"""The learning rate as a function of the steps taken."""

from __future__ import annotations

import math
from bisect import bisect_right

from resnet_compile.options import CosineSchedule, PiecewiseSchedule


def learning_rate(schedule: PiecewiseSchedule | CosineSchedule, done: int) -> float:
    """The rate of the step that is taken when `done` steps are done.

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
    progress = min((number - schedule.warmup) / (schedule.steps - schedule.warmup), 1.0)
    return schedule.final + (schedule.peak - schedule.final) * (1 + math.cos(math.pi * progress)) / 2


def end_of(schedule: PiecewiseSchedule | CosineSchedule) -> int | None:
    """The number of steps after which the rate changes no more; None where it never does."""
    if isinstance(schedule, PiecewiseSchedule):
        return schedule.boundaries[-1] if schedule.boundaries else None
    return schedule.steps

"""The timing protocol: a burn-in, then timed rounds. In each round every contestant runs once, in random order.

With one contestant this is the protocol of the original benchmark of ResNet-152 in TF-slim: 10 runs of burn-in, 100
timed ones. Several contestants take turns, so that whatever slows the machine slows all of them. Each round draws a new
order: a contestant that always followed the same other one would always find that one's data in the caches. Contestants
never run at the same time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_compile.bench.statistics import summarize
from resnet_compile.checked import CheckedModel, Natural, Positive, PositiveNumber
from resnet_compile.errors import OptionError

MOST_ROUNDS = 100_000
"""A measurement ends after so many rounds even if its intervals are still too wide."""

Step = Callable[[int], None]
"""Runs a contestant once, on the set of inputs with this number, and returns when the run is done."""


class Protocol(CheckedModel):
    """How often to run; the defaults are the original's."""

    steps: Positive = 100
    """Timed runs of each contestant; with `until`, the fewest."""

    burn_in: Natural = 10
    """Untimed runs before them."""

    seed: Natural = 0
    """Seed of the random order within rounds."""

    until: PositiveNumber | None = None
    """Continue until the median's 95 % interval is no wider than this fraction of the median; at most 100,000 runs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a measurement.

    Attributes:
        seconds: For each contestant, the time of its run in each round.
        starts: For each contestant, when those runs began by the measurement's clock.
        interrupted: Whether Ctrl-C ended it before its last round.
    """

    seconds: Mapping[str, tuple[float, ...]]
    starts: Mapping[str, tuple[float, ...]]
    interrupted: bool = False


def measure(
    contestants: Mapping[str, Step],
    protocol: Protocol,
    *,
    on_round: Callable[[int, Mapping[str, float]], None] = lambda number, seconds: None,
    before_run: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Times the contestants by the protocol.

    Args:
        contestants: What to run, by name.
        protocol: How often to run.
        on_round: Called after each timed round with its number, from 0, and its seconds by contestant.
        before_run: Called before every run, outside the timed part.
        clock: Returns seconds from any origin.

    Raises:
        KeyboardInterrupt: An interrupt came before the first timed round was complete. A later one ends the
            measurement, and the result says so.
    """
    protocol = Protocol.model_validate(protocol)
    if not isinstance(contestants, Mapping) or not all(callable(step) for step in contestants.values()):
        raise OptionError("contestants must be functions by name", where="contestants")
    generator = np.random.default_rng(protocol.seed)
    names = list(contestants)
    rounds: list[dict[str, float]] = []
    starts: list[dict[str, float]] = []
    enough = _Enough(protocol.until)
    interrupted = False
    try:
        for number in itertools.count(-protocol.burn_in):
            if number >= protocol.steps and enough(rounds):
                break
            times: dict[str, float] = {}
            begun: dict[str, float] = {}
            for position in generator.permutation(len(names)):
                name = names[position]
                before_run()
                begun[name] = start = clock()
                contestants[name](number)
                times[name] = clock() - start
            if number >= 0:
                rounds.append({name: times[name] for name in names})
                starts.append(begun)
                on_round(number, rounds[-1])
    except KeyboardInterrupt:
        if not rounds:
            raise
        interrupted = True
    return Measured(
        {name: tuple(times[name] for times in rounds) for name in names},
        {name: tuple(begun[name] for begun in starts[: len(rounds)]) for name in names},
        interrupted,
    )


class _Enough:
    """Decides when to stop: when the interval of every contestant's median is narrow enough.

    It checks again only after a tenth more rounds. Each check takes time and is one more chance to stop by luck.
    """

    def __init__(self, width: float | None) -> None:
        self._width = width
        self._next = 0

    def __call__(self, rounds: Sequence[Mapping[str, float]]) -> bool:
        if self._width is None or len(rounds) >= MOST_ROUNDS:
            return True
        if len(rounds) < self._next:
            return False
        self._next = len(rounds) + max(1, len(rounds) // 10)
        return all(self._narrow([times[name] for times in rounds]) for name in rounds[0])

    def _narrow(self, seconds: Sequence[float]) -> bool:
        summary = summarize(seconds)
        low, high = summary.intervals.get("p50", (0.0, np.inf))
        return self._width is None or high - low <= self._width * summary.p50


def step_line(number: int, seconds: float) -> str | None:
    """The original's line for every tenth timed step; None for the others."""
    return f"step {number}, duration = {seconds:.3f}" if number % 10 == 0 else None


def final_line(mean: float, sd: float, steps: int) -> str:
    """The original's last line."""
    return f"Forward across {steps} steps, {mean:.3f} +/- {sd:.3f} sec / batch"

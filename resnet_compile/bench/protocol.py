"""The timing protocol: burn-in, then timed steps; of several contestants one step each in every round, in random order.

One contestant is the original's own protocol. Several are timed in turn, so that what slows the machine slows all of
them, and in an order drawn anew for each round, so that none always follows the same other, whose data it would find in
the caches. Contestants never run at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from resnet_compile.checked import CheckedModel, Natural, Positive
from resnet_compile.errors import OptionError

Step = Callable[[int], None]
"""Runs a contestant once, on the inputs of that number, and returns when it is done."""


class Protocol(CheckedModel):
    """How often to run; the defaults are the original's."""

    steps: Positive = 100
    """Timed runs of each contestant."""

    burn_in: Natural = 10
    """Runs before those, which are not timed."""

    seed: Natural = 0
    """Of the order within rounds."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement gave.

    Attributes:
        seconds: For each contestant one time a round, as many for all of them.
        interrupted: Whether Ctrl-C ended it before its last round.
    """

    seconds: Mapping[str, tuple[float, ...]]
    interrupted: bool = False


def measure(
    contestants: Mapping[str, Step],
    protocol: Protocol,
    *,
    on_round: Callable[[int, Mapping[str, float]], None] = lambda number, seconds: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Times the contestants by the protocol.

    Args:
        contestants: What to run, by name.
        protocol: How often.
        on_round: Told each timed round's number, from 0, and its seconds.
        clock: Seconds from any beginning.

    Raises:
        KeyboardInterrupt: An interrupt came before the first round was complete; a later one is noted in the result.
    """
    protocol = Protocol.model_validate(protocol)
    if not isinstance(contestants, Mapping) or not all(callable(step) for step in contestants.values()):
        raise OptionError("needs functions by name", where="contestants")
    generator = np.random.default_rng(protocol.seed)
    names = list(contestants)
    rounds: list[dict[str, float]] = []
    interrupted = False
    try:
        for number in range(-protocol.burn_in, protocol.steps):
            times = {}
            for position in generator.permutation(len(names)):
                name = names[position]
                start = clock()
                contestants[name](number)
                times[name] = clock() - start
            if number >= 0:
                rounds.append({name: times[name] for name in names})
                on_round(number, rounds[-1])
    except KeyboardInterrupt:
        if not rounds:
            raise
        interrupted = True
    return Measured({name: tuple(times[name] for times in rounds) for name in names}, interrupted)


def step_line(number: int, seconds: float) -> str | None:
    """The original's line for a timed step, of which it prints every tenth."""
    return f"step {number}, duration = {seconds:.3f}" if number % 10 == 0 else None


def final_line(mean: float, sd: float, steps: int) -> str:
    """The original's last line."""
    return f"Forward across {steps} steps, {mean:.3f} +/- {sd:.3f} sec / batch"

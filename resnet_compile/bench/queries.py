"""Sending a scenario's queries to a model, and the record of their latencies. Tests can replace the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from resnet_compile.bench.binomial import overlatency_allowed, queries_needed

_SPUN = 1e-3
"""The last seconds of a wait, which loop instead of sleeping: a sleep may end a fraction of this too late."""


class Clock(Protocol):
    """A clock that can also wait."""

    def now(self) -> float:
        """Seconds from any origin."""

    def wait(self, until: float) -> None:
        """Returns at this time."""


class MachineClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds from any origin."""
        return time.perf_counter()

    def wait(self, until: float) -> None:
        """Returns at this time, or at once if it has passed."""
        while (left := until - time.perf_counter()) > 0:
            if left > _SPUN:
                time.sleep(left - _SPUN)


@dataclass(frozen=True, slots=True)
class Queries:
    """The outcome of a run of queries.

    Attributes:
        latencies: Seconds from each query's sending, or its scheduled arrival, to its last answer. The offline
            scenario has one query, so there these are the seconds of each batch.
        seconds: Seconds from the first query to the last answer.
        issued: Seconds from the start to the last query's sending, or its scheduled arrival.
        failed: Whether the run ended early because too many queries were late for it to pass.
        interrupted: Whether Ctrl-C ended it early.
    """

    latencies: tuple[float, ...]
    seconds: float
    issued: float
    failed: bool = False
    interrupted: bool = False


Told = Callable[[int, float], None]
"""Called with the number of queries so far and the seconds since the start."""


def stream(
    send: Callable[[int], None], seconds: float, queries: int, *, clock: Clock, told: Told = lambda count, now: None
) -> Queries:
    """Sends each query after the previous answer, until the time has passed and there are enough queries.

    Args:
        send: Answers one query, given its number from 0.
        seconds: How long queries are sent; the last one is sent at this time or after it.
        queries: The fewest queries.
        clock: The clock of the run.
        told: Called after each answer.

    Raises:
        KeyboardInterrupt: An interrupt came before the first answer. A later one ends the run.
    """
    latencies: list[float] = []
    start = clock.now()
    begun = done = start
    interrupted = False
    try:
        while len(latencies) < queries or begun - start < seconds:
            begun = clock.now()
            send(len(latencies))
            done = clock.now()
            latencies.append(done - begun)
            told(len(latencies), done - start)
    except KeyboardInterrupt:
        if not latencies:
            raise
        interrupted = True
    return Queries(tuple(latencies), done - start, begun - start, interrupted=interrupted)


def decide(
    send: Callable[[int], None],
    bound: float,
    percentile: float,
    *,
    clock: Clock,
    most: int = 2_000,
    told: Told = lambda count, now: None,
) -> Queries:
    """Sends each query after the previous answer, until it is clear whether the model keeps a latency bound.

    It keeps the bound once there are enough queries for the number of late ones (`queries_needed`). It fails once more
    queries are late than are allowed among `most` queries.

    Args:
        send: Answers one query, given its number from 0.
        bound: The latency bound in seconds.
        percentile: The fraction of the queries that must keep the bound.
        clock: The clock of the run.
        most: The most queries that the decision may take.
        told: Called after each answer.

    Raises:
        KeyboardInterrupt: An interrupt came before the first answer. A later one ends the run.
    """
    allowed, needed, late = overlatency_allowed(most, percentile), queries_needed(0, percentile), 0
    latencies: list[float] = []
    start = clock.now()
    begun = done = start
    interrupted = False
    try:
        while len(latencies) < needed and late <= allowed:
            begun = clock.now()
            send(len(latencies))
            done = clock.now()
            latencies.append(done - begun)
            told(len(latencies), done - start)
            if latencies[-1] > bound:
                late += 1
                needed = queries_needed(late, percentile)
    except KeyboardInterrupt:
        if not latencies:
            raise
        interrupted = True
    return Queries(tuple(latencies), done - start, begun - start, late > allowed, interrupted)


def serve(
    send: Callable[[int, int], None],
    arrivals: Sequence[float],
    batch: int,
    bound: float,
    percentile: float,
    *,
    clock: Clock,
    told: Told = lambda count, now: None,
) -> Queries:
    """Answers queries that arrive on a schedule, in order. Waiting queries are answered together, up to a batch.

    The run ends early once too many queries are late for it to pass.

    Args:
        send: Answers consecutive queries, given the number of the first and their count.
        arrivals: When each query arrives, in seconds from the start.
        batch: The most queries that are answered together.
        bound: The latency bound in seconds.
        percentile: The fraction of the queries that must keep the bound.
        clock: The clock of the run.
        told: Called after each batch of answers.

    Raises:
        KeyboardInterrupt: An interrupt came before the first answer. A later one ends the run.
    """
    allowed = overlatency_allowed(len(arrivals), percentile)
    latencies: list[float] = []
    start = clock.now()
    done, late = start, 0
    interrupted = False
    try:
        while len(latencies) < len(arrivals) and late <= allowed:
            first = len(latencies)
            clock.wait(start + arrivals[first])
            now = clock.now() - start
            count = 1
            while count < batch and first + count < len(arrivals) and arrivals[first + count] <= now:
                count += 1
            send(first, count)
            done = clock.now()
            latencies += [done - start - arrival for arrival in arrivals[first : first + count]]
            late += sum(latency > bound for latency in latencies[first:])
            told(len(latencies), done - start)
    except KeyboardInterrupt:
        if not latencies:
            raise
        interrupted = True
    return Queries(tuple(latencies), done - start, arrivals[len(latencies) - 1], late > allowed, interrupted)

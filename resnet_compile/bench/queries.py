"""How the scenarios send queries to a model, and what is kept of it. A test can replace the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from resnet_compile.bench.binomial import overlatency_allowed, queries_needed

_SPUN = 1e-3
"""Seconds before a time that are waited for busily, since a sleep may end late by a part of one."""


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> float:
        """Seconds from any beginning."""

    def wait(self, until: float) -> None:
        """Returns at this time."""


class MachineClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds from any beginning."""
        return time.perf_counter()

    def wait(self, until: float) -> None:
        """Returns at this time, or at once where it is over."""
        while (left := until - time.perf_counter()) > 0:
            if left > _SPUN:
                time.sleep(left - _SPUN)


@dataclass(frozen=True, slots=True)
class Queries:
    """What a run came to.

    Attributes:
        latencies: Seconds of each query, from when it was sent or was to arrive until its answers were there. Of the
            offline scenario's one query: of each batch.
        seconds: From the first query to the last answer.
        issued: Seconds from the beginning to when the last query was sent, or was to arrive.
        failed: Whether it was ended early because so many queries were late that it could not pass any more.
        interrupted: Whether Ctrl-C ended it early.
    """

    latencies: tuple[float, ...]
    seconds: float
    issued: float
    failed: bool = False
    interrupted: bool = False


Told = Callable[[int, float], None]
"""Told the number of queries so far, and the seconds since the beginning."""


def stream(
    send: Callable[[int], None], seconds: float, queries: int, *, clock: Clock, told: Told = lambda count, now: None
) -> Queries:
    """Sends each query when the one before it is answered, until the time is over and the queries are enough.

    Args:
        send: Answers the query of a number, from 0.
        seconds: How long queries are sent; the last one is sent at this time or after it.
        queries: How many there are at least.
        clock: What tells the time.
        told: Told how it goes.

    Raises:
        KeyboardInterrupt: It came before the first answer; a later one ends the run.
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
    """Sends each query when the one before it is answered, until it is clear whether they keep a bound.

    They keep it once the queries are as many as those that were late need (`queries_needed`), and fail once more were
    late than `most` queries may have.

    Args:
        send: Answers the query of a number, from 0.
        bound: Seconds within which a query is to be answered.
        percentile: The part of the queries that has to be.
        clock: What tells the time.
        most: Queries after which it is not clear, and a failure too.
        told: Told how it goes.

    Raises:
        KeyboardInterrupt: It came before the first answer; a later one ends the run.
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
    """Answers queries that arrive by themselves, in order, those that are waiting together up to a batch.

    The run ends early once so many of its queries were late that it cannot pass any more.

    Args:
        send: Answers so many queries from the one of a number on.
        arrivals: When each query arrives, in seconds from the beginning.
        batch: The most queries that are answered together.
        bound: Seconds within which a query is to be answered.
        percentile: The part of the queries that has to be.
        clock: What tells the time.
        told: Told how it goes.

    Raises:
        KeyboardInterrupt: It came before the first answer; a later one ends the run.
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

"""How scenarios send queries, by a clock that the test turns."""

from collections.abc import Callable

import numpy as np
import pytest
from support.tolerances import QUEUE

from resnet_compile.bench.mlperf import arrivals
from resnet_compile.bench.queries import Queries, decide, serve, stream


class TurnedClock:
    """Stands still but while something runs or is waited for."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wait(self, until: float) -> None:
        self.time = max(self.time, until)

    def taking(self, *seconds: float) -> Callable[[int], None]:
        """A model whose runs take these times, again and again."""

        def run(number: int) -> None:
            self.time += seconds[number % len(seconds)]

        return run


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


def test_a_stream_ends_when_a_query_was_sent_at_the_duration_or_after(clock: TurnedClock) -> None:
    """As the load generator ends: it looks at when the last query was sent, not at when it was answered."""
    found = stream(clock.taking(0.25), 1.0, 1, clock=clock)
    assert found == Queries((0.25,) * 5, 1.25, 1.0)


def test_a_stream_has_as_many_queries_as_it_needs(clock: TurnedClock) -> None:
    found = stream(clock.taking(0.5, 0.25), 0.0, 5, clock=clock)
    assert found.latencies == (0.5, 0.25, 0.5, 0.25, 0.5)
    assert found.seconds == 2.0


def test_queries_that_wait_are_answered_late(clock: TurnedClock) -> None:
    """Arrivals at 0, 0.1, 0.2 and 5 s, each answered in half a second: latency counts from the arrival."""
    times = [0, 0.1, 0.2, 5, *range(10, 500)]
    found = serve(lambda first, count: clock.taking(0.5)(0), times, 1, 2.0, 0.99, clock=clock)
    assert found.latencies[:4] == pytest.approx((0.5, 0.9, 1.3, 0.5))
    assert (found.failed, found.issued, found.seconds) == (False, 499, 499.5)
    found = serve(lambda first, count: clock.taking(0.5)(0), times, 1, 1.0, 0.99, clock=clock)
    assert found.latencies == pytest.approx((0.5, 0.9, 1.3))
    assert (found.failed, found.issued, found.seconds) == (True, 0.2, 1.5)  # one late of 494 queries is one too many


def test_queries_that_wait_together_are_answered_together(clock: TurnedClock) -> None:
    groups: list[tuple[int, int]] = []

    def send(first: int, count: int) -> None:
        groups.append((first, count))
        clock.time += 1.0

    times = [0, 0.1, 0.2, 0.3, 5, *range(10, 500)]
    found = serve(send, times, 2, 100.0, 0.99, clock=clock)
    assert groups[:4] == [(0, 1), (1, 2), (3, 1), (4, 1)]
    assert found.latencies[:5] == pytest.approx((1.0, 1.9, 1.8, 2.7, 1.0))
    assert not found.failed


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_waiting_is_that_of_a_queue_with_poisson_arrivals(clock: TurnedClock, load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) times the service time (Pollaczek and Khinchin)."""
    service = 0.001
    times = arrivals(load / service, 200 / load, 0).tolist()
    found = serve(lambda first, count: clock.taking(service)(0), times, 1, 1e9, 0.99, clock=clock)
    waits = np.array(found.latencies) - service
    assert len(waits) == pytest.approx(2e5, rel=0.01)
    assert waits.mean() == pytest.approx(service * load / (2 * (1 - load)), rel=QUEUE)


def test_a_bound_is_kept_after_459_queries_without_a_late_one(clock: TurnedClock) -> None:
    found = decide(clock.taking(0.5), 0.6, 0.99, clock=clock)
    assert (len(found.latencies), found.failed) == (459, False)


def test_one_late_query_takes_662(clock: TurnedClock) -> None:
    times = [0.5] * 700
    times[3] = 0.7
    found = decide(clock.taking(*times), 0.6, 0.99, clock=clock)
    assert (len(found.latencies), found.failed) == (662, False)


def test_a_bound_is_broken_once_too_many_are_late(clock: TurnedClock) -> None:
    found = decide(clock.taking(0.5, 0.7), 0.6, 0.99, clock=clock)
    assert found.failed
    assert sum(latency > 0.6 for latency in found.latencies) == 10  # of 2,000 queries 9 may be


@pytest.mark.parametrize("at", [0, 2])
def test_an_interrupt_keeps_what_was_answered(clock: TurnedClock, at: int) -> None:
    def send(number: int, count: int = 1) -> None:
        if number == at:
            raise KeyboardInterrupt
        clock.time += 0.5

    ways: list[Callable[[], Queries]] = [
        lambda: stream(send, 100, 100, clock=clock),
        lambda: decide(send, 1.0, 0.99, clock=clock),
        lambda: serve(send, list(range(500)), 1, 1.0, 0.99, clock=clock),
    ]
    for way in ways:
        if at == 0:
            with pytest.raises(KeyboardInterrupt):
                way()
        else:
            found = way()
            assert found.latencies == (0.5, 0.5)
            assert (found.interrupted, found.failed) == (True, False)

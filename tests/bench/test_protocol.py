"""The order of running and what is kept of it, by a clock that the test turns."""

from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from resnet_compile.bench import Protocol, measure, summarize
from resnet_compile.bench.protocol import final_line, step_line
from resnet_compile.errors import OptionError


class Machine:
    """Contestants that each take a time of their own, and the clock that shows it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ran: list[tuple[str, int]] = []

    def clock(self) -> float:
        return self.now

    def contestant(self, name: str, seconds: float) -> Callable[[int], None]:
        def step(number: int) -> None:
            self.ran.append((name, number))
            self.now += seconds

        return step

    def rounds(self) -> list[tuple[str, ...]]:
        """Who ran in each round, in order."""
        numbers = dict.fromkeys(number for _, number in self.ran)
        return [tuple(name for name, at in self.ran if at == number) for number in numbers]


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_the_default_is_the_originals() -> None:
    assert (Protocol().burn_in, Protocol().steps) == (10, 100)


def test_one_contestant(machine: Machine) -> None:
    told: list[tuple[int, Mapping[str, float]]] = []
    measured = measure(
        {"a": machine.contestant("a", 0.5)},
        Protocol(steps=4, burn_in=2),
        on_round=lambda number, seconds: told.append((number, seconds)),
        clock=machine.clock,
    )
    assert measured.seconds == {"a": (0.5,) * 4}
    assert not measured.interrupted
    assert [number for _, number in machine.ran] == [-2, -1, 0, 1, 2, 3]
    assert told == [(number, {"a": 0.5}) for number in range(4)]


def test_contestants_take_turns_in_random_order(machine: Machine) -> None:
    names = {"a": 0.25, "b": 0.5, "c": 1.0}
    contestants = {name: machine.contestant(name, seconds) for name, seconds in names.items()}
    measured = measure(contestants, Protocol(steps=60, burn_in=0), clock=machine.clock)
    assert measured.seconds == {name: (seconds,) * 60 for name, seconds in names.items()}
    rounds = machine.rounds()
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    orders = Counter(rounds)
    assert len(orders) == 6
    assert max(orders.values()) < 20


def test_the_order_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[tuple[str, ...]]:
        machine = Machine()
        contestants = {name: machine.contestant(name, 1) for name in "abc"}
        measure(contestants, Protocol(steps=10, burn_in=0, seed=seed), clock=machine.clock)
        return machine.rounds()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_measurement_runs_on_until_the_medians_interval_is_narrow(machine: Machine) -> None:
    """Times of 1 +/- 0.5 %, in turn: their median's interval is 1 % wide, and once the middle one comes often, 0."""
    times = iter([1.005, 0.995] * 10 + [1.0] * 1000)

    def step(number: int) -> None:
        machine.now += next(times)

    protocol = Protocol(steps=10, burn_in=0, until=0.009)
    (seconds,) = measure({"a": step}, protocol, clock=machine.clock).seconds.values()
    summary = summarize(seconds)
    low, high = summary.intervals["p50"]
    assert high - low <= 0.009 * summary.p50
    assert 20 < len(seconds) < 200
    few = summarize(seconds[: len(seconds) // 2]).intervals["p50"]
    assert few[1] - few[0] > 0.009


def test_a_measurement_that_never_narrows_ends_all_the_same(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_compile.bench.protocol.MOST_ROUNDS", 50)

    def step(number: int) -> None:
        machine.now += 1.0 if number % 2 else 2.0

    measured = measure({"a": step}, Protocol(steps=10, burn_in=0, until=0.01), clock=machine.clock)
    assert len(measured.seconds["a"]) == 50


def test_few_runs_are_never_enough_for_an_interval(machine: Machine) -> None:
    protocol = Protocol(steps=1, burn_in=0, until=0.5)
    assert len(measure({"a": machine.contestant("a", 1.0)}, protocol, clock=machine.clock).seconds["a"]) == 6


def interrupting(machine: Machine, step: Callable[[int], None], at: int) -> Callable[[int], None]:
    def run(number: int) -> None:
        if number == at:
            raise KeyboardInterrupt
        step(number)

    return run


@pytest.mark.parametrize("who", ["a", "b"])
def test_an_interrupt_keeps_the_complete_rounds(machine: Machine, who: str) -> None:
    contestants = {name: machine.contestant(name, 0.5) for name in "ab"}
    contestants[who] = interrupting(machine, contestants[who], 3)
    measured = measure(contestants, Protocol(steps=10, burn_in=1), clock=machine.clock)
    assert measured.interrupted
    assert measured.seconds == {"a": (0.5,) * 3, "b": (0.5,) * 3}


@pytest.mark.parametrize("at", [-1, 0])
def test_an_interrupt_before_the_first_round_passes_on(machine: Machine, at: int) -> None:
    step = interrupting(machine, machine.contestant("a", 0.5), at)
    with pytest.raises(KeyboardInterrupt):
        measure({"a": step}, Protocol(steps=10, burn_in=1), clock=machine.clock)


@pytest.mark.parametrize(("steps", "burn_in", "word"), [(0, 0, "steps"), (-1, 0, "steps"), (1, -1, "burn_in")])
def test_impossible_counts_are_refused(steps: int, burn_in: int, word: str) -> None:
    with pytest.raises(OptionError, match=rf"must be at least \d, got -?\d @ \$\.{word}$"):
        Protocol(steps=steps, burn_in=burn_in)


def test_lines_are_the_originals() -> None:
    lines = [line for number in range(100) if (line := step_line(number, 0.1234))]
    assert lines == [f"step {number}, duration = 0.123" for number in range(0, 100, 10)]
    assert final_line(0.1234, 0.0044, 100) == "Forward across 100 steps, 0.123 +/- 0.004 sec / batch"

"""A scenario's text and page, from made-up results."""

from typing import Any

import pytest
from support.results import ENVIRONMENT, SESSION

from resnet_compile.bench import Queries, ScenarioOptions, ScenarioRun, Trial
from resnet_compile.report.scenario_page import scenario_page
from resnet_compile.report.scenario_text import scenario_text


def queries(count: int, latency: float = 0.01, **changes: Any) -> Queries:
    return Queries((latency,) * count, 700.0, 650.0, **changes)


def run(*trials: Trial, interrupted: bool = False, **options: Any) -> ScenarioRun:
    made = ScenarioOptions(**options)
    return ScenarioRun(
        "<a>", made, (1, 3, 8, 8), "host", 1024, trials, SESSION, "cpu", "asked for", ENVIRONMENT, interrupted
    )


def lines(result: ScenarioRun) -> list[str]:
    return scenario_text(result).strip().splitlines()


def test_a_whole_run() -> None:
    result = run(Trial(1, 64, queries(64), percentile=0.9), scenario="single")
    assert lines(result)[2:4] == [
        "<a>, Single stream: 90th percentile latency by early stopping: 10 ms",
        "MLPerf-style, unverified by MLCommons; whole",
    ]
    page = scenario_page(result)
    assert "&lt;a&gt;: Single stream" in page
    assert "unverified by MLCommons; whole" in page
    assert "<a>" not in page


def test_a_shortened_run_without_a_result() -> None:
    result = run(Trial(8, 80, Queries((0.5,) * 10, 5.0, 4.5), percentile=0.99), scenario="multi", interrupted=True)
    assert lines(result)[2:5] == [
        "<a>, Multistream: 99th percentile latency by early stopping: none",
        "early stopping needs 662 queries, not 10",
        "MLPerf-style, unverified by MLCommons; shortened: 4 s, not 600; 10 queries, not 662; interrupted",
    ]
    assert lines(result)[-1] == "Interrupted: this is what was measured until then."
    assert "shortened: 4 s" in scenario_page(result)


def test_a_server_tells_of_its_trials() -> None:
    kept, broken = (
        Trial(1, 900, queries(900, latency), rate=rate, bound=0.015, percentile=0.99)
        for rate, latency in ((10.0, 0.01), (20.0, 0.02))
    )
    result = run(kept, broken, scenario="server")
    assert lines(result)[2] == "<a>, Server: queries a second with 99 % of them in time: 10"
    assert [line.split()[-2:] for line in lines(result)[-2:]] == [["0", "yes"], ["900", "no"]]
    assert [*run(kept, scenario="server", bound=0.1).shortened()] == ["a bound of 100 ms, not 15"]


@pytest.mark.parametrize(("percentile", "holds"), [(0.0151, False), (0.0149, True)])
def test_a_bound_is_of_the_percentile_too(percentile: float, holds: bool) -> None:
    """As the load generator has it: the measured percentile, and early stopping."""
    latencies = (0.001,) * 980 + (percentile,) * 20
    trial = Trial(1, 1000, Queries(latencies, 1.0, 1.0), rate=1.0, bound=0.015, percentile=0.99)
    assert trial.holds is holds

"""The scenarios' figures against those of MLCommons' own load generator, which `tools/golden_loadgen.py` recorded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnet_compile.bench import Queries, Trial
from resnet_compile.bench.binomial import overlatency_allowed, queries_needed
from resnet_compile.bench.mlperf import SCENARIOS, arrivals

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "loadgen.json").read_text())
NANO = 1e-9


def trial(name: str, percentile: float) -> Trial:
    latencies = tuple(latency * NANO for latency in GOLDEN["streams"][name]["latencies"])
    return Trial(1, len(latencies), Queries(latencies, 1.0, 1.0), percentile=percentile)


@pytest.mark.parametrize("name", ["single", "multi"])
def test_percentiles_are_the_load_generators(name: str) -> None:
    stream = GOLDEN["streams"][name]
    for percentile, nanoseconds in stream["percentiles"].items():
        measured = trial(name, float(percentile) / 100).measured_percentile
        assert measured is not None
        assert round(measured / NANO) == nanoseconds
    assert int(trial(name, 0.9).summary.mean / NANO) == stream["mean"]


@pytest.mark.parametrize(("name", "percentile"), [("single", "90"), ("single", "99"), ("multi", "99")])
def test_early_stopping_is_the_load_generators(name: str, percentile: str) -> None:
    estimate = trial(name, int(percentile) / 100).early_stopping
    assert estimate is not None
    assert round(estimate / NANO) == GOLDEN["streams"][name]["early_stopping"][percentile]


def test_the_scenarios_own_percentiles_are_those_of_the_summaries() -> None:
    assert SCENARIOS["single"].percentile == 0.9
    assert SCENARIOS["multi"].percentile == 0.99
    assert [SCENARIOS[name].queries for name in ("single", "multi", "offline", "server")] == [64, 662, 1, 459]


@pytest.mark.parametrize(("queries", "discarded"), GOLDEN["discarded"].items())
def test_as_many_queries_are_dropped_as_by_the_load_generator(queries: str, discarded: int | None) -> None:
    """It drops all that may be over the percentile but one, and reports that one."""
    allowed = overlatency_allowed(int(queries), 0.9)
    assert (allowed - 1 if allowed >= 1 else None) == discarded


@pytest.mark.parametrize("run", GOLDEN["late"])
def test_a_server_needs_as_many_queries_as_the_load_generator_asks_for(run: dict[str, Any]) -> None:
    needed = queries_needed(run["late"], 0.99)
    assert (needed - run["queries"] if needed > run["queries"] else None) == run["more"]


def test_queries_arrive_when_the_load_generators_do() -> None:
    recorded = GOLDEN["arrivals"]
    times = arrivals(recorded["rate"], recorded["seconds"], 1)
    assert np.round(times * 1e9).astype(int).tolist() == recorded["nanoseconds"]


def test_enough_queries_arrive_however_short_the_time() -> None:
    times = arrivals(10.0, 1.0, 459)
    assert len(times) == 459
    assert np.diff(times).mean() == pytest.approx(0.1, rel=0.2)
    assert arrivals(10.0, 1.0, 459, seed=1)[1] != times[1]

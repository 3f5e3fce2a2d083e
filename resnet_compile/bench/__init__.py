"""Timing models: the protocol, what it measured, and what may be concluded from that.

Knows how to time and nothing of how models are built.
"""

from resnet_compile.bench.mlperf import SCENARIOS, Scenario, ScenarioName
from resnet_compile.bench.options import VARIANTS, BenchOptions, ScenarioOptions
from resnet_compile.bench.protocol import Measured, Protocol, measure
from resnet_compile.bench.queries import Queries
from resnet_compile.bench.record import Bench, Row
from resnet_compile.bench.run import BenchListener, Subject, bench
from resnet_compile.bench.scenario_record import ScenarioRun, Trial
from resnet_compile.bench.scenario_run import ScenarioListener, run_scenario
from resnet_compile.bench.statistics import Comparison, Interval, TimingSummary, Verdict, median_ratio, summarize

__all__ = [
    "SCENARIOS",
    "VARIANTS",
    "Bench",
    "BenchListener",
    "BenchOptions",
    "Comparison",
    "Interval",
    "Measured",
    "Protocol",
    "Queries",
    "Row",
    "Scenario",
    "ScenarioListener",
    "ScenarioName",
    "ScenarioOptions",
    "ScenarioRun",
    "Subject",
    "TimingSummary",
    "Trial",
    "Verdict",
    "bench",
    "measure",
    "median_ratio",
    "run_scenario",
    "summarize",
]

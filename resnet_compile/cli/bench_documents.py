"""What resnet-bench prints with ``--json``, as types, and what its documents share with those of other commands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.bench import BenchOptions, Comparison, Protocol, Row, ScenarioName, ScenarioOptions, TimingSummary
from resnet_compile.bench.conditions import Conditions
from resnet_compile.bench.environment import Environment
from resnet_compile.bench.profile import NodeTime, Share
from resnet_compile.bench.record import Data
from resnet_compile.checked.describing import described, many, record
from resnet_compile.cli.common import SCHEMA_VERSION
from resnet_compile.roofline import Roofline
from resnet_compile.runtime import GpuState, SessionOptions
from resnet_compile.sweep import COLUMNS, WORDS

for _model in (Protocol, BenchOptions, ScenarioOptions, SessionOptions):
    described(_model)

VERSION = (
    Annotated[int, Field(json_schema_extra={"const": SCHEMA_VERSION})],
    "The version of these documents: it rises where a field changes or goes.",
)
ABSENT = "absent"
DEVICE = {
    "device": (str, "What it ran on, such as cpu or cuda:0."),
    "device_reason": (str, "Why there."),
}
INTERRUPTED = (bool, "Whether Ctrl-C ended it early; what is there was done before.")

_NODES = dict[str, dict[str, int]]
_SESSION = record(
    "Session",
    "What a session ran on and under.",
    device=(str, "The device."),
    reason=(str, "Why that one."),
    onnxruntime=(str, "Its version."),
    providers=(dict[str, dict[str, str]], "The execution providers with their options."),
    options=(SessionOptions, "What it was asked for."),
    nodes=(_NODES | None, "How many nodes of each type ran on each provider; null where that is not told."),
)
_CONDITIONS = record(
    "MachineConditions",
    "What the machine did meanwhile.",
    Conditions,
    stolen=(float | None, "The part of the processors' time that other guests of the machine took."),
    reasons=(list[str], "All reasons for which the GPU's clocks were not higher."),
    gpu_during=(
        many(
            record(
                "GpuLook",
                "A GPU at one moment.",
                GpuState,
                at=(float, "When, in seconds of the clock of the runs."),
                throttled=(bool, "Whether it was slower than its clocks were set to."),
            )
        ),
        "About every 50 ms.",
    ),
)
_RUN = record(
    "Run",
    "One model at one batch size.",
    Row,
    session=(_SESSION, "What it ran on and under."),
    conditions=(many(_CONDITIONS), "What the machine did, in each part of the runs."),
    statistics=(TimingSummary, "The timed runs, summed up, in seconds."),
    images_per_second=(float, "Images in the seconds of the median run."),
    gflops=(float | None, "10^9 operations a second, two a multiply-accumulate; null where these are not known."),
)
_SHARES = record(
    "ProfileShares",
    "Where the time goes, in seconds of one run.",
    model=(str, "What was profiled."),
    batch=(int, "Images at a time."),
    runs=(int, "How many runs that is the average of."),
    by_operator=(list[Share], "Greatest first."),
    by_layer=(list[Share], "In order of running."),
    by_scope=(list[Share], "In order of running."),
    nodes=(list[NodeTime], "In order of running."),
)
_TRIAL = record(
    "ScenarioTrial",
    "One run of queries; times in seconds.",
    batch=(int, "Images at a time."),
    rate=(float | None, "Queries a second that were to arrive; null where each waits for the one before it."),
    bound=(float | None, "Seconds within which a query is to be answered."),
    percentile=(float | None, "The part of the queries that the result is about."),
    samples=(int, "Images in all."),
    seconds=(float, "From the first query to the last answer."),
    issued=(float, "Seconds until the last query was sent."),
    failed_early=(bool, "Whether it was ended since it could not pass any more."),
    images_per_second=(float, "Images over those seconds."),
    late=(int, "Queries that were answered after their bound."),
    holds=(bool | None, "Whether the bound is kept; null without one."),
    measured_percentile=(float | None, "Seconds of that percentile, as the load generator takes it."),
    early_stopping=(float | None, "Seconds that it is no longer than with 99 % confidence; null for too few queries."),
    images_per_joule=(float | None, "Null where energy cannot be read."),
    conditions=(_CONDITIONS | None, "What the machine did meanwhile."),
    statistics=(TimingSummary, "The latencies, summed up, in seconds."),
    latencies=(list[float], "Seconds of each query, in order; of the offline scenario of each batch."),
)
BENCHED = (
    record(
        "Benchmark",
        "Models timed by the protocol; times in seconds.",
        schema_version=VERSION,
        **DEVICE,
        interrupted=INTERRUPTED,
        options=(BenchOptions, "What was asked for."),
        environment=(Environment, "Where and when."),
        runs=(many(_RUN), "Every model at every batch size."),
        comparisons=(
            many(
                record(
                    "BenchComparison",
                    "The first model against another.",
                    Comparison,
                    batch=(int, "Images at a time."),
                    data=(Data, "Where inputs and outputs were."),
                    verdict=(str, "What it shows of the first model."),
                )
            ),
            "With --vs or --variant.",
        ),
        profile=(_SHARES | None, "With --profile."),
    )
    | record(
        "ScenarioResult",
        "A model under a scenario, or at the batch sizes that keep a latency bound.",
        schema_version=VERSION,
        notice=(str, "Whose rules these are, and who did not verify it."),
        scenario=(ScenarioName | None, "Null for --latency-bound alone."),
        shortened=(list[str], "In what it is less than the rules ask for."),
        result=(
            record(
                "Result",
                "The figure.",
                name=(str, "What it is."),
                value=(float | None, "In the unit; null where there is none."),
                unit=(Literal["s", "1/s"], "Seconds, or a number a second."),
                missing=(str | None, "Why there is none."),
            ),
            "What it comes to.",
        ),
        model=(str, "As it was given."),
        shape=(list[int], "The input's, at the first batch size."),
        data=(Data, "Where inputs and outputs were."),
        loaded_samples=(int, "How many images lay in memory."),
        **DEVICE,
        interrupted=INTERRUPTED,
        options=(ScenarioOptions, "What was asked for; times in seconds."),
        environment=(Environment, "Where and when."),
        session=(_SESSION, "What it ran on and under."),
        trials=(many(_TRIAL), "One, or each that the search for the best made."),
    )
    | record(
        "SweepResult",
        "Many networks, or --sweep.",
        schema_version=VERSION,
        rows=(
            many(
                record(
                    "SweepRow",
                    "A measurement, as a row of --csv.",
                    **{name: ((str if name in WORDS else float) | None, text) for name, text in COLUMNS.items()},
                )
            ),
            "Those of this run, and those that it went on with.",
        ),
        rooflines=(list[Roofline], "What the device can do at most, for each number of threads."),
        interrupted=INTERRUPTED,
    )
)

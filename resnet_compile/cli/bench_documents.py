"""Types of the JSON documents that resnet-bench prints, and the fields that documents of all commands share."""

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
    "The version of these documents; it rises when a field changes or is removed.",
)
ABSENT = "absent"
DEVICE = {
    "device": (str, "The device that was used, such as cpu or cuda:0."),
    "device_reason": (str, "Why this device was chosen."),
}
INTERRUPTED = (bool, "Whether Ctrl-C ended the command early; the results are those from before that.")

_NODES = dict[str, dict[str, int]]
_SESSION = record(
    "Session",
    "A session of onnxruntime or OpenVINO: its device, providers and options.",
    device=(str, "The device."),
    reason=(str, "Why this device was chosen."),
    onnxruntime=(str, "The version of onnxruntime."),
    engine=(str, "The engine that ran the model, with its version; for OpenVINO also the precision."),
    providers=(dict[str, dict[str, str]], "The execution providers with their options."),
    options=(SessionOptions, "The options that the session was opened with."),
    nodes=(_NODES | None, "Number of nodes of each type on each provider; null if onnxruntime does not report it."),
)
_CONDITIONS = record(
    "MachineConditions",
    "The state of the machine during the measurement.",
    Conditions,
    stolen=(float | None, "The share of processor time that other guests of the machine took, from 0 to 1."),
    reasons=(list[str], "All reasons that limited the GPU's clocks."),
    gpu_during=(
        many(
            record(
                "GpuLook",
                "A GPU at one moment.",
                GpuState,
                at=(float, "Time in seconds, on the clock that times the runs."),
                throttled=(bool, "Whether it was slower than its clocks were set to."),
            )
        ),
        "States of the GPU, about every 50 ms.",
    ),
)
_RUN = record(
    "Run",
    "One model at one batch size.",
    Row,
    session=(_SESSION, "The session that ran the model."),
    conditions=(many(_CONDITIONS), "The state of the machine, for each part of the runs."),
    statistics=(TimingSummary, "Statistics of the timed runs, in seconds."),
    images_per_second=(float, "Images a second: the batch size divided by the median time of a run."),
    gflops=(float | None, "10^9 operations a second; a multiply-accumulate counts as two. Null if not known."),
)
_SHARES = record(
    "ProfileShares",
    "Where the time goes, in seconds of one run.",
    model=(str, "What was profiled."),
    batch=(int, "Images at a time."),
    runs=(int, "Number of runs that were averaged."),
    by_operator=(list[Share], "Time of each operator type, longest first."),
    by_layer=(list[Share], "Time of each layer, in execution order."),
    by_scope=(list[Share], "Time of each scope, in execution order."),
    nodes=(list[NodeTime], "Time of each node, in execution order."),
)
_TRIAL = record(
    "ScenarioTrial",
    "One run of queries; times in seconds.",
    batch=(int, "Images at a time."),
    rate=(
        float | None,
        "Scheduled queries a second; null if each query waits for the previous answer.",
    ),
    bound=(float | None, "Latency bound of a query, in seconds."),
    percentile=(float | None, "The percentile of the latencies that is judged, from 0 to 1."),
    samples=(int, "Images in all."),
    seconds=(float, "Seconds from the first query to the last answer."),
    issued=(float, "Seconds from the first query to the last one sent."),
    failed_early=(bool, "Whether the trial was stopped early because it could no longer pass."),
    images_per_second=(float, "Images a second over the whole trial."),
    late=(int, "Number of queries answered after the bound."),
    holds=(bool | None, "Whether the trial kept the bound; null without a bound."),
    measured_percentile=(float | None, "Latency at that percentile in seconds, by the load generator's definition."),
    early_stopping=(
        float | None,
        "Seconds that it does not exceed, at 99 % confidence; null for too few queries.",
    ),
    images_per_joule=(float | None, "Images for each joule; null if energy cannot be read."),
    conditions=(_CONDITIONS | None, "The state of the machine during the trial."),
    statistics=(TimingSummary, "Statistics of the latencies, in seconds."),
    latencies=(list[float], "Latency of each query in seconds, in order; in the offline scenario, of each batch."),
)
BENCHED = (
    record(
        "Benchmark",
        "Models timed by the protocol; times in seconds.",
        schema_version=VERSION,
        **DEVICE,
        interrupted=INTERRUPTED,
        options=(BenchOptions, "The options of the benchmark."),
        environment=(Environment, "Where and when."),
        runs=(many(_RUN), "One entry for each model at each batch size."),
        comparisons=(
            many(
                record(
                    "BenchComparison",
                    "The first model against another.",
                    Comparison,
                    batch=(int, "Images at a time."),
                    data=(Data, "Where inputs and outputs were."),
                    verdict=(str, "What the comparison shows about the first model."),
                )
            ),
            "With --vs or --variant.",
        ),
        profile=(_SHARES | None, "With --profile."),
    )
    | record(
        "ScenarioResult",
        "A model measured in a scenario, or the best batch size within a latency bound.",
        schema_version=VERSION,
        notice=(str, "A notice that the rules are MLPerf's, and that MLCommons did not verify the result."),
        scenario=(ScenarioName | None, "Null for --latency-bound alone."),
        shortened=(list[str], "Each requirement of the rules that the run falls short of."),
        result=(
            record(
                "Result",
                "The figure that the scenario reports.",
                name=(str, "The name of the metric."),
                value=(float | None, "The value, in `unit`; null if there is no result."),
                unit=(Literal["s", "1/s"], "The unit: seconds, or a count for each second."),
                missing=(str | None, "Why there is no result; null if there is one."),
            ),
            "The result of the scenario.",
        ),
        model=(str, "The argument that named the model."),
        shape=(list[int], "Shape of the input at the first batch size."),
        data=(Data, "Where inputs and outputs were."),
        loaded_samples=(int, "Number of images held in memory."),
        **DEVICE,
        interrupted=INTERRUPTED,
        options=(ScenarioOptions, "The options of the scenario; times in seconds."),
        environment=(Environment, "Where and when."),
        session=(_SESSION, "The session that ran the model."),
        trials=(many(_TRIAL), "The trials: one, or all those of a search."),
    )
    | record(
        "SweepResult",
        "Measurements of many networks, or of --sweep.",
        schema_version=VERSION,
        rows=(
            many(
                record(
                    "SweepRow",
                    "A measurement, as a row of --csv.",
                    **{name: ((str if name in WORDS else float) | None, text) for name, text in COLUMNS.items()},
                )
            ),
            "Measurements of this run, and those that --resume found in the table.",
        ),
        rooflines=(list[Roofline], "Peak performance and bandwidth of the device, for each number of threads."),
        interrupted=INTERRUPTED,
    )
)

"""Lets MLCommons' own load generator drive a model in the session that resnet-bench opens, and compares the figures.

    pip install mlcommons-loadgen
    python tools/loadgen.py MODEL|SPEC --scenario single|multi|offline|server [--duration 60] [--rate 5] [--device cpu]

The load generator sends the queries, times them and writes its summary; our statistics are taken of the latencies in
its log, and have to agree with its own to the nanosecond. resnet-bench's scenario runs in the same way, so that its
figures can be compared with the load generator's. Exits with 1 where the statistics disagree.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlperf_loadgen as loadgen

import resnet_compile as rc
from resnet_compile.bench import ScenarioOptions, Subject, run_scenario
from resnet_compile.bench.mlperf import (
    LOADED_SAMPLES,
    OFFLINE_SAMPLES,
    SAMPLE_SEED,
    SCENARIOS,
    SCHEDULE_SEED,
    SERVER_BOUND,
)
from resnet_compile.bench.queries import Queries
from resnet_compile.bench.samples import Samples
from resnet_compile.bench.scenario_record import Trial
from resnet_compile.runtime import SessionOptions, installed_backend

NAMES = {"single": "SingleStream", "multi": "MultiStream", "offline": "Offline", "server": "Server"}
# "qsl_rng_seed" of mlperf.conf, beside the two that resnet_compile.bench.mlperf has.
LIBRARY_SEED = 2_085_463_073_848_966_840
NANO = 1e-9


@dataclass(frozen=True)
class Log:
    """What the load generator wrote.

    Attributes:
        summary: Its text.
        latencies: Nanoseconds of each query, from when it was sent or was to arrive, in that order.
        scheduled: Microseconds at which each query was sent or was to arrive.
    """

    summary: str
    latencies: list[int]
    scheduled: list[float]

    def figure(self, pattern: str) -> int | None:
        """The integer that the summary tells after some words."""
        found = re.search(rf"{pattern}\D*?(\d+)", self.summary)
        return int(found[1]) if found else None


def drive(scenario: str, answer: Callable[[list[int]], None], **settings: object) -> Log:
    """Runs a test of the load generator.

    Args:
        scenario: `single`, `multi`, `offline` or `server`.
        answer: Runs the samples of these numbers.
        settings: The load generator's own, of its `TestSettings`.
    """
    wanted = loadgen.TestSettings()
    wanted.scenario = getattr(loadgen.TestScenario, NAMES[scenario])
    wanted.mode = loadgen.TestMode.PerformanceOnly
    seeds = {"qsl_rng_seed": LIBRARY_SEED, "sample_index_rng_seed": SAMPLE_SEED, "schedule_rng_seed": SCHEDULE_SEED}
    for name, value in {**seeds, **settings}.items():
        setattr(wanted, name, value)

    def issue(queries: list[loadgen.QuerySample]) -> None:
        answer([query.index for query in queries])
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])

    with tempfile.TemporaryDirectory() as folder:
        logs, place = loadgen.LogSettings(), loadgen.LogOutputSettings()
        place.outdir, place.copy_summary_to_stdout = folder, False
        logs.log_output, logs.enable_trace = place, True
        system = loadgen.ConstructSUT(issue, lambda: None)
        library = loadgen.ConstructQSL(LOADED_SAMPLES, LOADED_SAMPLES, lambda samples: None, lambda samples: None)
        loadgen.StartTestWithLogSettings(system, library, wanted, logs)
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        summary = Path(folder, "mlperf_log_summary.txt").read_text()
        # The trace is not quite JSON.
        trace = Path(folder, "mlperf_log_trace.json").read_text()
    event = r'"name":\s*"Sample",[^{]*"ts":\s*([\d.]+)[^{]*\{[^}]*"query_seq":\s*(\d+)[^}]*"complete_ns":\s*(\d+)'
    queries: dict[int, tuple[float, int]] = {}
    for at, number, nanoseconds in re.findall(event, trace):
        slowest = max(int(nanoseconds), queries.get(int(number), (0.0, 0))[1])
        queries[int(number)] = (float(at), slowest)
    ordered = [queries[number] for number in sorted(queries)]
    return Log(summary, [each[1] for each in ordered], [each[0] for each in ordered])


def disagreements(scenario: str, log: Log) -> list[str]:
    """In what our statistics of the same latencies differ from the load generator's."""
    percentile, count = SCENARIOS[scenario].percentile, len(log.latencies)
    if percentile is None:
        return []
    latencies = tuple(latency * NANO for latency in log.latencies)
    trial = Trial(1, count, Queries(latencies, 1.0, 1.0), percentile=percentile)
    ours = {
        rf"{100 * percentile:.2f} percentile latency": trial.measured_percentile,
        rf"Early stopping {100 * percentile:.1f}th percentile estimate": trial.early_stopping,
    }
    theirs = {pattern: log.figure(pattern.replace(".", r"\.") + r"[^:]*:") for pattern in ours}
    if scenario == "server":
        del ours[[*ours][1]]  # it tells only whether the run passes
    return [
        f"{pattern}: {value} s here, {theirs[pattern]} ns there"
        for pattern, value in ours.items()
        if (None if value is None else round(value / NANO)) != theirs[pattern]
    ]


def subject(source: str) -> Subject:
    """A file, or a name or file of a spec."""
    if source.endswith(".onnx"):
        return Subject(source, Path(source))
    return Subject(source, rc.compile(rc.load_spec(source)).to_proto().SerializeToString())


def main() -> None:
    """Parses the command line, runs both, compares."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="MODEL|SPEC")
    parser.add_argument("--scenario", choices=NAMES, default="single")
    parser.add_argument("--duration", type=float, default=60, help="seconds; the rules have 600")
    parser.add_argument("--rate", type=float, default=1.0, help="of a server: queries a second")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    scenario = SCENARIOS[arguments.scenario]
    settings = SessionOptions(threads=arguments.threads)
    model, backend = subject(arguments.model), installed_backend()
    samples = Samples(model, arguments.device, settings, backend, None, scenario.batch)
    run = samples.runner(samples.batch, burn_in=10)

    def answer(numbers: list[int]) -> None:
        for first in range(0, len(numbers), samples.batch):
            run(numbers[first] % samples.loaded)

    options = ScenarioOptions(
        scenario=arguments.scenario,
        device=arguments.device,
        threads=arguments.threads,
        seconds=arguments.duration,
        rate=arguments.rate if arguments.scenario == "server" else None,
    )
    ours = run_scenario(model, options)
    trial = ours.best or ours.trials[-1]
    log = drive(
        arguments.scenario,
        answer,
        min_duration_ms=round(arguments.duration * 1000),
        min_query_count=OFFLINE_SAMPLES if arguments.scenario == "offline" and arguments.duration >= 600 else 1,
        offline_expected_qps=trial.images_per_second,
        single_stream_expected_latency_ns=round(trial.summary.p50 / NANO),
        multi_stream_expected_latency_ns=round(trial.summary.p50 / NANO),
        multi_stream_target_latency_percentile=0.99,
        server_target_qps=arguments.rate,
        server_target_latency_ns=round(SERVER_BOUND / NANO),
    )
    print(log.summary.split("Test Parameters")[0])
    print(f"resnet-bench, {ours.title}: {ours.result_name}: {ours.result or ours.missing}")
    print(f"  p50 {trial.summary.p50 * 1e3:.3f} ms, {trial.images_per_second:.4g} images/s")
    wrong = disagreements(arguments.scenario, log)
    print("\n".join(wrong) or "Statistics of the load generator's latencies agree with its own.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

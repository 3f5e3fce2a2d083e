"""The result of a scenario, as plain values and as the document that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from resnet_compile.bench.binomial import overlatency_allowed, queries_needed
from resnet_compile.bench.conditions import Conditions
from resnet_compile.bench.environment import Environment
from resnet_compile.bench.mlperf import MINIMUM_SECONDS, OFFLINE_SAMPLES, SCENARIOS, SERVER_BOUND
from resnet_compile.bench.options import ScenarioOptions
from resnet_compile.bench.queries import Queries
from resnet_compile.bench.record import Data
from resnet_compile.bench.statistics import TimingSummary, summarize
from resnet_compile.notebook import html_table

NOTICE = "MLPerf-style, unverified by MLCommons"


@dataclass(frozen=True)
class Trial:
    """One run of queries.

    Attributes:
        batch: Images at a time.
        samples: Images in all.
        queries: The outcome of the queries.
        rate: Scheduled arrivals per second; None if each query waits for the answer to the one before it.
        bound: The latency bound in seconds; None if there is no bound.
        percentile: The percentile of the latencies, as a fraction, that must keep the bound or is the result.
        conditions: The machine's state during the run.
    """

    batch: int
    samples: int
    queries: Queries
    rate: float | None = None
    bound: float | None = None
    percentile: float | None = None
    conditions: Conditions | None = None

    @property
    def images_per_joule(self) -> float | None:
        """Images per joule; None if the energy cannot be read."""
        joules = self.conditions and self.conditions.joules
        return self.samples / joules if joules else None

    @cached_property
    def summary(self) -> TimingSummary:
        """The latencies, summed up."""
        return summarize(self.queries.latencies)

    @property
    def images_per_second(self) -> float:
        """Images per second, from the first query to the last answer."""
        return self.samples / self.queries.seconds

    @property
    def late(self) -> int:
        """The number of queries that were answered after the bound."""
        return 0 if self.bound is None else sum(latency > self.bound for latency in self.queries.latencies)

    @cached_property
    def measured_percentile(self) -> float | None:
        """The load generator's percentile of the latencies: of n sorted ones that at ``int(n p)``, from 0."""
        if self.percentile is None:
            return None
        return sorted(self.queries.latencies)[int(len(self.queries.latencies) * self.percentile)]

    @cached_property
    def early_stopping(self) -> float | None:
        """Early stopping's estimate of the percentile: of n sorted latencies that at ``n - t``, from 0.

        t is the number of late queries that early stopping allows among n (`overlatency_allowed`). With 99 % confidence
        the percentile is no longer than this. None if there are too few queries.
        """
        count = len(self.queries.latencies)
        allowed = -1 if self.percentile is None else overlatency_allowed(count, self.percentile)
        return sorted(self.queries.latencies)[count - allowed] if allowed >= 1 else None

    @property
    def holds(self) -> bool:
        """Whether the bound is kept, both by the measured percentile and with 99 % confidence."""
        if self.bound is None or self.percentile is None or self.measured_percentile is None:
            return False
        if self.queries.failed or self.queries.interrupted:
            return False
        allowed = overlatency_allowed(len(self.queries.latencies), self.percentile)
        return self.measured_percentile <= self.bound and self.late <= allowed


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """A model under a scenario, or at the batch sizes that keep a latency bound.

    Attributes:
        model: Its label.
        options: The options that were asked for.
        shape: The input's shape at the first batch size.
        data: Where inputs and outputs lie.
        loaded: The number of images in memory.
        trials: One trial, or all trials of a search, in order.
        session: The session's device, providers, options and node placement.
        device: The device that the model ran on.
        device_reason: Why that device.
        environment: Where and when it ran.
        interrupted: Whether Ctrl-C ended it early.
    """

    model: str
    options: ScenarioOptions
    shape: tuple[int, ...]
    data: Data
    loaded: int
    trials: tuple[Trial, ...]
    session: Mapping[str, Any]
    device: str
    device_reason: str
    environment: Environment
    interrupted: bool

    @property
    def title(self) -> str:
        """The scenario's name."""
        return SCENARIOS[self.options.scenario].title if self.options.scenario else "Latency bound"

    @property
    def best(self) -> Trial | None:
        """The trial that gives the result; None if no trial kept the bound."""
        if self.trials[0].bound is None:
            return self.trials[0]
        kept = [trial for trial in self.trials if trial.holds]
        return max(kept, key=lambda trial: trial.rate or trial.images_per_second, default=None)

    @property
    def result(self) -> float | None:
        """The percentile by early stopping, in seconds, or the most images or queries per second; None if unknown."""
        best = self.best
        if best is None:
            return None
        if self.options.scenario in ("single", "multi"):
            return best.early_stopping
        return best.rate or best.images_per_second

    @property
    def result_name(self) -> str:
        """What the result measures."""
        match self.options.scenario:
            case "single" | "multi" as name:
                return f"{100 * (SCENARIOS[name].percentile or 0):.0f}th percentile latency by early stopping"
            case "offline":
                return "samples a second"
            case "server":
                return "queries a second with 99 % of them in time"
            case None:
                return "images a second with 99 % of the runs in time"

    @property
    def missing(self) -> str | None:
        """Why there is no result; None if there is one."""
        if self.result is not None:
            return None
        if (bound := self.trials[0].bound) is not None:
            return f"no trial answered 99 % of its queries within {bound * 1e3:g} ms"
        percentile = self.trials[0].percentile or 0.0
        return (
            f"early stopping needs {queries_needed(1, percentile)} queries, not {len(self.trials[0].queries.latencies)}"
        )

    def shortened(self) -> Iterator[str]:
        """How the run falls short of the rules, point by point; nothing without a scenario."""
        scenario, options = self.options.scenario, self.options
        if scenario is None:
            return
        told = self.best or self.trials[-1]
        seconds = told.queries.seconds if scenario == "offline" else told.queries.issued
        if seconds < MINIMUM_SECONDS:
            yield f"{seconds:.0f} s, not {MINIMUM_SECONDS:.0f}"
        if scenario == "offline" and told.samples < OFFLINE_SAMPLES:
            yield f"{told.samples:,} samples, not {OFFLINE_SAMPLES:,}"
        if scenario == "multi" and len(told.queries.latencies) < SCENARIOS["multi"].queries:
            yield f"{len(told.queries.latencies):,} queries, not {SCENARIOS['multi'].queries:,}"
        if scenario == "server" and options.bound != SERVER_BOUND:
            yield f"a bound of {options.bound * 1e3:g} ms, not {SERVER_BOUND * 1e3:g}"
        if self.interrupted:
            yield "interrupted"

    def _repr_html_(self) -> str:
        rows = [
            (each.batch, len(each.queries.latencies), each.images_per_second, each.summary.p50 * 1e3, each.late)
            for each in self.trials
        ]
        result = "none" if self.result is None else f"{self.result:.4g}"
        title = f"{self.model}, {self.title}: {self.result_name}: {result} ({NOTICE})"
        return html_table(title, ("batch", "queries", "images/s", "p50 ms", "late"), rows)

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values; times in seconds, latencies in the order of the queries."""
        return {
            "notice": NOTICE,
            "scenario": self.options.scenario,
            "shortened": [*self.shortened()],
            "result": {
                "name": self.result_name,
                "value": self.result,
                "unit": "s" if self.options.scenario in ("single", "multi") else "1/s",
                "missing": self.missing,
            },
            "model": self.model,
            "shape": self.shape,
            "data": self.data,
            "loaded_samples": self.loaded,
            "device": self.device,
            "device_reason": self.device_reason,
            "interrupted": self.interrupted,
            "options": self.options.model_dump(),
            "environment": asdict(self.environment),
            "session": self.session,
            "trials": [_trial(trial) for trial in self.trials],
        }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "batch": trial.batch,
        "rate": trial.rate,
        "bound": trial.bound,
        "percentile": trial.percentile,
        "samples": trial.samples,
        "seconds": trial.queries.seconds,
        "issued": trial.queries.issued,
        "failed_early": trial.queries.failed,
        "images_per_second": trial.images_per_second,
        "late": trial.late,
        "holds": trial.holds if trial.bound is not None else None,
        "measured_percentile": trial.measured_percentile,
        "early_stopping": trial.early_stopping,
        "images_per_joule": trial.images_per_joule,
        "conditions": trial.conditions and trial.conditions.document(),
        "statistics": asdict(trial.summary),
        "latencies": list(trial.queries.latencies),
    }

"""The result of a benchmark, as plain values and as the document that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from resnet_compile.bench.conditions import Conditions
from resnet_compile.bench.environment import Environment
from resnet_compile.bench.options import BenchOptions
from resnet_compile.bench.profile import Profile
from resnet_compile.bench.statistics import Comparison, TimingSummary, summarize
from resnet_compile.notebook import html_table
from resnet_compile.runtime import parse_device

Data = Literal["host", "device", "host to host"]
"""Where a run's inputs and outputs lie: on the host, on the GPU, or on the host with copies to the GPU and back."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model at one batch size.

    Attributes:
        model: Its label.
        batch: Images at a time.
        data: Where inputs and outputs lie.
        shape: The input's shape.
        buffers: The number of inputs that the runs rotate among.
        seconds: Seconds of each timed run. Runs on a throttled GPU are left out, unless all runs are.
        macs: Multiply-accumulates per image; None if unknown.
        load_seconds: Seconds of opening the session, onnxruntime's own optimisation included.
        first_run_seconds: Seconds of the first run, which allocates memory and, on CUDA, chooses algorithms.
        memory_bytes: Rise of the process's memory from before loading to after the first run; None if unreadable.
        gpu_memory_mib: Rise of the GPU's used memory over the same time, by all processes; None if unreadable.
        session: The session's device, providers, options and node placement.
        throttled: The number of runs on a throttled GPU, whether or not `seconds` leaves them out.
        conditions: The machine's state during the runs, one record for each part of them.
        error: Norm of the difference of the outputs from the first model's, divided by the norm of these, for the same
            images; the greatest of all outputs. None for the first, and where outputs have other names or shapes.
        images_per_joule: Images per joule, over all runs and the burn-in; None if several models take turns or the
            energy cannot be read.
    """

    model: str
    batch: int
    data: Data
    shape: tuple[int, ...]
    buffers: int
    seconds: tuple[float, ...]
    macs: int | None
    load_seconds: float
    first_run_seconds: float
    memory_bytes: int | None
    gpu_memory_mib: int | None
    session: Mapping[str, Any]
    throttled: int = 0
    conditions: tuple[Conditions, ...] = ()
    images_per_joule: float | None = None
    error: float | None = None

    @property
    def summary(self) -> TimingSummary:
        """The timings, summed up."""
        return summarize(self.seconds)

    @property
    def images_per_second(self) -> float:
        """Images per second at the median time."""
        return self.batch / self.summary.p50

    @property
    def gflops(self) -> float | None:
        """Achieved 10^9 operations per second; a multiply-accumulate counts as two. None without `macs`."""
        return 2 * self.macs * self.images_per_second / 1e9 if self.macs else None


@dataclass(frozen=True, slots=True)
class Sized:
    """A comparison with its batch size and its place of the data."""

    batch: int
    data: Data
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Bench:
    """A whole benchmark.

    Attributes:
        options: The options that were asked for.
        environment: Where and when it ran.
        device: The device that the models ran on.
        device_reason: Why that device.
        rows: Every model at every batch size.
        comparisons: The first model against each of the others, at every batch size.
        profile: The first model's profile at the last batch size; None unless asked for.
        interrupted: Whether Ctrl-C ended it early.
    """

    options: BenchOptions
    environment: Environment
    device: str
    device_reason: str
    rows: tuple[Row, ...]
    comparisons: tuple[Sized, ...]
    profile: Profile | None
    interrupted: bool

    @property
    def asynchronous(self) -> bool:
        """Whether the profile's times are those in which the host starts the nodes, not those in which they run."""
        device = parse_device(self.device)
        return device is not None and device.provider.asynchronous

    def _repr_html_(self) -> str:
        rows = [
            (row.model, row.batch, row.data, row.summary.p50 * 1e3, row.images_per_second, row.gflops)
            for row in self.rows
        ]
        return html_table(f"on {self.device}", ("model", "batch", "data", "p50 ms", "images/s", "GFLOP/s"), rows)

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values; times in seconds, those of a profile per run."""
        return {
            "device": self.device,
            "device_reason": self.device_reason,
            "interrupted": self.interrupted,
            "options": self.options.model_dump(),
            "environment": asdict(self.environment),
            "runs": [_row(row) for row in self.rows],
            "comparisons": [
                {
                    "batch": sized.batch,
                    "data": sized.data,
                    **asdict(sized.comparison),
                    "verdict": str(sized.comparison.verdict),
                }
                for sized in self.comparisons
            ],
            "profile": _profile(self.profile) if self.profile else None,
        }


def _row(row: Row) -> dict[str, Any]:
    document = asdict(row)
    document["statistics"] = asdict(row.summary)
    document["images_per_second"] = row.images_per_second
    document["gflops"] = row.gflops
    document["conditions"] = [each.document() for each in row.conditions]
    document["seconds"] = document.pop("seconds")  # last, since it is the longest
    return document


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "model": profile.model,
        "batch": profile.batch,
        "runs": profile.runs,
        "by_operator": [asdict(share) for share in profile.by_operator()],
        "by_layer": [asdict(share) for share in profile.by_layer()],
        "by_scope": [asdict(share) for share in profile.by_scope()],
        "nodes": [asdict(node) for node in profile.nodes],
    }

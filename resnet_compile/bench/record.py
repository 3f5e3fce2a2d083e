"""What a benchmark found, as plain values, and as the document that ``--json`` prints."""

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
"""Where a run's inputs and outputs are: beside the processor, on the GPU, or copied to the GPU and back."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model at one batch size.

    Attributes:
        model: Its label.
        batch: Images at a time.
        data: Where inputs and outputs are.
        shape: The input's.
        buffers: How many inputs the runs rotated among.
        seconds: Each timed run, without those that a throttled GPU ran unless it ran all of them.
        macs: Multiply-accumulates for one image, where known.
        load_seconds: Opening the session, onnxruntime's own optimisation included.
        first_run_seconds: The first run, which allocates and, on CUDA, chooses algorithms.
        memory_bytes: The rise of the process's memory from before loading to after the first run, where readable.
        gpu_memory_mib: Likewise of the GPU's used memory, all of which is counted, whoever uses it.
        session: What the session ran on and under.
        throttled: How many runs a throttled GPU ran, whether they are left out or are all that there is.
        conditions: What the machine did meanwhile, in each of the parts that the runs were made in.
        images_per_joule: Images over the energy of all runs, burn-in too; None where several models take turns, or
            where no energy can be read.
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

    @property
    def summary(self) -> TimingSummary:
        """The timings, summed up."""
        return summarize(self.seconds)

    @property
    def images_per_second(self) -> float:
        """Images in the seconds of the median run, which stands beside this."""
        return self.batch / self.summary.p50

    @property
    def gflops(self) -> float | None:
        """Achieved 10^9 floating-point operations a second, two for a multiply-accumulate; None without `macs`."""
        return 2 * self.macs * self.images_per_second / 1e9 if self.macs else None


@dataclass(frozen=True, slots=True)
class Sized:
    """A comparison, and what it was made at."""

    batch: int
    data: Data
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Bench:
    """A whole benchmark.

    Attributes:
        options: What was asked for.
        environment: Where it ran.
        device: What the models ran on.
        device_reason: Why there.
        rows: Every model at every batch size.
        comparisons: The first model against each other, at every batch size.
        profile: Of the first model at the last batch size, if asked for.
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
        """Whether a node's time in the profile is what the host takes to start it, not what the device takes."""
        device = parse_device(self.device)
        return device is not None and device.provider.asynchronous

    def _repr_html_(self) -> str:
        rows = [
            (row.model, row.batch, row.data, row.summary.p50 * 1e3, row.images_per_second, row.gflops)
            for row in self.rows
        ]
        return html_table(f"on {self.device}", ("model", "batch", "data", "p50 ms", "images/s", "GFLOP/s"), rows)

    def document(self) -> dict[str, Any]:
        """The same as plain JSON values; times in seconds, those of a profile in one run."""
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
    document["seconds"] = document.pop("seconds")  # the longest comes last
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

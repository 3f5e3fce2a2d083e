"""What a benchmark can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_compile.bench.mlperf import MINIMUM_SECONDS, SERVER_BOUND, ScenarioName
from resnet_compile.bench.protocol import Protocol
from resnet_compile.checked import Batches, CheckedModel, Natural, PositiveNumber, Threads
from resnet_compile.errors import OptionError
from resnet_compile.runtime.options import LogSeverity


class BenchOptions(CheckedModel):
    """How to time models; the defaults are those of ``resnet-bench``."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:N`` or ``auto``."""

    batches: Batches | None = None
    """Images at a time, one or several sizes; None for the model's own number, or the original's 32."""

    protocol: Protocol = Protocol()
    """How often to run."""

    threads: Threads = 0
    """Threads of each session on the CPU; 0 for one a physical core."""

    cuda_graph: bool = False
    """Let CUDA record a run and replay it."""

    cpu_fallback: bool = False
    """Time a model on a GPU too whose nodes are not all ones that the GPU's provider takes."""

    flush: bool = False
    """Empty the last cache (a GPU's L2) before every run, so that no run finds the weights there."""

    profile: bool = False
    """Profile the first model too, at the last batch size, in a session of its own."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "tf32": {"tf32": True},
    "nhwc": {"nhwc": True},
    "fused-bias": {"fuse_conv_bias": True},
    "small-workspace": {"max_workspace": False},
    "heuristic": {"conv_search": "heuristic"},
}
"""Ways for CUDA to run a model: the fields of `SessionOptions` in which each differs from the defaults."""


def variant_settings(words: str) -> dict[str, Any]:
    """The fields of `SessionOptions` that words of `VARIANTS`, joined by ``+``, stand for; none for no words.

    Raises:
        OptionError: A word is none of them.
    """
    settings: dict[str, Any] = {}
    for word in words.split("+") if words else ():
        if word not in VARIANTS:
            raise OptionError(f"no variant is called {word!r}", where="variant", hint=f"one of {', '.join(VARIANTS)}")
        settings |= VARIANTS[word]
    return settings


class ScenarioOptions(CheckedModel):
    """How to run a model under a scenario, or to look for the batch size that keeps a latency bound."""

    scenario: ScenarioName | None = None
    """``single``, ``multi``, ``offline``, ``server``; None to look for the batch size."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:N`` or ``auto``."""

    batches: Batches | None = None
    """Images at a time; for a server the most at a time; without a scenario the sizes to try. None for the scenario's
    own, and 1, 2, 4, ... until the bound is broken.
    """

    seconds: PositiveNumber = MINIMUM_SECONDS
    """How long queries are sent. Less than the 600 of the rules makes a shortened run, which says so."""

    rate: PositiveNumber | None = None
    """Queries a second of a server; None to look for the most."""

    bound: PositiveNumber = SERVER_BOUND
    """Seconds within which 99 of 100 queries are to be answered, where there is a bound."""

    burn_in: Natural = 10
    """Runs before the first query, which are not timed."""

    threads: Threads = 0
    """Threads of the session on the CPU; 0 for one a physical core."""

    cuda_graph: bool = False
    """Let CUDA record a run and replay it."""

    cpu_fallback: bool = False
    """Run a model on a GPU too whose nodes are not all ones that the GPU's provider takes."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""

"""The options of a benchmark and of a scenario."""

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
    """``cpu``, ``openvino``, ``openvino-bf16``, ``cuda``, ``cuda:N``, ``tensorrt`` or ``auto``."""

    batches: Batches | None = None
    """Batch sizes, one or several; None for the model's own, or the original's 32 if the model leaves it open."""

    protocol: Protocol = Protocol()
    """How often to run."""

    threads: Threads = 0
    """Threads of each session on the CPU; 0 for one per physical core."""

    cuda_graph: bool = False
    """Let CUDA record a run and replay it."""

    cpu_fallback: bool = False
    """Whether nodes that the GPU's provider does not support may run on the CPU; else such a model is refused."""

    flush: bool = False
    """Empty the last-level cache (a GPU's L2) before every run, so that no run finds the weights there."""

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
"""Variants of a run on CUDA, by name: the fields of `SessionOptions` in which each differs from the defaults."""


def variant_settings(words: str) -> dict[str, Any]:
    """The fields of `SessionOptions` for names of `VARIANTS` joined by ``+``; empty for an empty string.

    Raises:
        OptionError: A name is not in `VARIANTS`.
    """
    settings: dict[str, Any] = {}
    for word in words.split("+") if words else ():
        if word not in VARIANTS:
            raise OptionError(f"no variant is called {word!r}", where="variant", hint=f"one of {', '.join(VARIANTS)}")
        settings |= VARIANTS[word]
    return settings


class ScenarioOptions(CheckedModel):
    """How to run a model under a scenario, or how to search for the batch size that keeps a latency bound."""

    scenario: ScenarioName | None = None
    """``single``, ``multi``, ``offline`` or ``server``; None to search for the batch size."""

    device: str = "auto"
    """``cpu``, ``openvino``, ``openvino-bf16``, ``cuda``, ``cuda:N``, ``tensorrt`` or ``auto``."""

    batches: Batches | None = None
    """Batch sizes. A scenario takes one; for a server it is the most queries answered together. Without a scenario,
    these are the sizes to try. None for the scenario's own size, or for 1, 2, 4, ... until the bound is broken.
    """

    seconds: PositiveNumber = MINIMUM_SECONDS
    """How long queries are sent. The rules ask for 600; the result of a shorter run is marked as shortened."""

    rate: PositiveNumber | None = None
    """A server's queries per second; None to search for the highest rate that keeps the bound."""

    bound: PositiveNumber = SERVER_BOUND
    """Seconds within which 99 % of the queries must be answered, for a server or without a scenario."""

    burn_in: Natural = 10
    """Untimed runs before the first query."""

    threads: Threads = 0
    """Threads of the session on the CPU; 0 for one per physical core."""

    cuda_graph: bool = False
    """Let CUDA record a run and replay it."""

    cpu_fallback: bool = False
    """Whether nodes that the GPU's provider does not support may run on the CPU; else such a model is refused."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""

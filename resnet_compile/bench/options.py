"""What a benchmark can be asked for."""

from __future__ import annotations

from resnet_compile.bench.protocol import Protocol
from resnet_compile.checked import Batches, CheckedModel, Threads
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

    profile: bool = False
    """Profile the first model too, at the last batch size, in a session of its own."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""

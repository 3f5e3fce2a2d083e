"""What a benchmark can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnet_compile.bench.protocol import Protocol
from resnet_compile.errors import OptionError
from resnet_compile.runtime.options import LogSeverity


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to time models; the defaults are those of ``resnet-bench``.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        batches: Images at a time, one or several sizes; None for the model's own number, or the original's 32.
        protocol: How often to run.
        threads: Threads of each session on the CPU; 0 for one a physical core.
        cuda_graph: Let CUDA record a run and replay it.
        profile: Profile the first model too, at the last batch size, in a session of its own.
        log_severity: The least severe message that onnxruntime writes to stderr.
    """

    device: str = "auto"
    batches: tuple[int, ...] | None = None
    protocol: Protocol = field(default_factory=Protocol)
    threads: int = 0
    cuda_graph: bool = False
    profile: bool = False
    log_severity: LogSeverity = "fatal"

    def __post_init__(self) -> None:
        for batch in self.batches or ():
            if batch < 1:
                raise OptionError(f"a batch must be at least 1, not {batch}")

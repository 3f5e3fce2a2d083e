"""The settings of a session, all of them explicit, so that a result can be recorded with what it was run under."""

from __future__ import annotations

from typing import Any, Literal

from resnet_compile.checked import CheckedModel, Threads
from resnet_compile.runtime.backend import Backend

GraphOptimization = Literal["disabled", "basic", "extended", "all"]
LogSeverity = Literal["verbose", "info", "warning", "error", "fatal"]

_GRAPH_OPTIMIZATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_LOG_SEVERITY = {"verbose": 0, "info": 1, "warning": 2, "error": 3, "fatal": 4}


class SessionOptions(CheckedModel):
    """How onnxruntime runs a model."""

    threads: Threads = 0
    """Threads within an operator; 0 is one for each physical core."""

    spinning: bool = True
    """Idle threads wait busily for the next operator. Faster for one session, but two sessions that spin take each
    other's cores.
    """

    memory_arena: bool = True
    """Keep freed CPU memory for the next run."""

    memory_pattern: bool = True
    """Plan all buffers of a run as one block, once the shapes are known."""

    graph_optimization: GraphOptimization = "all"
    """How far onnxruntime rewrites the graph when it loads it."""

    tf32: bool = False
    """Let CUDA round the factors of float32 products to 10 bits of mantissa, which is faster. Without it onnxruntime
    keeps convolutions off the tensor cores in float16 too, where nothing is rounded by it.
    """

    nhwc: bool = False
    """Let CUDA run convolutions and pooling with channels last, which its tensor cores want."""

    cuda_graph: bool = False
    """Let CUDA record a run and replay it; the caller has to bind inputs and outputs."""

    profile: str | None = None
    """Prefix of the path of a profile to write, or None."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""

    def native(self, backend: Backend) -> Any:
        """The same for onnxruntime; sets the severity of its process-wide logger too."""
        onnxruntime = backend.onnxruntime
        native = onnxruntime.SessionOptions()
        native.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        native.intra_op_num_threads = self.threads
        native.enable_cpu_mem_arena = self.memory_arena
        native.enable_mem_pattern = self.memory_pattern
        level = _GRAPH_OPTIMIZATION[self.graph_optimization]
        native.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        native.log_severity_level = _LOG_SEVERITY[self.log_severity]
        native.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spinning)))
        native.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if self.profile is not None:
            native.enable_profiling = True
            native.profile_file_prefix = self.profile
        # Providers that fail to load complain to this one, before a session exists.
        onnxruntime.set_default_logger_severity(_LOG_SEVERITY[self.log_severity])
        return native

"""The settings of a session. All are explicit, so that they can be recorded with a result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from resnet_compile.checked import CheckedModel, Threads
from resnet_compile.runtime.backend import Backend

GraphOptimization = Literal["disabled", "basic", "extended", "all"]
ConvSearch = Literal["exhaustive", "heuristic"]
LogSeverity = Literal["verbose", "info", "warning", "error", "fatal"]

_GRAPH_OPTIMIZATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
LOG_SEVERITY = {"verbose": 0, "info": 1, "warning": 2, "error": 3, "fatal": 4}


class SessionOptions(CheckedModel):
    """How onnxruntime runs a model."""

    threads: Threads = 0
    """Threads within an operator; 0 for one per physical core."""

    spinning: bool = True
    """Whether idle threads spin while they wait for the next operator. This is faster for one session; two spinning
    sessions take cores from each other.
    """

    memory_arena: bool = True
    """Whether to keep freed CPU memory for the next run."""

    memory_pattern: bool = True
    """Whether to allocate all buffers of a run as one block, once the shapes are known."""

    graph_optimization: GraphOptimization = "all"
    """The level of onnxruntime's graph optimisations."""

    cache: bool = False
    """Whether to cache the model, as prepared for the CPU, in a folder beside its file, `MODEL.prepared`. From there it
    opens at once the next time, on a machine like this one.
    """

    tf32: bool = False
    """Whether CUDA may round the operands of float32 products to 10 bits of mantissa, which is faster. If not,
    onnxruntime does not use tensor cores for float16 convolutions either, although nothing is rounded there.
    """

    nhwc: bool = False
    """Whether CUDA runs convolutions and pooling in NHWC, the layout of its tensor cores."""

    conv_search: ConvSearch = "exhaustive"
    """How CUDA chooses a convolution's algorithm. ``exhaustive`` times the candidates, which suits fixed shapes.
    ``heuristic`` takes cuDNN's estimate, which shortens the first run of each new shape.
    """

    fuse_conv_bias: bool = False
    """Whether CUDA adds a convolution's bias within the convolution's kernel, where cuDNN can."""

    max_workspace: bool = True
    """Whether CUDA's convolutions may use algorithms that need much memory."""

    cpu_fallback: bool = True
    """Whether nodes that a GPU's provider does not support may run on the CPU; else such a model is refused."""

    engine_cache: str | None = None
    """Folder where TensorRT keeps its engines, which take minutes to build; None to keep none."""

    shapes: Mapping[str, tuple[int, ...]] | None = None
    """Shapes that TensorRT builds for, by input, if the model leaves them open; None for the shapes of each run."""

    cuda_graph: bool = False
    """Whether CUDA records a run and replays it; inputs and outputs must be bound."""

    profile: str | None = None
    """The path prefix of the profile to write; None for no profile."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""

    def native(self, backend: Backend, *, refuse_cpu: bool = False, written: Path | None = None) -> Any:
        """onnxruntime's session options; also sets the severity of its process-wide logger.

        Args:
            backend: Gives access to onnxruntime.
            refuse_cpu: Whether a node on the CPU is an error.
            written: Where to write the prepared model; None not to write it.
        """
        onnxruntime = backend.onnxruntime
        native = onnxruntime.SessionOptions()
        native.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        native.intra_op_num_threads = self.threads
        native.enable_cpu_mem_arena = self.memory_arena
        native.enable_mem_pattern = self.memory_pattern
        level = _GRAPH_OPTIMIZATION[self.graph_optimization]
        native.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        native.log_severity_level = LOG_SEVERITY[self.log_severity]
        native.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spinning)))
        native.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if refuse_cpu:
            # onnxruntime_session_options_config_keys.h: kOrtSessionOptionsDisableCPUEPFallback
            native.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if written is not None:
            # onnxruntime_session_options_config_keys.h: weights as the kernels take them, in a file to be mapped.
            native.optimized_model_filepath = str(written)
            external = "session.optimized_model_external_initializers"
            native.add_session_config_entry(f"{external}_file_name", f"{written.name}.data")
            native.add_session_config_entry(f"{external}_min_size_in_bytes", "1024")
            native.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
        if self.profile is not None:
            native.enable_profiling = True
            native.profile_file_prefix = self.profile
        # A provider that fails to load writes to this logger, before a session exists.
        onnxruntime.set_default_logger_severity(LOG_SEVERITY[self.log_severity])
        return native

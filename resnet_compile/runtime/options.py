"""The settings of a session, all explicit, so that they can be recorded with a result."""

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
    """Threads within an operator; 0 for one a physical core."""

    spinning: bool = True
    """Whether idle threads spin while they wait for the next operator. Faster for one session; two spinning sessions
    take each other's cores.
    """

    memory_arena: bool = True
    """Whether to keep freed CPU memory for the next run."""

    memory_pattern: bool = True
    """Whether to allocate all buffers of a run as one block, once the shapes are known."""

    graph_optimization: GraphOptimization = "all"
    """The level of onnxruntime's graph optimisations."""

    cache: bool = False
    """Whether the CPU keeps what it has made of a model's file in a folder beside it, `MODEL.prepared`, from which the
    model opens at once the next time, on a machine like this one.
    """

    tf32: bool = False
    """Whether CUDA may round the factors of float32 products to 10 bits of mantissa, which is faster. Without it,
    onnxruntime does not use tensor cores for float16 convolutions either, although it rounds nothing there.
    """

    nhwc: bool = False
    """Whether CUDA runs convolutions and pooling in NHWC, the layout of its tensor cores."""

    conv_search: ConvSearch = "exhaustive"
    """How CUDA finds the algorithm of a convolution: by timing the candidates, which suits fixed shapes, or by cuDNN's
    judgement, which makes the first run of each new shape shorter.
    """

    fuse_conv_bias: bool = False
    """Let CUDA add a convolution's biases in its kernel, where cuDNN can."""

    max_workspace: bool = True
    """Let CUDA's convolutions choose among algorithms that need much memory too."""

    cpu_fallback: bool = True
    """Whether nodes that a GPU's provider does not take may run on the CPU; else such a model is refused."""

    engine_cache: str | None = None
    """Folder where TensorRT keeps its engines, whose building takes minutes; None for none."""

    shapes: Mapping[str, tuple[int, ...]] | None = None
    """The shapes that TensorRT builds for, by input, where the model leaves them open; None for those of each run."""

    cuda_graph: bool = False
    """Whether CUDA records a run and replays it; inputs and outputs must be bound."""

    profile: str | None = None
    """The prefix of the path of a profile to write; None for no profile."""

    log_severity: LogSeverity = "fatal"
    """The least severe message that onnxruntime writes to stderr."""

    def native(self, backend: Backend, *, refuse_cpu: bool = False, written: Path | None = None) -> Any:
        """onnxruntime's session options; also sets the severity of its process-wide logger.

        Args:
            backend: Where onnxruntime is had from.
            refuse_cpu: Whether a node on the CPU is an error.
            written: Where to write the model as it is when it is ready, if anywhere.
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
        # Providers that fail to load complain to this one, before a session exists.
        onnxruntime.set_default_logger_severity(LOG_SEVERITY[self.log_severity])
        return native

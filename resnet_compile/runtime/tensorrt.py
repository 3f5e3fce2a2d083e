"""TensorRT: NVIDIA GPUs through onnxruntime's TensorRT provider, which builds an engine for the model and the GPU.

The model's graph sets the precision: float16 and int8 must stand in the graph. Earlier versions could also round a
model themselves; TensorRT 11 has neither the flags nor the calibrator for that.
"""

from __future__ import annotations

from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.cuda import CUDA, cuda_faults
from resnet_compile.runtime.options import SessionOptions
from resnet_compile.runtime.provider import CPU, DeviceFault, Provider

_NAME = "TensorrtExecutionProvider"
_LIBRARIES = {"win32": "nvinfer_10.dll"}
_LIBRARY = "libnvinfer.so.10"
"""The library that the provider is linked with, in onnxruntime's packages from 1.23 to 1.31."""


def _options(settings: SessionOptions, index: int) -> dict[str, str]:
    # https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#configurations
    options = {"device_id": str(index), "trt_cuda_graph_enable": str(int(settings.cuda_graph))}
    if settings.engine_cache is not None:
        # The timing cache makes the engine of a similar model faster to build.
        options |= {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}
        options |= {"trt_engine_cache_path": settings.engine_cache, "trt_timing_cache_path": settings.engine_cache}
    if settings.shapes:
        # One profile with equal least, best and greatest shapes; the three options go together.
        told = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in settings.shapes.items())
        options |= {f"trt_profile_{which}_shapes": told for which in ("min", "opt", "max")}
    return options


def _faults(index: int, backend: Backend) -> tuple[DeviceFault, ...]:
    if _NAME not in backend.onnxruntime.get_available_providers():
        message = f"the installed onnxruntime {backend.onnxruntime.__version__} is built without it"
        return (DeviceFault(message, 'pip uninstall onnxruntime, then pip install ".[cuda]"'),)
    faults = cuda_faults(index, backend)
    library = _LIBRARIES.get(backend.platform, _LIBRARY)
    try:
        backend.load_library(library)
    except OSError:
        return (*faults, DeviceFault(f"TensorRT 10 is missing ({library})", "pip install 'tensorrt>=10,<11'"))
    return faults


TENSORRT = Provider(
    kind="tensorrt",
    title="TensorRT",
    name=_NAME,
    target="tensorrt",
    rest=(CUDA, CPU),
    numbered=True,
    memory="cuda",
    asynchronous=True,
    records=True,
    options=_options,
    faults=_faults,
    slow=CUDA.slow,
    failure="tensorrt|nvinfer|cuda|cudnn|cublas",
)

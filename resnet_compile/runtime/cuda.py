"""CUDA: NVIDIA GPUs through onnxruntime's CUDA provider, and the faults that keep it from working.

Where CUDA does not work, onnxruntime itself opens a CPU session and writes a line to its log. So this module first
tries everything that the CUDA provider needs, and names what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections.abc import Iterator
from typing import Any

from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.options import SessionOptions
from resnet_compile.runtime.provider import CPU, DeviceFault, Provider

_NAME = "CUDAExecutionProvider"
INSTALL_HINT = 'pip install ".[cuda]"'


def _options(settings: SessionOptions, index: int) -> dict[str, str]:
    # https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#configuration-options
    return {
        "device_id": str(index),
        # Never DEFAULT: since 1.20 that is cudnn_frontend's HeurMode_t::FALLBACK, EXHAUSTIVE its mode B and HEURISTIC
        # its mode A (github.com/microsoft/onnxruntime/issues/22705). 206 ms became 4 ms without it in
        # github.com/PaddlePaddle/PaddleOCR/pull/17970.
        "cudnn_conv_algo_search": settings.conv_search.upper(),
        "cudnn_conv_use_max_workspace": str(int(settings.max_workspace)),  # 1 unless it is given
        # 0 unless it is given, and then a bias is a kernel of its own (cuda_execution_provider_info.h).
        "fuse_conv_bias": str(int(settings.fuse_conv_bias)),
        "use_tf32": str(int(settings.tf32)),  # 1 unless it is given
        "prefer_nhwc": str(int(settings.nhwc)),
        "enable_cuda_graph": str(int(settings.cuda_graph)),
    }


def cuda_faults(index: int, backend: Backend) -> tuple[DeviceFault, ...]:
    """Every known fault that keeps CUDA device `index` from working. Libraries that are found stay loaded."""
    if _NAME not in backend.onnxruntime.get_available_providers():
        version = backend.onnxruntime.__version__
        message = f"the installed onnxruntime {version} is built without it"
        return (DeviceFault(message, f"pip uninstall onnxruntime, then {INSTALL_HINT}"),)
    # onnxruntime finds the libraries that pip installed only because they stay loaded.
    return (*_driver_faults(index, backend), *_library_faults(backend))


def _cuda_major(backend: Backend) -> str:
    """Major version of the CUDA that the wheel was built with, such as ``13``; empty if the wheel does not say."""
    return str(getattr(backend.onnxruntime, "cuda_version", "")).partition(".")[0]


def _driver_faults(index: int, backend: Backend) -> Iterator[DeviceFault]:
    """Asks the driver for its version and for the device, through its C interface."""
    name = driver_library(backend)
    try:
        driver = backend.load_library(name)
    except OSError:
        yield DeviceFault(f"no NVIDIA driver ({name} does not load)", "install the NVIDIA driver")
        return
    status = driver.cuInit(0)
    if status != 0:
        yield DeviceFault(f"the NVIDIA driver finds no usable GPU (cuInit gives {status})", "check with nvidia-smi")
        return
    version, needed = driver_number(driver.cuDriverGetVersion), _cuda_major(backend)
    if needed.isdigit() and version // 1000 < int(needed):
        supported = f"{version // 1000}.{version % 1000 // 10}"
        message = f"the NVIDIA driver supports CUDA {supported} and onnxruntime needs {needed}"
        yield DeviceFault(message, "update the NVIDIA driver")
    count = driver_number(driver.cuDeviceGetCount)
    if index >= count:
        known = "no GPU" if count == 0 else f"only cuda:0 to cuda:{count - 1}" if count > 1 else "only cuda:0"
        yield DeviceFault(f"the NVIDIA driver knows {known}", "check with nvidia-smi")


def driver_library(backend: Backend) -> str:
    """The file name of the NVIDIA driver's library on this platform."""
    return "nvcuda.dll" if backend.platform == "win32" else "libcuda.so.1"


def driver_number(function: Any) -> int:
    """Calls a driver function that stores one int."""
    number = ctypes.c_int(0)
    function(ctypes.byref(number))
    return number.value


def bus_id(index: int, backend: Backend) -> str | None:
    """The PCI bus id of CUDA device `index`. CUDA and NVIDIA's tools share this id but number devices differently."""
    with contextlib.suppress(OSError):
        driver = backend.load_library(driver_library(backend))
        place = ctypes.create_string_buffer(32)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetPCIBusId(place, len(place), index) == 0:
            return place.value.decode()
    return None


def _library_faults(backend: Backend) -> Iterator[DeviceFault]:
    """Loads CUDA's libraries and cuDNN, from the packages that pip installs or from the system."""
    printed = io.StringIO()
    # onnxruntime reports what it cannot load by printing.
    with contextlib.redirect_stdout(printed):
        backend.onnxruntime.preload_dlls()
    missing = list(dict.fromkeys(re.findall(r"Failed to load (\S+):", printed.getvalue())))
    if missing:
        # Convolutions and matrix products need neither of these; onnxruntime 1.31 no longer links cuFFT.
        missing = [path for path in missing if not re.search("cufft|nvrtc", path)]
    if missing:
        names = ", ".join(re.split(r"[\\/]", path)[-1] for path in missing)
        yield DeviceFault(f"CUDA {_cuda_major(backend)} libraries are missing ({names})", INSTALL_HINT)
    cudnn = "cudnn64_9.dll" if backend.platform == "win32" else "libcudnn.so.9"
    try:
        # onnxruntime starts without cuDNN and then refuses convolutions.
        backend.load_library(cudnn)
    except OSError:
        yield DeviceFault(f"cuDNN 9 is missing ({cudnn})", INSTALL_HINT)


CUDA = Provider(
    kind="cuda",
    title="CUDA",
    name=_NAME,
    target="cuda",
    rest=(CPU,),
    numbered=True,
    memory="cuda",
    asynchronous=True,
    records=True,
    options=_options,
    faults=cuda_faults,
    # core/providers/cuda/nn/conv.cc: "OP Conv(NAME) running in Fallback mode. May be extremely slow."
    slow=r"OP (\w+\(.*?\)) running in Fallback mode",
    failure="cuda|cudnn|cublas",
)

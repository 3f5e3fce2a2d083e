"""Devices by name, and what keeps CUDA from being one of them.

onnxruntime itself answers a request for CUDA that it cannot meet with a CPU session and a line in its log. So
everything that its CUDA provider needs is tried first, and what is missing is said by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from resnet_compile.checked import CheckedModel, checked_call
from resnet_compile.errors import DeviceError, OptionError
from resnet_compile.runtime.backend import Backend, installed_backend

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
_INSTALL_HINT = 'pip install ".[cuda]"'


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model runs: ``cpu``, or a CUDA device by its index."""

    kind: Literal["cpu", "cuda"]
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"


CPU = Device("cpu")


@dataclass(frozen=True, slots=True)
class CudaFault:
    """One reason why CUDA cannot be used, and the command or step that helps."""

    message: str
    hint: str


@checked_call(CheckedModel)
def parse_device(name: str) -> Device | None:
    """``cpu``, ``cuda``, ``cuda:N`` as a device; ``auto`` as None, for which opening a session chooses.

    Raises:
        OptionError: The name is none of these.
    """
    if name == "auto":
        return None
    if name == "cpu":
        return CPU
    match = re.fullmatch(r"cuda(?::(\d{1,3}))?", name, re.ASCII)
    if match is None:
        raise OptionError(f"no device is called {name!r}", hint="one of auto, cpu, cuda, cuda:N")
    return Device("cuda", int(match[1] or 0))


def choose_device(name: str, backend: Backend | None = None) -> Device:
    """The device of a name, and of `auto` CUDA where nothing is known to keep it from working.

    Raises:
        OptionError: No device has that name.
        DeviceError: There is no onnxruntime.
    """
    wanted = parse_device(name)
    if wanted is not None:
        return wanted
    return CPU if cuda_faults(0, backend or installed_backend()) else Device("cuda")


def require_cuda(device: Device, backend: Backend) -> None:
    """Makes sure that a CUDA session can come up, and loads the libraries that it needs.

    Raises:
        DeviceError: Something is missing; the message names all of it.
    """
    faults = cuda_faults(device.index, backend)
    if faults:
        hints = dict.fromkeys(fault.hint for fault in faults)
        message = "; ".join(fault.message for fault in faults)
        raise DeviceError(f"CUDA is not usable: {message}", where=str(device), hint="; ".join(hints))


def cuda_faults(index: int, backend: Backend) -> tuple[CudaFault, ...]:
    """All that keeps a model from running on CUDA device `index`; empty when nothing is known to.

    Libraries that are found stay loaded, which is what lets onnxruntime find those that pip installed.
    """
    if CUDA_PROVIDER not in backend.onnxruntime.get_available_providers():
        version = backend.onnxruntime.__version__
        message = f"the installed onnxruntime {version} is built without it"
        return (CudaFault(message, f"pip uninstall onnxruntime, then {_INSTALL_HINT}"),)
    return (*_driver_faults(index, backend), *_library_faults(backend))


def _cuda_major(backend: Backend) -> str:
    """Major version of the CUDA that the wheel was built with, such as ``13``; empty where it does not say."""
    return str(getattr(backend.onnxruntime, "cuda_version", "")).partition(".")[0]


def _driver_faults(index: int, backend: Backend) -> Iterator[CudaFault]:
    """Asks the driver, by its C interface, for its version and for the device."""
    name = driver_library(backend)
    try:
        driver = backend.load_library(name)
    except OSError:
        yield CudaFault(f"no NVIDIA driver ({name} does not load)", "install the NVIDIA driver")
        return
    status = driver.cuInit(0)
    if status != 0:
        yield CudaFault(f"the NVIDIA driver finds no usable GPU (cuInit gives {status})", "check with nvidia-smi")
        return
    version, needed = driver_number(driver.cuDriverGetVersion), _cuda_major(backend)
    if needed.isdigit() and version // 1000 < int(needed):
        supported = f"{version // 1000}.{version % 1000 // 10}"
        message = f"the NVIDIA driver supports CUDA {supported} and onnxruntime needs {needed}"
        yield CudaFault(message, "update the NVIDIA driver")
    count = driver_number(driver.cuDeviceGetCount)
    if index >= count:
        known = "no GPU" if count == 0 else f"only cuda:0 to cuda:{count - 1}" if count > 1 else "only cuda:0"
        yield CudaFault(f"the NVIDIA driver knows {known}", "check with nvidia-smi")


def driver_library(backend: Backend) -> str:
    """What the NVIDIA driver's library is called on this platform."""
    return "nvcuda.dll" if backend.platform == "win32" else "libcuda.so.1"


def driver_number(function: Any) -> int:
    """Calls a driver function that stores one int."""
    number = ctypes.c_int(0)
    function(ctypes.byref(number))
    return number.value


def _library_faults(backend: Backend) -> Iterator[CudaFault]:
    """Loads CUDA's libraries and cuDNN, from the packages that pip installs or from the system."""
    printed = io.StringIO()
    # It reports what does not load by printing.
    with contextlib.redirect_stdout(printed):
        backend.onnxruntime.preload_dlls()
    missing = list(dict.fromkeys(re.findall(r"Failed to load (\S+):", printed.getvalue())))
    if missing:
        names = ", ".join(re.split(r"[\\/]", path)[-1] for path in missing)
        yield CudaFault(f"CUDA {_cuda_major(backend)} libraries are missing ({names})", _INSTALL_HINT)
    cudnn = "cudnn64_9.dll" if backend.platform == "win32" else "libcudnn.so.9"
    try:
        # onnxruntime starts without cuDNN and then refuses convolutions.
        backend.load_library(cudnn)
    except OSError:
        yield CudaFault(f"cuDNN 9 is missing ({cudnn})", _INSTALL_HINT)

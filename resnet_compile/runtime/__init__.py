"""Running models with onnxruntime: devices, sessions and what they ran on.

Only this package creates onnxruntime sessions. Importing it turns onnxruntime's telemetry off: since 1.29 onnxruntime
reports usage unless an environment variable forbids it before the first import. onnxruntime itself is slow to import,
so that waits until the first session is opened.
"""

import os

# Before the imports below, so that none of them can load onnxruntime first.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from resnet_compile.runtime.backend import Backend, installed_backend
from resnet_compile.runtime.binding import Binding
from resnet_compile.runtime.caches import cache_bytes, flusher
from resnet_compile.runtime.devices import Device, choose_device, parse_device, usable_devices
from resnet_compile.runtime.image_input import ImageInput, image_input
from resnet_compile.runtime.load import CpuState, cpu_state
from resnet_compile.runtime.machine import Cpu, Gpu, describe_cpu, describe_gpu, installed_packages, onnxruntime_wheels
from resnet_compile.runtime.nvml import THROTTLING, GpuMonitor, GpuState
from resnet_compile.runtime.options import SessionOptions
from resnet_compile.runtime.provider import DeviceFault, Provider
from resnet_compile.runtime.providers import AUTO, PROVIDERS
from resnet_compile.runtime.recurrence import Recurrence
from resnet_compile.runtime.session import Session, prepare
from resnet_compile.runtime.signature import TensorInfo

__all__ = [
    "AUTO",
    "PROVIDERS",
    "THROTTLING",
    "Backend",
    "Binding",
    "Cpu",
    "CpuState",
    "Device",
    "DeviceFault",
    "Gpu",
    "GpuMonitor",
    "GpuState",
    "ImageInput",
    "Provider",
    "Recurrence",
    "Session",
    "SessionOptions",
    "TensorInfo",
    "cache_bytes",
    "choose_device",
    "cpu_state",
    "describe_cpu",
    "describe_gpu",
    "flusher",
    "image_input",
    "installed_backend",
    "installed_packages",
    "onnxruntime_wheels",
    "parse_device",
    "prepare",
    "telemetry_is_off",
    "usable_devices",
]


def telemetry_is_off() -> bool:
    """Whether the environment still tells onnxruntime to report nothing."""
    return os.environ.get("ORT_DISABLE_TELEMETRY") == "1"

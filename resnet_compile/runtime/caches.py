"""The last-level cache: its size, and a way to empty it."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.cuda import driver_library
from resnet_compile.runtime.devices import Device

_CPU_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_L2_CACHE_SIZE = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE of cuda.h
_UNKNOWN = 64 * 2**20
"""Bytes to assume if the cache's size cannot be read; most caches are smaller."""
_TIMES = 2
"""The bytes to write, in sizes of the cache. Once its size would do if it evicted in the order of writing."""


def cache_bytes(device: Device, backend: Backend) -> int | None:
    """Bytes of the last-level cache: a GPU's L2, or a processor's largest; None if they cannot be read."""
    if not device.on_host:
        size = ctypes.c_int(0)
        try:
            driver = backend.load_library(driver_library(backend))
            status = driver.cuDeviceGetAttribute(ctypes.byref(size), _L2_CACHE_SIZE, device.index)
        except (OSError, AttributeError):
            return None
        return size.value if status == 0 and size.value > 0 else None
    sizes = []
    for path in _CPU_CACHES.glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KM])\s*", path.read_text("ascii", "replace"))
        if found:
            sizes.append(int(found[1]) * {"K": 2**10, "M": 2**20}[found[2]])
    return max(sizes, default=None)


def flusher(device: Device, backend: Backend) -> Callable[[], None]:
    """Returns a function that empties the last-level cache of a model's data by writing other memory of the device."""
    array = np.zeros(_TIMES * (cache_bytes(device, backend) or _UNKNOWN) // 4, np.float32)
    if device.on_host:

        def write() -> None:
            array.__iadd__(1.0)

        return write
    value: Any = backend.onnxruntime.OrtValue.ortvalue_from_numpy(array, device.provider.memory, device.index)
    return lambda: value.update_inplace(array)

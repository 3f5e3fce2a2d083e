"""A description of the machine: processor, GPU, installed packages. A value that cannot be read is None."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.cuda import bus_id, driver_library, driver_number

# The names of onnxruntime's wheels, which all install the same module.
_ONNXRUNTIME_WHEEL = re.compile(r"onnxruntime(-\w+)?")
_PACKAGES = ("click", "numpy", "onnx", "pillow", "protobuf", "pydantic", "resnet_compile", "rich")
_QUERY = ("name", "driver_version", "memory.total", "memory.used", "clocks.sm", "clocks.max.sm")


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor.

    Attributes:
        model: Its name.
        cores: The number of logical cores that this process may use.
        clock_mhz: The cores' mean clock now.
        governor: The policy that sets their clock, such as ``performance``.
        memory_mb: The machine's memory (10^6 bytes).
        load: Mean number of runnable processes over the last minute, which shows other work on the machine.
    """

    model: str
    cores: int
    clock_mhz: float | None
    governor: str | None
    memory_mb: int | None
    load: float | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device, as its driver and ``nvidia-smi`` describe it.

    Attributes:
        name: The product's name.
        driver: The driver's version.
        cuda: The newest CUDA that the driver supports.
        memory_mb: The device's memory in MiB.
        used_mb: The memory in use by all processes, in MiB.
        clock_mhz: The multiprocessors' clock now.
        max_clock_mhz: The multiprocessors' highest clock.
    """

    name: str
    driver: str
    cuda: str | None
    memory_mb: int | None
    used_mb: int | None
    clock_mhz: int | None
    max_clock_mhz: int | None


def describe_cpu() -> Cpu:
    """The processor that this process runs on."""
    information = _read(Path("/proc/cpuinfo"))
    model = re.search(r"^model name\s*: (.+)$", information, re.MULTILINE)
    clocks = [float(clock) for clock in re.findall(r"^cpu MHz\s*: ([\d.]+)$", information, re.MULTILINE)]
    governor = _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")).strip()
    memory = told_bytes(Path("/proc/meminfo"), "MemTotal")
    return Cpu(
        model[1] if model else platform.processor() or platform.machine(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        round(sum(clocks) / len(clocks)) if clocks else None,
        governor or None,
        None if memory is None else memory // 10**6,
        round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def processor_features() -> str:
    """The processor's architecture and instruction sets, which decide a library's kernels and weight layouts."""
    information = _read(Path("/proc/cpuinfo"))
    # Linux calls them flags on x86, features on ARM.
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", information, re.MULTILINE)
    told = " ".join(sorted(flags[1].split())) if flags else platform.processor()
    return f"{platform.machine()} {told}"


def describe_gpu(index: int, backend: Backend) -> Gpu | None:
    """CUDA device `index`; None if it does not exist or ``nvidia-smi`` is missing or does not describe it."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        place = bus_id(index, backend)
        if place is None:
            return None
        driver = backend.load_library(driver_library(backend))
        command = ["nvidia-smi", f"--id={place}", f"--query-gpu={','.join(_QUERY)}"]
        fields = [text.strip() for text in backend.output_of([*command, "--format=csv,noheader,nounits"]).split(",")]
        if len(fields) != len(_QUERY):
            return None
        version = driver_number(driver.cuDriverGetVersion)
        cuda = f"{version // 1000}.{version % 1000 // 10}"
        total, used, clock, highest = (int(text) if text.isdecimal() else None for text in fields[2:])
        return Gpu(fields[0], fields[1], cuda, total, used, clock, highest)
    return None


def installed_packages() -> dict[str, str]:
    """Versions, by name, of the packages that affect a result, with every onnxruntime wheel and CUDA package."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = str(distribution.metadata["Name"])
        if name in _PACKAGES or _ONNXRUNTIME_WHEEL.fullmatch(name) or name.startswith("nvidia-"):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def onnxruntime_wheels(packages: dict[str, str]) -> list[str]:
    """The packages that install the module `onnxruntime`. Several of them overwrite each other's files."""
    return [name for name in packages if _ONNXRUNTIME_WHEEL.fullmatch(name)]


def told_bytes(path: Path, field: str) -> int | None:
    """A field of one of Linux's status files, in bytes; None if the file or the field cannot be read."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", _read(path), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _read(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_text("utf-8", "replace")
    return ""

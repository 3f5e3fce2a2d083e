"""Where and when a benchmark runs."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from resnet_compile.runtime import Backend, Cpu, Device, Gpu, describe_cpu, describe_gpu, installed_packages


@dataclass(frozen=True, slots=True)
class Environment:
    """Where and when a benchmark ran.

    Attributes:
        time: When it began, ISO 8601.
        system: The operating system.
        python: Python's version.
        packages: Versions of the installed packages, by name.
        cpu: The processor.
        gpu: The CUDA device; None if none was used.
    """

    time: str
    system: str
    python: str
    packages: Mapping[str, str]
    cpu: Cpu
    gpu: Gpu | None


class Surroundings:
    """The machine at the start of a benchmark. Create it before the first run."""

    def __init__(self) -> None:
        self._time = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._cpu = describe_cpu()

    def environment(self, device: Device | None, backend: Backend) -> Environment:
        """The environment's record. `device` is the one that the models ran on; None if none was opened."""
        gpu = describe_gpu(device.index, backend) if device and not device.on_host else None
        versions = (platform.platform(), platform.python_version(), installed_packages())
        return Environment(self._time, *versions, self._cpu, gpu)

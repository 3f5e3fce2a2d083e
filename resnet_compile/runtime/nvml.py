"""What an NVIDIA GPU does while something runs on it, by NVIDIA's management library through `nvidia-ml-py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resnet_compile.errors import DeviceError
from resnet_compile.runtime.backend import Backend
from resnet_compile.runtime.cuda import bus_id

# https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
_REASONS = {
    0x001: "idle",
    0x002: "application clocks",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "power brake",
    0x100: "display clocks",
}
THROTTLING = frozenset(
    {"power cap", "hardware slowdown", "software thermal slowdown", "hardware thermal slowdown", "power brake"}
)
"""The reasons for which a GPU is slower than its clocks were set to; the others are what somebody chose."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU at one moment; None is what it does not tell.

    Attributes:
        sm_mhz: The multiprocessors' clock.
        memory_mhz: The memory's clock.
        application_sm_mhz: What the multiprocessors' clock is set to.
        application_memory_mhz: What the memory's clock is set to.
        temperature_c: In degrees Celsius.
        power_w: What it takes now.
        power_cap_w: The most that it may take.
        energy_j: What it has taken since the driver was loaded.
        reasons: Why its clocks are not higher.
    """

    sm_mhz: int | None
    memory_mhz: int | None
    application_sm_mhz: int | None
    application_memory_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    power_cap_w: float | None
    energy_j: float | None
    reasons: tuple[str, ...]

    @property
    def throttled(self) -> bool:
        """Whether it is slower than its clocks were set to."""
        return not THROTTLING.isdisjoint(self.reasons)


class GpuMonitor:
    """Asks the library for a GPU's state. `GpuMonitor.open` makes one."""

    def __init__(self, nvml: Any, handle: Any, name: str) -> None:
        self._nvml, self._handle, self._name = nvml, handle, name

    @classmethod
    def open(cls, index: int, backend: Backend) -> GpuMonitor | None:
        """The monitor of CUDA device `index`; None where the library or its Python package is missing."""
        nvml, place = backend.load_nvml(), bus_id(index, backend)
        if nvml is None or place is None:
            return None
        try:
            nvml.nvmlInit()
            return cls(nvml, nvml.nvmlDeviceGetHandleByPciBusId(place.encode()), f"cuda:{index}")
        except nvml.NVMLError:
            return None

    def state(self) -> GpuState:
        """The GPU now.

        Raises:
            DeviceError: It is lost.
        """
        nvml = self._nvml
        ask, sm, memory = self._ask, nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM
        bits = ask(nvml.nvmlDeviceGetCurrentClocksEventReasons)
        power, cap, energy = (
            ask(nvml.nvmlDeviceGetPowerUsage),
            ask(nvml.nvmlDeviceGetEnforcedPowerLimit),
            ask(nvml.nvmlDeviceGetTotalEnergyConsumption),
        )
        return GpuState(
            sm_mhz=ask(nvml.nvmlDeviceGetClockInfo, sm),
            memory_mhz=ask(nvml.nvmlDeviceGetClockInfo, memory),
            application_sm_mhz=ask(nvml.nvmlDeviceGetApplicationsClock, sm),
            application_memory_mhz=ask(nvml.nvmlDeviceGetApplicationsClock, memory),
            temperature_c=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            # The library counts in thousandths.
            power_w=None if power is None else power / 1e3,
            power_cap_w=None if cap is None else cap / 1e3,
            energy_j=None if energy is None else energy / 1e3,
            reasons=tuple(name for bit, name in _REASONS.items() if (bits or 0) & bit),
        )

    def _ask(self, question: Callable[..., int], *arguments: int) -> int | None:
        try:
            return question(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            if error.value == self._nvml.NVML_ERROR_GPU_IS_LOST:
                hint = "look into the kernel's log for Xid errors; the GPU needs a reset"
                raise DeviceError("the GPU is lost", where=self._name, hint=hint) from error
            return None

    def close(self) -> None:
        """Lets the library go."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

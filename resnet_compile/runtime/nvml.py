"""The state of an NVIDIA GPU during a run, read from NVIDIA's management library through `nvidia-ml-py`."""

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
"""The reasons that hold a GPU below the clocks it was set to. The other reasons are somebody's choice."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU's state at one moment. A value that the GPU does not report is None.

    Attributes:
        sm_mhz: The multiprocessors' clock.
        memory_mhz: The memory's clock.
        application_sm_mhz: The value to which the multiprocessors' clock is set.
        application_memory_mhz: The value to which the memory's clock is set.
        temperature_c: The temperature in degrees Celsius.
        power_w: The power that the GPU uses now.
        power_cap_w: The most power that the GPU may use.
        energy_j: The energy used since the driver was loaded.
        reasons: The reasons why the clocks are not higher.
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
        """Whether one of the reasons of `THROTTLING` applies."""
        return not THROTTLING.isdisjoint(self.reasons)


class GpuMonitor:
    """Asks the library for a GPU's state. `GpuMonitor.open` makes one."""

    def __init__(self, nvml: Any, handle: Any, name: str) -> None:
        self._nvml, self._handle, self._name = nvml, handle, name

    @classmethod
    def open(cls, index: int, backend: Backend) -> GpuMonitor | None:
        """The monitor of CUDA device `index`; None if the library or its Python package is missing."""
        nvml, place = backend.load_nvml(), bus_id(index, backend)
        if nvml is None or place is None:
            return None
        try:
            nvml.nvmlInit()
            return cls(nvml, nvml.nvmlDeviceGetHandleByPciBusId(place.encode()), f"cuda:{index}")
        except nvml.NVMLError:
            return None

    def state(self) -> GpuState:
        """The GPU's present state.

        Raises:
            DeviceError: The GPU is lost.
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
        """Shuts the library down."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

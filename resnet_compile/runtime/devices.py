"""Devices by name: `cpu`, `cuda:1`, and `auto`, which finds one that works."""

from __future__ import annotations

import re
from dataclasses import dataclass

from resnet_compile.checked import CheckedModel, checked_call
from resnet_compile.errors import DeviceError, OptionError
from resnet_compile.runtime.backend import Backend, installed_backend
from resnet_compile.runtime.provider import DeviceFault, Provider
from resnet_compile.runtime.providers import AUTO, PROVIDERS


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model runs: one device of a provider."""

    provider: Provider
    index: int = 0

    @property
    def on_host(self) -> bool:
        """Whether the device works in host memory, so that nothing is copied to it or back."""
        return self.provider.memory == "cpu"

    def faults(self, backend: Backend) -> tuple[DeviceFault, ...]:
        """Every known fault that keeps a model from running here; empty if none is known."""
        return tuple(self.provider.faults(self.index, backend))

    def require(self, backend: Backend) -> None:
        """Checks that a session can be opened here, and loads the libraries that it needs.

        Raises:
            DeviceError: Something is missing; the message names all of it.
        """
        if faults := self.faults(backend):
            hints = dict.fromkeys(fault.hint for fault in faults)
            message = f"{self.provider.title} is not usable: {'; '.join(fault.message for fault in faults)}"
            raise DeviceError(message, where=str(self), hint="; ".join(hints))

    def __str__(self) -> str:
        return f"{self.provider.kind}:{self.index}" if self.provider.numbered else self.provider.kind


@checked_call(CheckedModel)
def parse_device(name: str) -> Device | None:
    """The device with this name, such as ``cpu`` or ``cuda:1``; None for ``auto``, which `Session.open` resolves.

    Raises:
        OptionError: No device has that name.
    """
    if name == "auto":
        return None
    for provider in PROVIDERS:
        number = r"(?::(\d{1,3}))?" if provider.numbered else "()"
        if match := re.fullmatch(provider.kind + number, name, re.ASCII):
            return Device(provider, int(match[1] or 0))
    kinds = (f"{each.kind}, {each.kind}:N" if each.numbered else each.kind for each in PROVIDERS)
    raise OptionError(f"device must be one of auto, {', '.join(kinds)}, got {name!r}")


def usable_devices(backend: Backend) -> tuple[Device, ...]:
    """The first device of every provider and engine, where nothing is known to keep it from working."""
    return tuple(device for device in map(Device, PROVIDERS) if not device.faults(backend))


def choose_device(name: str, backend: Backend | None = None) -> Device:
    """The device with this name; for `auto`, the first without a known fault.

    Raises:
        OptionError: No device has that name.
        DeviceError: onnxruntime is missing or does not load.
    """
    if (wanted := parse_device(name)) is not None:
        return wanted
    backend = backend or installed_backend()
    return next(device for device in map(Device, AUTO) if not device.faults(backend))

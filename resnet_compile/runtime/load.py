"""The load of a machine's processors and their energy, read from Linux; None if they cannot be read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class CpuState:
    """The processors' state at one moment.

    Attributes:
        load: Mean number of runnable processes over the last minute.
        busy_ticks: Ticks of all processors since the system started, idle ones included.
        stolen_ticks: The ticks among them that other guests of the same host took.
        affinity: The processors that this process may use.
        energy_uj: For each processor package, its energy counter in microjoules, and the counter's highest value before
            it starts again from 0.
    """

    load: float | None
    busy_ticks: int | None
    stolen_ticks: int | None
    affinity: tuple[int, ...]
    energy_uj: tuple[tuple[int, int], ...]

    def stolen_since(self, before: CpuState) -> float | None:
        """The fraction of all processors' time since `before` that other guests took; None if unknown."""
        if None in (self.busy_ticks, before.busy_ticks, self.stolen_ticks, before.stolen_ticks):
            return None
        busy = (self.busy_ticks or 0) - (before.busy_ticks or 0)
        return ((self.stolen_ticks or 0) - (before.stolen_ticks or 0)) / busy if busy > 0 else None

    def joules_since(self, before: CpuState) -> float | None:
        """The energy in joules that the packages used since `before`; None if unknown."""
        if not self.energy_uj or len(self.energy_uj) != len(before.energy_uj):
            return None
        pairs = zip(self.energy_uj, before.energy_uj, strict=True)
        return sum((now - then) % (most + 1) for (now, most), (then, _) in pairs) / 1e6


def cpu_state() -> CpuState:
    """The processors' present state."""
    # "cpu", then ticks: user, nice, system, idle, iowait, irq, softirq, steal; the guests' are in user's (proc(5)).
    ticks = [int(word) for word in _text(_STAT).partition("\n")[0].split()[1:9]]
    known = len(ticks) == 8
    return CpuState(
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        busy_ticks=sum(ticks) if known else None,
        stolen_ticks=ticks[7] if known else None,
        affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (),
        energy_uj=_energy(),
    )


def _energy() -> tuple[tuple[int, int], ...]:
    """The counters of all packages; empty if one cannot be read. Since 2020 only root may read them (CVE-2020-8694)."""
    found = []
    for package in sorted(_POWERCAP.glob("intel-rapl:*")):  # AMD's too
        if package.name.count(":") > 1:  # a part of a package
            continue
        now, most = _text(package / "energy_uj").strip(), _text(package / "max_energy_range_uj").strip()
        if not (now.isdecimal() and most.isdecimal()):
            return ()
        found.append((int(now), int(most)))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""

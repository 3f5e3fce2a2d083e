"""A description of the machine that ran a benchmark, as a line and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resnet_compile.bench.conditions import Conditions
from resnet_compile.bench.environment import Environment
from resnet_compile.runtime import THROTTLING, GpuState


def machine_line(environment: Environment, session: Mapping[str, Any]) -> str:
    """The hardware and threads of a session, in one line."""
    cpu, gpu, threads = environment.cpu, environment.gpu, session["options"]["threads"]
    words = [f"{gpu.name}, driver {gpu.driver}"] if gpu else []
    words += [f"{cpu.model}, {cpu.cores} core{'s' if cpu.cores > 1 else ''}"]
    words += [session["engine"]]
    words += [f"{threads} thread{'s' if threads > 1 else ''}" if threads else "a thread for each core"]
    if cpu.load is not None:
        words.append(f"load {cpu.load:.1f} at the start")
    return ", ".join(words)


def machine_rows(environment: Environment, session: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The known properties of the machine, as names and values."""
    cpu, gpu = environment.cpu, environment.gpu
    rows = [
        ("processor", f"{cpu.model}, {cpu.cores} cores"),
        ("clock", f"{cpu.clock_mhz:.0f} MHz{f', {cpu.governor}' if cpu.governor else ''}" if cpu.clock_mhz else ""),
        ("memory", f"{cpu.memory_mb:,} MB" if cpu.memory_mb else ""),
        ("load at the start", "" if cpu.load is None else f"{cpu.load:.2f}"),
        ("GPU", f"{gpu.name}, {gpu.memory_mb or '?'} MiB" if gpu else ""),
        ("GPU driver", f"{gpu.driver}, CUDA to {gpu.cuda}" if gpu else ""),
        ("GPU clock", f"{gpu.clock_mhz} of {gpu.max_clock_mhz} MHz" if gpu and gpu.clock_mhz else ""),
        ("system", f"{environment.system}, Python {environment.python}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in environment.packages.items())),
        ("session", ", ".join(f"{key} {value}" for key, value in session["options"].items() if value is not None)),
    ]
    return ((name, value) for name, value in rows if value)


def conditions_line(each: Sequence[Conditions], throttled: int = 0, images_per_joule: float | None = None) -> str:
    """The state of the machine during a measurement, in one line.

    Args:
        each: The conditions of each part of the measurement.
        throttled: The number of runs on a throttled GPU.
        images_per_joule: Images for each joule; None if unknown.
    """
    words = []
    loads = [load for one in each for load in (one.cpu_before.load, one.cpu_after.load) if load is not None]
    if loads:
        words.append(f"load {min(loads):.1f} to {max(loads):.1f}")
    stolen = [one.stolen for one in each if one.stolen is not None]
    if stolen:
        words.append(f"{max(stolen):.1%} of the processors' time stolen by other guests")
    for name, which in (("SM", _sm_clock), ("memory", _memory_clock)):
        ranges = [found for one in each if (found := one.clocks(which))]
        if ranges:
            low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
            words.append(f"{name} clock {low if low == high else f'{low} to {high}'} MHz")
    reasons = [reason for reason in dict.fromkeys(r for one in each for r in one.reasons) if reason in THROTTLING]
    if reasons:
        words.append(f"GPU throttled ({', '.join(reasons)}){f' in {throttled} runs' if throttled else ''}")
    source = next((one.energy_of for one in each if one.energy_of), None)
    if images_per_joule:
        words.append(f"{images_per_joule:.3g} images per joule ({source})")
    elif source is None:
        words.append("energy not readable")
    return f"meanwhile: {', '.join(words)}"


def _sm_clock(state: GpuState) -> int | None:
    return state.sm_mhz


def _memory_clock(state: GpuState) -> int | None:
    return state.memory_mhz

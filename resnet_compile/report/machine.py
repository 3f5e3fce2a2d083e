"""The machine that a benchmark ran on, in a line and in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resnet_compile.bench.environment import Environment


def machine_line(environment: Environment, session: Mapping[str, Any]) -> str:
    """What a session ran on, in a line."""
    cpu, gpu, threads = environment.cpu, environment.gpu, session["options"]["threads"]
    words = [f"{gpu.name}, driver {gpu.driver}"] if gpu else []
    words += [f"{cpu.model}, {cpu.cores} core{'s' if cpu.cores > 1 else ''}"]
    words += [f"onnxruntime {session['onnxruntime']}"]
    words += [f"{threads} thread{'s' if threads > 1 else ''}" if threads else "a thread for each core"]
    if cpu.load is not None:
        words.append(f"load {cpu.load:.1f} at the start")
    return ", ".join(words)


def machine_rows(environment: Environment, session: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All that is known of it, as names and values; what is not known is left out."""
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

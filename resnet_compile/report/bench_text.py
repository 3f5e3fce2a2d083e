"""A benchmark as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resnet_compile.bench import Bench, Interval, Row, Verdict
from resnet_compile.bench.profile import Profile, Share
from resnet_compile.bench.record import Sized
from resnet_compile.report.table import Cell, table

INTERRUPTED = "Interrupted: this is what was measured until then."
_GPU_MEMORY = "GPU MiB"
_COLUMNS: dict[str, Callable[[Row], Cell]] = {
    "model": lambda row: row.model,
    "batch": lambda row: row.batch,
    "data": lambda row: row.data,
    "p50 ms": lambda row: row.summary.p50 * 1e3,
    "p90 ms": lambda row: row.summary.p90 * 1e3,
    "p99 ms": lambda row: row.summary.p99 * 1e3,
    "images/s": lambda row: row.images_per_second,
    "GFLOP/s": lambda row: row.gflops,
    "load s": lambda row: row.load_seconds,
    "first run s": lambda row: row.first_run_seconds,
    "memory MB": lambda row: None if row.memory_bytes is None else row.memory_bytes // 10**6,
    _GPU_MEMORY: lambda row: row.gpu_memory_mib,
}


def bench_text(bench: Bench) -> str:
    """The table of all rows, the comparisons and the profile."""
    header, cells = row_columns(bench.rows)
    parts = [f"on {bench.device} ({bench.device_reason}): {machine(bench)}", table(header, cells)]
    if bench.comparisons:
        parts.append("\n".join(map(_comparison, bench.comparisons)))
    if bench.profile:
        parts += _profile(bench.profile, asynchronous=bench.asynchronous)
    if bench.interrupted:
        parts.append(INTERRUPTED)
    return "\n" + "\n\n".join(parts)


def machine(bench: Bench) -> str:
    """What the benchmark ran on, in a line."""
    environment = bench.environment
    cpu, gpu = environment.cpu, environment.gpu
    words = [f"{gpu.name}, driver {gpu.driver}"] if gpu else []
    words += [f"{cpu.model}, {cpu.cores} core{'s' if cpu.cores > 1 else ''}"]
    words += [f"onnxruntime {bench.rows[0].session['onnxruntime']}", _threads(bench.options.threads)]
    if cpu.load is not None:
        words.append(f"load {cpu.load:.1f} at the start")
    return ", ".join(words)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}" if count else "a thread for each core"


def row_columns(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Header and cells of the table of rows."""
    on_gpu = any(row.gpu_memory_mib is not None for row in rows)
    columns = {name: cell for name, cell in _COLUMNS.items() if on_gpu or name != _GPU_MEMORY}
    return list(columns), [[cell(row) for cell in columns.values()] for row in rows]


def interval(value: Interval) -> str:
    """``0.996 [0.954, 1.031]``."""
    return f"{value.median:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _comparison(sized: Sized) -> str:
    comparison = sized.comparison
    verdict = str(comparison.verdict)
    if comparison.verdict in (Verdict.FASTER, Verdict.SLOWER):
        verdict = f"{comparison.model} is {verdict}"
    return (
        f"{comparison.model} / {comparison.other}, batch {sized.batch}, data: {sized.data}\n"
        f"  ratio {interval(comparison.ratio)}, A/A control {interval(comparison.control)}: {verdict}"
    )


def _profile(profile: Profile, *, asynchronous: bool) -> list[str]:
    def shares(title: str, found: Sequence[Share]) -> str:
        rows: list[list[Cell]] = [
            [share.name, share.seconds * 1e3, 100 * share.fraction, share.nodes] for share in found
        ]
        return table([title, "ms a run", "%", "nodes"], rows)

    note = "On a GPU these are the times that the host takes to start the work."
    tables = [shares("operator", profile.by_operator()), shares("scope", profile.by_scope())]
    return [note, *tables] if asynchronous else tables

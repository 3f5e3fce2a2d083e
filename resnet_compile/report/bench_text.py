"""A benchmark as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from resnet_compile.bench import Bench, Comparison, Interval, Row, Verdict
from resnet_compile.bench.binomial import runs_for
from resnet_compile.bench.profile import Profile, Share
from resnet_compile.bench.record import Sized
from resnet_compile.bench.statistics import LEVEL, PERCENTILES
from resnet_compile.precision import Float32
from resnet_compile.report.machine import conditions_line, machine_line
from resnet_compile.report.svg import number
from resnet_compile.report.table import Cell, table

INTERRUPTED = "Interrupted: this is what was measured until then."
_GPU_MEMORY, _ERROR = "GPU MiB", "error"
_INTERVAL = f"{100 * LEVEL:.0f} % interval"
_LAYERS = 20  # the most layers of a profile that are printed
_COLUMNS: dict[str, Callable[[Row], Cell]] = {
    "model": lambda row: row.model,
    "batch": lambda row: row.batch,
    "data": lambda row: row.data,
    "p50 ms": lambda row: row.summary.p50 * 1e3,
    _INTERVAL: lambda row: _interval_of_median(row),
    "p90 ms": lambda row: milliseconds(row.summary.p90),
    "p99 ms": lambda row: milliseconds(row.summary.p99),
    "images/s": lambda row: row.images_per_second,
    "GFLOP/s": lambda row: row.gflops,
    _ERROR: lambda row: f"{row.error:.1e}" if row.error is not None else None,
    "load s": lambda row: row.load_seconds,
    "first run s": lambda row: row.first_run_seconds,
    "memory MB": lambda row: None if row.memory_bytes is None else row.memory_bytes // 10**6,
    _GPU_MEMORY: lambda row: row.gpu_memory_mib,
}


def _interval_of_median(row: Row) -> str | None:
    found = row.summary.intervals.get("p50")
    return found and f"[{number(found[0] * 1e3)}, {number(found[1] * 1e3)}]"


def milliseconds(seconds: float | None) -> float | None:
    """Seconds in milliseconds; None stays None."""
    return None if seconds is None else seconds * 1e3


def bench_text(bench: Bench) -> str:
    """The table of all rows, the comparisons and the profile."""
    header, cells = row_columns(bench.rows)
    parts = [
        f"on {bench.device} ({reason(bench.device_reason)}): {machine_line(bench.environment, bench.rows[0].session)}",
        table(header, cells),
    ]
    if bench.asynchronous:
        parts.append("\n".join(dict.fromkeys(map(placement, bench.rows))))
    parts += conditions_lines(bench.rows)
    fewest = min(len(row.seconds) for row in bench.rows)
    if any(row.summary.p99 is None for row in bench.rows):
        needed = {name: runs_for(part, LEVEL) for name, part in PERCENTILES.items()}
        missing = [f"{name} needs {count} runs" for name, count in needed.items() if name != "p50" and count > fewest]
        parts.append(f"-: not known; {' and '.join(missing)} (--steps).")
    if bench.comparisons:
        parts.append("\n".join(map(_comparison, bench.comparisons)))
    if len({row.session["device"] for row in bench.rows}) > 1:
        parts.append("\n".join(fastest_lines(bench.rows, bench.comparisons)))
    if bench.profile:
        parts += _profile(bench.profile, asynchronous=bench.asynchronous)
    if bench.interrupted:
        parts.append(INTERRUPTED)
    return "\n" + "\n\n".join(parts)


def conditions_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The state of the machine, one line for each group of rows that were timed in turn."""
    for first in {(row.batch, row.data): row for row in reversed(rows)}.values():
        if first.conditions:
            yield conditions_line(first.conditions, first.throttled, first.images_per_joule)


def placement(row: Row) -> str:
    """The number of a model's nodes on each execution provider, and the types of those on the CPU."""
    nodes = row.session["nodes"]
    if nodes is None:
        return f"{row.model}: this onnxruntime does not tell which nodes run where"
    told = [f"{sum(types.values())} on {name.removesuffix('ExecutionProvider')}" for name, types in nodes.items()]
    on_cpu = nodes.get("CPUExecutionProvider", {})
    types = ", ".join(f"{count} {name}" for name, count in on_cpu.items())
    return f"{row.model}: nodes {', '.join(told)}{f' ({types})' if types else ''}"


def reason(words: str) -> str:
    """The first words of the reason why a device was chosen; the record holds the whole text."""
    first = words.partition("; ")[0].removeprefix("auto: ").removeprefix("CUDA is not usable: ")
    return first.partition(" (")[0]


def row_columns(rows: Sequence[Row]) -> tuple[list[str], list[list[Cell]]]:
    """Header and cells of the table of rows."""
    told = {_GPU_MEMORY: (row.gpu_memory_mib for row in rows), _ERROR: (row.error for row in rows)}
    unknown = {name for name, values in told.items() if all(value is None for value in values)}
    columns = {name: cell for name, cell in _COLUMNS.items() if name not in unknown}
    return list(columns), [[cell(row) for cell in columns.values()] for row in rows]


def interval(value: Interval) -> str:
    """``0.996 [0.954, 1.031]``."""
    return f"{value.median:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _comparison(sized: Sized) -> str:
    comparison = sized.comparison
    return (
        f"{comparison.model} takes {interval(comparison.ratio)} times as long as {comparison.other}: "
        f"{verdict(comparison)}\n"
        f"  batch {sized.batch}, data: {sized.data}, A/A control {interval(comparison.control)}"
    )


def fastest_lines(rows: Sequence[Row], comparisons: Sequence[Sized]) -> Iterator[str]:
    """For each batch size the fastest device, and if its outputs are others than the first's, the fastest without."""
    for batch in dict.fromkeys(row.batch for row in rows):
        first, *others = (row for row in rows if row.batch == batch)
        told = [each.comparison for each in comparisons if each.batch == batch]
        ahead = {each.other for each in told if each.verdict is Verdict.SLOWER}
        ranked = [*sorted((row for row in others if row.model in ahead), key=lambda row: row.summary.p50), first]
        fastest, exact = ranked[0], next(row for row in ranked if row is first or _is_exact(row))
        if fastest is first:
            yield f"batch {batch}: none is seen to be faster here than {_device(first)}"
            continue
        words = "" if fastest.error is None else f", with outputs {fastest.error:.1e} from those on {_device(first)}"
        words += "" if exact is fastest else f"; with the same outputs, {_device(exact)}"
        yield f"batch {batch}: fastest here is {_device(fastest)}{words}"


def _is_exact(row: Row) -> bool:
    """Whether float32 sums in another order explain the error."""
    return row.error is not None and row.error <= Float32.bound


def _device(row: Row) -> str:
    return str(row.session["device"])


def verdict(comparison: Comparison) -> str:
    """The verdict of a comparison, with the name of the faster model."""
    faster = {Verdict.FASTER: comparison.model, Verdict.SLOWER: comparison.other}.get(comparison.verdict)
    return f"{faster} is faster" if faster else str(comparison.verdict)


def _profile(profile: Profile, *, asynchronous: bool) -> list[str]:
    def shares(title: str, found: Sequence[Share]) -> str:
        rows: list[list[Cell]] = [
            [share.name, share.seconds * 1e3, 100 * share.fraction, share.nodes] for share in found
        ]
        return table([title, "ms a run", "%", "nodes"], rows)

    heading = f"{profile.model}, batch {profile.batch}: where the time goes, on average over {profile.runs} runs"
    layers = sorted(profile.by_layer(), key=lambda share: -share.seconds)
    slowest = f"layer, slowest {_LAYERS} of {len(layers)}" if len(layers) > _LAYERS else "layer"
    note = "On a GPU these are the times that the host takes to start the work."
    tables = [
        shares("operator", profile.by_operator()),
        shares("block", profile.by_scope()),
        shares(slowest, layers[:_LAYERS]),
    ]
    return [heading, note, *tables] if asynchronous else [heading, *tables]

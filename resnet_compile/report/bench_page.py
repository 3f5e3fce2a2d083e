"""A benchmark as one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from resnet_compile.bench import Bench, Row, Verdict
from resnet_compile.report import charts
from resnet_compile.report.bench_text import INTERRUPTED, conditions_lines, reason, row_columns, verdict
from resnet_compile.report.machine import machine_line, machine_rows
from resnet_compile.report.page import legend, note, page, section, table, tiles
from resnet_compile.report.svg import element, number, series
from resnet_compile.report.table import Cell

_NOISY = "The A/A control leaves 1 out: the machine is too noisy to conclude from these comparisons."


def bench_page(bench: Bench) -> str:
    """The HTML page, with style and drawings embedded."""
    models = list(dict.fromkeys(row.model for row in bench.rows))
    styles = {model: series(position) for position, model in enumerate(models)}
    place = machine_line(bench.environment, bench.rows[0].session)
    body = [
        element("h1", escape(models[0])),
        element("p", escape(f"Forward pass on {place} · {bench.environment.time[:16].replace('T', ' at ')}")),
        *(element("p", escape(line[0].upper() + line[1:])) for line in conditions_lines(bench.rows)),
        note(INTERRUPTED) if bench.interrupted else "",
        note(_NOISY) if any(each.comparison.verdict == Verdict.TOO_NOISY for each in bench.comparisons) else "",
        _tiles(bench.rows[0]),
        *_latency(bench, styles),
        _comparisons(bench, styles),
        *_sweep(bench, styles),
        _profile(bench),
        section("All figures", "", table(*row_columns(bench.rows), words=(0, 2, 4))),
        section("Environment", "", table([], _environment(bench))),
    ]
    return page(f"resnet-bench: {models[0]}", *body)


def _tiles(row: Row) -> str:
    figures = [
        (f"{number(row.summary.p50 * 1e3)} ms", f"median, batch {row.batch}"),
        (number(row.images_per_second), f"images a second, batch {row.batch}"),
        *([(number(row.gflops), f"GFLOP a second, batch {row.batch}")] if row.gflops else []),
        *([(f"{row.memory_bytes / 1e6:,.0f} MB", "memory at most")] if row.memory_bytes is not None else []),
    ]
    return tiles(figures)


def _latency(bench: Bench, styles: dict[str, str]) -> Iterator[str]:
    for batch, data in dict.fromkeys((row.batch, row.data) for row in bench.rows):
        rows = [row for row in bench.rows if (row.batch, row.data) == (batch, data)]
        explanation = (
            f"{len(rows[0].seconds)} runs each; dashed lines are the median and, where the runs are enough for it, the "
            "99th percentile."
        )
        seconds = {row.model: row.seconds for row in rows}
        drawings = (charts.latency(seconds, styles), charts.timeline(seconds, styles))
        yield section(f"Latency at batch {batch}{_told(data)}", explanation, *drawings)


def _told(data: str) -> str:
    return "" if data == "host" else f", data: {data}"


def _comparisons(bench: Bench, styles: dict[str, str]) -> str:
    if not bench.comparisons:
        return ""
    first = bench.comparisons[0].comparison
    explanation = (
        f"Time of {first.model} over that of the other model in the same round: median and {first.ratio.level:.0%} "
        f"interval. The control is a second session of {first.model}."
    )
    verdicts = [
        [f"{sized.comparison.other}, batch {sized.batch}, {sized.data}", verdict(sized.comparison)]
        for sized in bench.comparisons
    ]
    return section("Comparison", explanation, charts.ratios(bench.comparisons, styles), table([], verdicts))


def _sweep(bench: Bench, styles: dict[str, str]) -> Iterator[str]:
    if len({row.batch for row in bench.rows}) < 2:
        return
    for data in dict.fromkeys(row.data for row in bench.rows):
        rates: dict[str, list[tuple[int, float]]] = {}
        medians: dict[str, list[tuple[int, float]]] = {}
        for row in sorted((row for row in bench.rows if row.data == data), key=lambda row: row.batch):
            rates.setdefault(row.model, []).append((row.batch, row.images_per_second))
            medians.setdefault(row.model, []).append((row.batch, row.summary.p50 * 1e3))
        drawings = (
            charts.sweep(rates, styles, "images a second"),
            charts.sweep(medians, styles, "milliseconds (median)"),
        )
        yield section(f"Batch sizes{_told(data)}", "", legend(styles), *drawings)


def _profile(bench: Bench) -> str:
    if not bench.profile:
        return ""
    on_gpu = "; on a GPU, what the host takes to start the work." if bench.asynchronous else "."
    layers: list[list[Cell]] = [
        [share.name, share.seconds * 1e3, 100 * share.fraction, share.nodes] for share in bench.profile.by_layer()
    ]
    return section(
        "Where the time goes",
        f"{bench.profile.model} at batch {bench.profile.batch}: milliseconds of a run by onnxruntime's profile, on "
        f"average over {bench.profile.runs} runs{on_gpu}",
        charts.shares(bench.profile.by_scope(), "Time by block"),
        element("h2", "By operator"),
        charts.shares(bench.profile.by_operator(), "Time by operator"),
        element("h2", "By layer"),
        table(["layer", "ms a run", "%", "nodes"], layers),
    )


def _environment(bench: Bench) -> list[list[str]]:
    protocol, session = bench.options.protocol, bench.rows[0].session
    rows = [
        ("device", f"{bench.device} ({reason(bench.device_reason)})"),
        *machine_rows(bench.environment, session),
        ("protocol", f"{protocol.burn_in} burn-in and {len(bench.rows[0].seconds)} timed runs"),
        ("inputs", f"random, {bench.rows[0].buffers} in rotation"),
    ]
    return [[name, value] for name, value in rows]

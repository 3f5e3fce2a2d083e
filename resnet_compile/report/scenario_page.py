"""The run of a scenario as one self-contained page."""

from __future__ import annotations

from html import escape

from resnet_compile.bench import ScenarioRun
from resnet_compile.report import charts
from resnet_compile.report.bench_text import INTERRUPTED, reason
from resnet_compile.report.machine import machine_line, machine_rows
from resnet_compile.report.page import note, page, section, table, tiles
from resnet_compile.report.scenario_text import result, trial_columns, verdict
from resnet_compile.report.svg import element, number, series


def scenario_page(run: ScenarioRun) -> str:
    """The HTML page, with style and drawings embedded."""
    told = run.best or run.trials[-1]
    styles = {run.model: series(0)}
    seconds = {run.model: told.queries.latencies}
    header, cells = trial_columns(run)
    words = [position for position, name in enumerate(header) if name in ("95 % interval", "in time")]
    figures = [
        (result(run) or "none", run.result_name),
        (number(told.images_per_second), f"images a second, batch {told.batch}"),
        (f"{number(told.summary.p50 * 1e3)} ms", "median of the queries"),
    ]
    environment = [
        ["device", f"{run.device} ({reason(run.device_reason)})"],
        *map(list, machine_rows(run.environment, run.session)),
        ["samples", f"random, {run.loaded:,} in memory"],
    ]
    what = "batches" if run.options.scenario == "offline" else "queries"
    return page(
        f"resnet-bench: {run.model}",
        element("h1", escape(f"{run.model}: {run.title}")),
        element(
            "p",
            escape(f"{machine_line(run.environment, run.session)} · {run.environment.time[:16].replace('T', ' at ')}"),
        ),
        note(INTERRUPTED) if run.interrupted else "",
        *(note(line) for line in verdict(run)[1:]),
        tiles(figures),
        section(
            "Latency",
            f"{len(told.queries.latencies):,} {what} at batch {told.batch}.",
            charts.latency(seconds, styles),
            charts.timeline(seconds, styles),
        ),
        section("Trials" if len(run.trials) > 1 else "All figures", "", table(header, cells, words=words)),
        section("Environment", "", table([], environment)),
    )

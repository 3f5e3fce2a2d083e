"""The run of a scenario as text."""

from __future__ import annotations

from resnet_compile.bench import ScenarioRun, Trial
from resnet_compile.bench.scenario_record import NOTICE
from resnet_compile.bench.statistics import PERCENTILES
from resnet_compile.report.bench_text import INTERRUPTED, milliseconds, reason
from resnet_compile.report.machine import conditions_line, machine_line
from resnet_compile.report.svg import number
from resnet_compile.report.table import Cell, table


def scenario_text(run: ScenarioRun) -> str:
    """The result, the rules that the run falls short of, and a table of the trials."""
    parts = [
        f"on {run.device} ({reason(run.device_reason)}): {machine_line(run.environment, run.session)}",
        "\n".join(verdict(run)),
    ]
    parts.append(table(*trial_columns(run)))
    told = run.best or run.trials[-1]
    if told.conditions:
        parts.append(conditions_line([told.conditions], images_per_joule=told.images_per_joule))
    if run.interrupted:
        parts.append(INTERRUPTED)
    return "\n" + "\n\n".join(parts)


def verdict(run: ScenarioRun) -> list[str]:
    """Lines with the result of the run, and with the rules that it falls short of."""
    lines = [f"{run.model}, {run.title}: {run.result_name}: {result(run) or 'none'}"]
    if run.missing:
        lines.append(run.missing)
    if run.options.scenario:
        lines.append(f"{NOTICE}; {'shortened: ' + '; '.join(shorter) if (shorter := [*run.shortened()]) else 'whole'}")
    return lines


def result(run: ScenarioRun) -> str | None:
    """The result with its unit; None without a result."""
    if run.result is None:
        return None
    if run.options.scenario in ("single", "multi"):
        return f"{number(run.result * 1e3)} ms"
    batch = f", batch {run.best.batch}" if run.best and run.options.scenario is None else ""
    return f"{number(run.result)}{batch}"


def trial_columns(run: ScenarioRun) -> tuple[list[str], list[list[Cell]]]:
    """The header and the cells of the table of trials."""
    bounded = run.trials[0].bound is not None
    header = ["batch", *(["queries/s"] if run.trials[0].rate else []), "queries", "images/s"]
    for name in PERCENTILES:
        header += [f"{name} ms", "95 % interval"]
    header += ["late", "in time"] if bounded else []
    return header, [_cells(trial, bounded=bounded) for trial in run.trials]


def _cells(trial: Trial, *, bounded: bool) -> list[Cell]:
    summary = trial.summary
    cells: list[Cell] = [trial.batch, *([trial.rate] if trial.rate else []), summary.count, trial.images_per_second]
    for name in PERCENTILES:
        found = summary.intervals.get(name)
        cells.append(milliseconds(getattr(summary, name)))
        cells.append(found and f"[{number(found[0] * 1e3)}, {number(found[1] * 1e3)}]")
    if bounded:
        cells += [trial.late, "yes" if trial.holds else "no"]
    return cells

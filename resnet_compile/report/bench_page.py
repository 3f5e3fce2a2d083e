"""A benchmark as one page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from resnet_compile.bench import Bench, Row, Verdict
from resnet_compile.report import charts
from resnet_compile.report.bench_text import machine, row_columns
from resnet_compile.report.svg import element, number

_STYLE = """
:root { color-scheme: light dark; --page: #f7f7f5; --card: #ffffff; --ink: #1d1d1b; --soft: #6b6b66; --rule: #e3e3de;
  --s0: #2f6fd0; --s1: #d9662b; --s2: #1f8f6b; --s3: #a04fb3; --s4: #b08a12; --s5: #c23b5b; --quiet: #8f8f89;
  --warn: #9a5b00; --warnpage: #fff4e0; }
@media (prefers-color-scheme: dark) { :root { --page: #151617; --card: #1e2022; --ink: #ececea; --soft: #a3a39e;
  --rule: #34373a; --s0: #6aa4f5; --s1: #f0905a; --s2: #4fc29b; --s3: #c98ad8; --s4: #d9b847; --s5: #ee7d97;
  --quiet: #85888b; --warn: #f0b45a; --warnpage: #33290f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 900px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 2px; } svg + h2 { margin-top: 20px; }
p { margin: 0 0 12px; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 20px 24px;
  margin-top: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 20px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 18px; }
.tile b { display: block; font-size: 26px; font-weight: 600; line-height: 1.2; }
.tile span, .tick { color: var(--soft); fill: var(--soft); }
.note { background: var(--warnpage); color: var(--warn); border-radius: 8px; padding: 10px 14px; margin-top: 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; color: var(--soft); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th.n, td.n { text-align: right; white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; margin-top: 8px; font: 12px system-ui, sans-serif; overflow: visible; }
svg .label { fill: var(--ink); } svg .value { fill: var(--soft); white-space: pre; font-variant-numeric: tabular-nums; }
.grid, .base { stroke: var(--rule); } .mark { stroke: var(--ink); stroke-dasharray: 3 3; opacity: .7; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dot { stroke: var(--card); stroke-width: 1.5; }
"""
_COLOURS = "".join(
    f".bar.{name}, .dot.{name} {{ fill: var(--{name}); }} .line.{name} {{ stroke: var(--{name}); }} "
    f"i.{name} {{ background: var(--{name}); }}\n"
    for name in (*(charts.series(position) for position in range(charts.SERIES)), "quiet")
)


def bench_page(bench: Bench) -> str:
    """The page, as HTML with its style and drawings in it."""
    models = list(dict.fromkeys(row.model for row in bench.rows))
    styles = {model: charts.series(position) for position, model in enumerate(models)}
    body = [
        element("h1", escape(models[0])),
        element("p", escape(f"Forward pass on {machine(bench)} · {bench.environment.time[:16].replace('T', ' at ')}")),
        *_notes(bench),
        _tiles(bench.rows[0]),
        *_latency(bench, styles),
        *_comparisons(bench, styles),
        *_sweep(bench, styles),
        *_profile(bench),
        _section("All figures", "", _rows(bench)),
        _section("Environment", "", _table([], _environment(bench))),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>resnet-bench: {escape(models[0])}</title><style>{_STYLE}{_COLOURS}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{element("main", *body)}</body></html>\n'


def _section(heading: str, explanation: str, *content: str) -> str:
    words = [element("p", escape(explanation))] if explanation else []
    return element("section", element("h2", escape(heading)), *words, *content)


def _notes(bench: Bench) -> list[str]:
    notes = []
    if bench.interrupted:
        notes.append("Interrupted: this is what was measured until then.")
    if any(sized.comparison.verdict == Verdict.TOO_NOISY for sized in bench.comparisons):
        notes.append("The A/A control leaves 1 out: the machine is too noisy to conclude from these comparisons.")
    return [element("div", escape(note), cls="note") for note in notes]


def _tiles(row: Row) -> str:
    summary = row.summary
    figures = [
        (f"{number(summary.p50 * 1e3)} ms", f"median, batch {row.batch}"),
        (f"{row.images_per_second:,.1f}", "images a second"),
        *([(f"{row.gflops:,.1f}", "GFLOP a second")] if row.gflops else []),
        *([(f"{row.memory_bytes / 1e6:,.0f} MB", "memory at most")] if row.memory_bytes is not None else []),
    ]
    return element(
        "div", *(element("div", element("b", a), element("span", b), cls="tile") for a, b in figures), cls="tiles"
    )


def _legend(styles: dict[str, str]) -> str:
    if len(styles) < 2:
        return ""
    return element(
        "div",
        *(element("span", element("i", cls=style), escape(model)) for model, style in styles.items()),
        cls="legend",
    )


def _latency(bench: Bench, styles: dict[str, str]) -> list[str]:
    sections = []
    for batch, data in dict.fromkeys((row.batch, row.data) for row in bench.rows):
        rows = [row for row in bench.rows if (row.batch, row.data) == (batch, data)]
        own = [styles[row.model] for row in rows]
        heading = f"Latency at batch {batch}" + ("" if data == "host" else f", data: {data}")
        explanation = f"{len(rows[0].seconds)} runs each; dashed lines are the median and the 99th percentile."
        sections.append(_section(heading, explanation, charts.latency(rows, own), charts.timeline(rows, own)))
    return sections


def _comparisons(bench: Bench, styles: dict[str, str]) -> list[str]:
    if not bench.comparisons:
        return []
    explanation = (
        f"Time of {bench.comparisons[0].comparison.model} over that of the other in the same round: median and "
        f"{bench.comparisons[0].comparison.ratio.level:.0%} interval. The control is the model in a second session."
    )
    verdicts = [
        [f"{sized.comparison.other}, batch {sized.batch}, {sized.data}", str(sized.comparison.verdict)]
        for sized in bench.comparisons
    ]
    return [_section("Comparison", explanation, charts.ratios(bench.comparisons, styles), _table([], verdicts))]


def _sweep(bench: Bench, styles: dict[str, str]) -> list[str]:
    if len({row.batch for row in bench.rows}) < 2:
        return []
    sections = []
    for data in dict.fromkeys(row.data for row in bench.rows):
        rows = [row for row in bench.rows if row.data == data]

        def lines(rows: Sequence[Row], *, rate: bool) -> dict[str, list[tuple[int, float]]]:
            found: dict[str, list[tuple[int, float]]] = {}
            for row in sorted(rows, key=lambda row: row.batch):
                value = row.images_per_second if rate else row.summary.p50 * 1e3
                found.setdefault(row.model, []).append((row.batch, value))
            return found

        heading = "Batch sizes" + ("" if data == "host" else f", data: {data}")
        drawings = [
            charts.sweep(lines(rows, rate=True), styles, "images a second"),
            charts.sweep(lines(rows, rate=False), styles, "milliseconds (median)"),
        ]
        sections.append(_section(heading, "", _legend(styles), *drawings))
    return sections


def _profile(bench: Bench) -> list[str]:
    if not bench.profile:
        return []
    explanation = f"By onnxruntime's profile, on average over {bench.profile.runs} runs"
    on_gpu = "; on CUDA, what the host takes to start the work." if bench.device != "cpu" else "."
    return [
        _section(
            "Where the time goes",
            explanation + on_gpu,
            charts.shares(bench.profile.by_scope(), "Time by block"),
            element("h2", "By operator"),
            charts.shares(bench.profile.by_operator(), "Time by operator"),
        )
    ]


def _rows(bench: Bench) -> str:
    header, cells = row_columns(bench.rows)
    texts = [
        ["–" if cell is None else cell if isinstance(cell, str) else number(cell) for cell in row] for row in cells
    ]
    return _table(header, texts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        right = [bool(header) and column not in (0, 2) for column in range(len(row))]
        return "".join(
            element(tag, escape(cell), cls="n" if is_number else None)
            for cell, is_number in zip(row, right, strict=True)
        )

    head = [element("thead", element("tr", cells("th", header)))] if header else []
    body = element("tbody", *(element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", *head, body), cls="scroll")


def _environment(bench: Bench) -> list[list[str]]:
    environment, options = bench.environment, bench.options
    cpu, gpu, session = environment.cpu, environment.gpu, bench.rows[0].session
    rows = [
        ("device", f"{bench.device} ({bench.device_reason})"),
        ("processor", f"{cpu.model}, {cpu.cores} cores"),
        ("clock", f"{cpu.clock_mhz:.0f} MHz{f', {cpu.governor}' if cpu.governor else ''}" if cpu.clock_mhz else ""),
        ("memory", f"{cpu.memory_mb:,} MB" if cpu.memory_mb else ""),
        ("load at the start", "" if cpu.load is None else f"{cpu.load:.2f}"),
        ("GPU", f"{gpu.name}, {gpu.memory_mb or '?'} MiB" if gpu else ""),
        ("GPU driver", f"{gpu.driver}, CUDA to {gpu.cuda}" if gpu else ""),
        ("GPU clock", f"{gpu.clock_mhz} of {gpu.max_clock_mhz} MHz" if gpu and gpu.clock_mhz else ""),
        ("system", f"{environment.system}, Python {environment.python}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in environment.packages.items())),
        ("protocol", f"{options.protocol.burn_in} burn-in and {options.protocol.steps} timed runs"),
        ("inputs", f"random, {bench.rows[0].buffers} in rotation"),
        ("session", ", ".join(f"{key} {value}" for key, value in session["options"].items() if value is not None)),
    ]
    return [[name, value] for name, value in rows if value]

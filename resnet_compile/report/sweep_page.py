"""The measurements of a sweep, as text and as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from resnet_compile.report.bench_text import INTERRUPTED, milliseconds
from resnet_compile.report.page import legend, note, page, section, table, tiles
from resnet_compile.report.svg import (
    SERIES,
    Frame,
    Scale,
    axis_below,
    chart,
    element,
    for_all_widths,
    number,
    series,
    text,
    title,
)
from resnet_compile.report.table import Cell
from resnet_compile.report.table import table as text_table
from resnet_compile.roofline import Roofline
from resnet_compile.sweep import Row, Sweep

_HEADER = ["what", "batch", "p50 ms", "95 % interval", "images/s", "GFLOP/s", "FLOP/byte", "GMAC", "memory MB"]
_BOTTOM = 300


def row_name(row: Row) -> str:
    """A name for a measurement: the network and its differences from the spec, without the batch size."""
    words = [str(row["network"])]
    words += [f"{name} x{row[f'{name}_factor']:g}" for name in ("depth", "width") if row[f"{name}_factor"] != 1]
    words += [f"{row['height']}x{row['width']}"] if row["height"] else []
    words += [row["dtype"]] if row["dtype"] != "float32" else []
    words += [f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"] if row["threads"] else []
    return " ".join(words)


def sweep_text(sweep: Sweep) -> str:
    """A table of all measurements, and a line for each one that failed."""
    parts = [text_table(_HEADER, _cells(sweep.rows))]
    parts += [_roof(each) for each in sweep.rooflines]
    parts += [f"{row_name(row)}, batch {row['batch']}: {row['error']}" for row in sweep.failed]
    if sweep.interrupted:
        parts.append(INTERRUPTED)
    return "\n".join(parts)


def sweep_page(sweep: Sweep) -> str:
    """The HTML page, with style and drawings embedded."""
    measured = [row for row in sweep.rows if not row["error"]]
    networks = list(dict.fromkeys(row["network"] for row in measured))
    styles = {name: series(position) for position, name in enumerate(networks)}
    machine = "{device}, {processor}, onnxruntime {onnxruntime}".format(**measured[0]) if measured else "nothing"
    figures = [(f"{len(measured)}", "measurements")]
    for roof in sweep.rooflines[-1:]:
        figures += [(number(roof.gflop_per_second), f"GFLOP a second at most, {_threads(roof)}")]
        figures += [(number(roof.gbyte_per_second), f"GB a second at most, {_threads(roof)}")]
    drawn = [row for row in measured if row["gflop_per_second"]]
    return page(
        "resnet-bench: many networks",
        element("h1", escape(f"{len(networks)} network{'s' if len(networks) != 1 else ''}, timed")),
        element("p", escape(f"Forward passes on {machine}")),
        note(INTERRUPTED) if sweep.interrupted else "",
        *(note(f"{row_name(row)}, batch {row['batch']}: {row['error']}") for row in sweep.failed),
        tiles(figures),
        section(
            "Roofline",
            "Each measurement by the operations for each byte that its operators read and write, and its operations a "
            "second. The lines are what this machine did at most, as measured in float32: a large product of matrices "
            "and a large copy. Operators that a runtime fuses move fewer bytes, so a point may lie above its line.",
            legend(styles) if len(networks) <= SERIES else "",
            roofs(drawn, sweep.rooflines, styles),
        )
        if drawn and sweep.rooflines
        else "",
        section("All measurements", "", table(_HEADER, _cells(sweep.rows), words=(0, 3))),
    )


def _cells(rows: Sequence[Row]) -> list[list[Cell]]:
    return [
        [
            row_name(row),
            row["batch"],
            milliseconds(row["p50_s"]),
            f"[{number(row['p50_low_s'] * 1e3)}, {number(row['p50_high_s'] * 1e3)}]" if row["p50_low_s"] else None,
            row["images_per_second"],
            row["gflop_per_second"],
            row["flop_per_byte"],
            None if row["macs"] is None else row["macs"] / 1e9,
            None if row["memory_bytes"] is None else row["memory_bytes"] // 10**6,
        ]
        for row in rows
    ]


def _roof(roof: Roofline) -> str:
    peak, bandwidth = number(roof.gflop_per_second), number(roof.gbyte_per_second)
    return f"at most, {_threads(roof)}: {peak} GFLOP/s in a product of matrices, {bandwidth} GB/s in a copy"


def _threads(roof: Roofline) -> str:
    return f"{roof.threads} thread{'s' if roof.threads > 1 else ''}" if roof.threads else "a thread for each core"


@for_all_widths
def roofs(frame: Frame, rows: Sequence[Row], rooflines: Sequence[Roofline], styles: dict[str, str]) -> str:
    """The roofline chart: operations a second over operations a byte, on logarithmic axes, with the machine's peaks."""
    ridges = [roof.gflop_per_second / roof.gbyte_per_second for roof in rooflines]
    intensities = [*(row["flop_per_byte"] for row in rows), *ridges]
    rates = [*(row["gflop_per_second"] for row in rows), *(roof.gflop_per_second for roof in rooflines)]
    x = Scale(min(intensities) / 2, max(intensities) * 2, frame.left, frame.right, logarithmic=True)
    y = Scale(min(rates) / 2, max(rates) * 1.5, _BOTTOM, 24, logarithmic=True)
    parts = [
        element("line", x1=frame.left, x2=frame.right, y1=y(value), y2=y(value), cls="grid")
        + text(number(value), frame.left - 8, y(value) + 4, anchor="end", cls="tick")
        for value in _ticks(y)
    ]
    parts += [axis_below(x, _ticks(x), 24, _BOTTOM, "FLOP for each byte moved")]
    parts += [text("GFLOP a second", 0, 14, cls="tick")]
    for roof in rooflines:
        least = max(x.low, y.low / roof.gbyte_per_second)
        ridge = roof.gflop_per_second / roof.gbyte_per_second
        path = " ".join(f"{x(at):.1f},{y(roof.at(at)):.1f}" for at in (least, max(least, ridge), x.high))
        parts.append(element("polyline", title(_roof(roof)), points=path, cls="line quiet"))
    for row in rows:
        what = f"{row_name(row)}, batch {row['batch']}: {number(row['gflop_per_second'])} GFLOP/s"
        place = {"cx": x(row["flop_per_byte"]), "cy": y(row["gflop_per_second"]), "r": 4.5}
        parts.append(element("circle", title(what), **place, cls=f"dot {styles[row['network']]}"))
    return chart(frame, "Roofline", _BOTTOM + 40, *parts)


def _ticks(scale: Scale) -> list[float]:
    """Round numbers for a logarithmic axis, at about equal ratios."""
    powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    return [
        value for power in powers for factor in factors if scale.low <= (value := factor * 10.0**power) <= scale.high
    ]

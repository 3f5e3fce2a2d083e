"""The drawings of a benchmark's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from resnet_compile.bench.profile import Share
from resnet_compile.bench.record import Sized
from resnet_compile.bench.statistics import PERCENTILES, summarize
from resnet_compile.report.bench_text import interval
from resnet_compile.report.svg import (
    LEFT,
    RIGHT,
    TOP,
    Points,
    Scale,
    axis_below,
    chart,
    element,
    line_chart,
    number,
    ratio_steps,
    round_steps,
    short,
    text,
    title,
)

_BINS = 48
_BOTTOM = 200  # of a chart of lines


def latency(seconds: Mapping[str, Sequence[float]], styles: Mapping[str, str]) -> str:
    """Histograms of the runs' milliseconds, one below another over one axis, with median and 99th percentile."""
    values = [np.array(each) * 1e3 for each in seconds.values()]
    low, high = min(each.min() for each in values), max(each.max() for each in values)
    margin = (high - low) * 0.04 or high * 0.05 or 1.0
    scale = Scale(max(0.0, low - margin), high + margin, LEFT, RIGHT)
    edges = np.linspace(scale.low, scale.high, _BINS + 1)
    band, parts = 92.0, []
    for position, (model, each) in enumerate(zip(seconds, values, strict=True)):
        base = position * band + band
        counts, _ = np.histogram(each, edges)
        heights = Scale(0, max(counts.max(), 1), 0, band - 34)
        for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
            if count:
                what = title(f"{count} of {len(each)} runs took {number(left)} to {number(right)} ms")
                width, height = max(1.0, scale(right) - scale(left) - 1), heights(float(count))
                place = {"x": scale(left), "y": base - height, "rx": 1.0, "width": width, "height": height}
                parts.append(element("rect", what, **place, cls=f"bar {styles[model]}"))
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=base, y2=base, cls="base"))
        summary = summarize(seconds[model])
        points = {name: value * 1e3 for name in PERCENTILES if (value := getattr(summary, name)) is not None}
        for name, value in points.items():
            if name == "p90":
                continue  # the drawing has room for two lines
            place = {"x1": scale(value), "x2": scale(value), "y1": base - band + 30, "y2": base}
            parts.append(element("line", title(f"{name} {number(value)} ms"), **place, cls="mark"))
        words = f"{'   '.join(f'{name} {number(value)}' for name, value in points.items())} ms"
        parts.append(text(words, RIGHT, base - band + 22, anchor="end", cls="value"))
        parts.append(text(short(model, 60), LEFT, base - band + 22, cls="label"))
    bottom = band * len(seconds)
    axis = axis_below(scale, round_steps(scale.low, scale.high), 26, bottom, "milliseconds")
    return chart("Distribution of the runs' times", bottom + 36, axis, *parts)


def timeline(seconds: Mapping[str, Sequence[float]], styles: Mapping[str, str]) -> str:
    """Each run's milliseconds in the order of running: drift and outliers."""
    lines = {model: [(step, second * 1e3) for step, second in enumerate(each)] for model, each in seconds.items()}
    across = Scale(0, max(2, *map(len, lines.values())) - 1, LEFT, RIGHT)
    up = Scale(0, _greatest(lines) * 1.05, _BOTTOM, TOP)
    below = (across, round_steps(0, across.high), "step")
    steps = round_steps(0, up.high, 4)
    return line_chart("Each run's time in order", lines, styles, below, (up, steps), measure="milliseconds")


def sweep(lines: Mapping[str, Points], styles: Mapping[str, str], unit: str) -> str:
    """One value over the batch size, a line a model; batches stand at equal factors."""
    batches = sorted({batch for points in lines.values() for batch, _ in points})
    across = Scale(batches[0], batches[-1], LEFT + 16, RIGHT - 16, logarithmic=True)
    up = Scale(0, _greatest(lines) * 1.1, _BOTTOM, TOP)
    below = (across, batches, "images at a time")
    return line_chart(f"{unit} by batch size", lines, styles, below, (up, round_steps(0, up.high, 5)), "batch", unit)


def _greatest(lines: Mapping[str, Points]) -> float:
    return max(value for points in lines.values() for _, value in points)


def ratios(comparisons: Sequence[Sized], styles: Mapping[str, str]) -> str:
    """Confidence intervals of the paired ratios, each over its control, about the line of equality."""
    values = [
        value
        for sized in comparisons
        for one in (sized.comparison.ratio, sized.comparison.control)
        for value in (one.low, one.high)
    ]
    # Twice as fast lies as far from 1 as half as fast.
    reach = max(*(max(value, 1 / value) for value in values), 1.01) ** 1.15
    scale = Scale(1 / reach, reach, 300, RIGHT - 120, logarithmic=True)
    band, parts = 56.0, []
    for position, sized in enumerate(comparisons):
        comparison, y = sized.comparison, position * band + 26
        parts.append(text(short(f"against {comparison.other}", 42), 0, y + 4, cls="label"))
        parts.append(text(f"batch {sized.batch}, {sized.data}; A/A control", 0, y + 24, cls="tick"))
        for offset, value, style in (
            (0, comparison.ratio, styles[comparison.other]),
            (20, comparison.control, "quiet"),
        ):
            low, high = scale(value.low), scale(value.high)
            parts.append(element("line", x1=low, x2=high, y1=y + offset, y2=y + offset, cls=f"line {style}"))
            what = title(interval(value))
            parts.append(element("circle", what, cx=scale(value.median), cy=y + offset, r=4.5, cls=f"dot {style}"))
            parts.append(text(interval(value), RIGHT, y + offset + 4, anchor="end", cls="value"))
    bottom = band * len(comparisons) + 8
    first = short(comparisons[0].comparison.model, 40)
    axis = axis_below(
        scale, ratio_steps(reach), 8, bottom, f"times as long: left of 1 {first} is faster, right of 1 slower"
    )
    one = element("line", x1=scale(1), x2=scale(1), y1=8, y2=bottom, cls="mark")
    return chart("Paired ratios with their confidence intervals", bottom + 40, axis, one, *parts)


def shares(found: Sequence[Share], label: str) -> str:
    """Bars of the milliseconds that scopes or operators take in a run."""
    greatest = max(share.seconds for share in found)
    scale = Scale(0, greatest or 1.0, 170, RIGHT - 150)
    band, parts = 26.0, []
    for position, share in enumerate(found):
        y = position * band
        width = max(1.0, scale(share.seconds) - scale.start)
        parts.append(text(short(share.name, 24), 160, y + 17, anchor="end", cls="label"))
        parts.append(element("rect", x=scale.start, y=y + 4, width=width, height=band - 8, rx=2.0, cls="bar s0"))
        words = f"{number(share.seconds * 1e3)} ms   {100 * share.fraction:.1f} %"
        parts.append(text(words, scale.start + width + 8, y + 17, cls="value"))
    return chart(label, band * len(found), *parts)

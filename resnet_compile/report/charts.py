"""The drawings of a benchmark's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from resnet_compile.bench.profile import Share
from resnet_compile.bench.record import Sized
from resnet_compile.bench.statistics import PERCENTILES, summarize
from resnet_compile.report.bench_text import interval
from resnet_compile.report.svg import (
    TOP,
    Frame,
    Points,
    Scale,
    axis_below,
    chart,
    element,
    for_all_widths,
    line_chart,
    number,
    ratio_steps,
    round_steps,
    short,
    text,
    title,
)

_BINS = 48
_BOTTOM = 200  # lower end of a line chart's axes


@for_all_widths
def latency(frame: Frame, seconds: Mapping[str, Sequence[float]], styles: Mapping[str, str]) -> str:
    """Histograms of the runs' times in ms, stacked on a common axis, with median and 99th percentile."""
    values = [np.array(each) * 1e3 for each in seconds.values()]
    low, high = min(each.min() for each in values), max(each.max() for each in values)
    margin = (high - low) * 0.04 or high * 0.05 or 1.0
    left, right = (0 if frame.narrow else frame.left), frame.right
    scale = Scale(max(0.0, low - margin), high + margin, left, right)
    edges = np.linspace(scale.low, scale.high, _BINS + 1)
    above = 38 if frame.narrow else 22  # height of two lines of text, or of one
    band, parts = 70.0 + above, []
    for position, (model, each) in enumerate(zip(seconds, values, strict=True)):
        base = position * band + band
        counts, _ = np.histogram(each, edges)
        heights = Scale(0, max(counts.max(), 1), 0, band - above - 12)
        for count, least, most in zip(counts, edges[:-1], edges[1:], strict=True):
            if count:
                what = title(f"{count} of {len(each)} runs took {number(least)} to {number(most)} ms")
                width, height = max(1.0, scale(most) - scale(least) - 1), heights(float(count))
                place = {"x": scale(least), "y": base - height, "rx": 1.0, "width": width, "height": height}
                parts.append(element("rect", what, **place, cls=f"bar {styles[model]}"))
        parts.append(element("line", x1=left, x2=right, y1=base, y2=base, cls="base"))
        summary = summarize(seconds[model])
        points = {name: value * 1e3 for name in PERCENTILES if (value := getattr(summary, name)) is not None}
        for name, value in points.items():
            if name == "p90":
                continue  # the chart has room for two marks
            place = {"x1": scale(value), "x2": scale(value), "y1": base - band + above + 8, "y2": base}
            parts.append(element("line", title(f"{name} {number(value)} ms"), **place, cls="mark"))
        words = f"{'   '.join(f'{name} {number(value)}' for name, value in points.items())} ms"
        parts.append(text(words, right, base - band + above, anchor="end", cls="value"))
        named = short(model, 44 if frame.narrow else 60)
        parts.append(text(named, left, base - band + 22, cls="label"))
    bottom = band * len(seconds)
    axis = axis_below(scale, round_steps(scale.low, scale.high, frame.ticks), above + 4, bottom, "milliseconds")
    return chart(frame, "Distribution of the runs' times", bottom + 36, axis, *parts)


@for_all_widths
def timeline(frame: Frame, seconds: Mapping[str, Sequence[float]], styles: Mapping[str, str]) -> str:
    """The times of the runs in ms, in order; shows drift and outliers."""
    lines = {model: [(step, second * 1e3) for step, second in enumerate(each)] for model, each in seconds.items()}
    across = Scale(0, max(2, *map(len, lines.values())) - 1, frame.left, frame.right)
    up = Scale(0, _greatest(lines) * 1.05, _BOTTOM, TOP)
    below = (across, round_steps(0, across.high, frame.ticks), "step")
    steps = round_steps(0, up.high, 4)
    return line_chart(frame, "Each run's time in order", lines, styles, below, (up, steps), measure="milliseconds")


@for_all_widths
def sweep(frame: Frame, lines: Mapping[str, Points], styles: Mapping[str, str], unit: str) -> str:
    """One value over the batch size, on a logarithmic axis, with a line for each model."""
    batches = sorted({batch for points in lines.values() for batch, _ in points})
    across = Scale(batches[0], batches[-1], frame.left + 16, frame.right - 16, logarithmic=True)
    up = Scale(0, _greatest(lines) * 1.1, _BOTTOM, TOP)
    below = (across, batches, "images at a time")
    beside = (up, round_steps(0, up.high, 5))
    return line_chart(frame, f"{unit} by batch size", lines, styles, below, beside, "batch", unit)


def _greatest(lines: Mapping[str, Points]) -> float:
    return max(value for points in lines.values() for _, value in points)


@for_all_widths
def ratios(frame: Frame, comparisons: Sequence[Sized], styles: Mapping[str, str]) -> str:
    """Confidence intervals of the paired ratios, each above that of its control, around the line at 1."""
    values = [
        value
        for sized in comparisons
        for one in (sized.comparison.ratio, sized.comparison.control)
        for value in (one.low, one.high)
    ]
    # The axis is symmetric: 2 lies as far from 1 as 1/2.
    reach = max(*(max(value, 1 / value) for value in values), 1.01) ** 1.15
    start, end = (16, frame.right) if frame.narrow else (300, frame.right - 150)
    scale = Scale(1 / reach, reach, start, end, logarithmic=True)
    # The label of an interval stands beside it, or on a narrow page above it.
    step, above = (40, 18) if frame.narrow else (20, -4)
    band, parts = 16.0 + 2 * step, []
    for position, sized in enumerate(comparisons):
        comparison, top = sized.comparison, position * band + 22 - above
        named = (
            (short(f"against {comparison.other}", 24 if frame.narrow else 42), "label"),
            (f"batch {sized.batch}, {sized.data}; A/A control", "tick"),
        )
        drawn = ((comparison.ratio, styles[comparison.other]), (comparison.control, "quiet"))
        for line, ((words, cls), (value, style)) in enumerate(zip(named, drawn, strict=True)):
            y = top + above + line * step
            low, high = scale(value.low), scale(value.high)
            parts.append(text(words, 0, y - above, cls=cls))
            parts.append(element("line", x1=low, x2=high, y1=y, y2=y, cls=f"line {style}"))
            what = title(interval(value))
            parts.append(element("circle", what, cx=scale(value.median), cy=y, r=4.5, cls=f"dot {style}"))
            parts.append(text(interval(value), frame.right, y - above, anchor="end", cls="value"))
    bottom = band * len(comparisons) + 8
    first = short(comparisons[0].comparison.model, 20 if frame.narrow else 40)
    words = f"left of 1 {first} is faster" if frame.narrow else f"left of 1 {first} is faster, right of 1 slower"
    ticks = ratio_steps(reach)
    axis = axis_below(scale, ticks[:: max(1, len(ticks) // frame.ticks)], 8, bottom, f"times as long: {words}")
    one = element("line", x1=scale(1), x2=scale(1), y1=8, y2=bottom, cls="mark")
    return chart(frame, "Paired ratios with their confidence intervals", bottom + 40, axis, one, *parts)


@for_all_widths
def shares(frame: Frame, found: Sequence[Share], label: str) -> str:
    """Bars of the time in ms that scopes or operators take in a run."""
    greatest = max(share.seconds for share in found)
    start, end = (0, frame.right - 110) if frame.narrow else (170, frame.right - 150)
    scale = Scale(0, greatest or 1.0, start, end)
    above = 18 if frame.narrow else 0  # height of the name's line
    band, parts = 26.0 + above, []
    for position, share in enumerate(found):
        y = position * band
        width = max(1.0, scale(share.seconds) - scale.start)
        if frame.narrow:
            parts.append(text(short(share.name, 40), 0, y + 17, cls="label"))
        else:
            parts.append(text(short(share.name, 24), 160, y + 17, anchor="end", cls="label"))
        bar = {"x": scale.start, "y": y + 4 + above, "width": width, "height": 18.0, "rx": 2.0}
        parts.append(element("rect", **bar, cls="bar s0"))
        words = f"{number(share.seconds * 1e3)} ms   {100 * share.fraction:.1f} %"
        parts.append(text(words, scale.start + width + 8, y + 17 + above, cls="value"))
    return chart(frame, label, band * len(found), *parts)

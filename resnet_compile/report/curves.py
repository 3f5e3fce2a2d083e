"""Curves over training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from resnet_compile.report.svg import TOP, Frame, Points, Scale, for_all_widths, line_chart, round_steps

_BOTTOM = 210
# The most points of a line: a screen cannot show more, and the page would grow.
_MOST = 600
# Width of the moving mean, as a share of all points.
_WINDOW = 0.03


@for_all_widths
def curves(
    frame: Frame, label: str, lines: Mapping[str, Points], styles: Mapping[str, str], *, logarithmic: bool = False
) -> str:
    """A line chart of values over steps.

    Args:
        frame: The width of the chart.
        label: The description for screen readers.
        lines: The points of each line, by its name; at least one point in total.
        styles: The CSS class of each line, by its name.
        logarithmic: Whether the axis of values is logarithmic.
    """
    steps = [step for points in lines.values() for step, _ in points]
    across = Scale(min(0, *steps), max(steps), frame.left, frame.right)
    up = _scale([value for points in lines.values() for _, value in points], logarithmic=logarithmic)
    marks = _decades(up) if logarithmic else round_steps(up.low, up.high)
    drawn = {name: thinned(points) for name, points in lines.items()}
    below = (across, round_steps(0, across.high, frame.ticks), "step")
    return line_chart(frame, label, drawn, styles, below, (up, marks), "step")


def _scale(values: Sequence[float], *, logarithmic: bool) -> Scale:
    """The scale of the values, with a margin; it starts at zero if they are near zero."""
    low, high = min(values), max(values)
    if logarithmic:
        return Scale(low / 1.3, high * 1.3, _BOTTOM, TOP, logarithmic=True)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    near_zero = 0 <= low < 0.5 * high
    return Scale(0.0 if near_zero else low - room, high + room, _BOTTOM, TOP)


def _decades(scale: Scale) -> list[float]:
    """The powers of ten within the scale; if there are few, also 2 and 5 times these."""
    powers = range(int(np.floor(np.log10(scale.low))), int(np.ceil(np.log10(scale.high))) + 1)
    factors = (1, 2, 5) if len(powers) <= 3 else (1,)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in found if scale.low <= value <= scale.high]


def smoothed(points: Points) -> list[tuple[int, float]]:
    """The centred moving mean of the values."""
    values = np.array([value for _, value in points])
    reach = int(len(values) * _WINDOW / 2)
    widths = [min(place, len(values) - 1 - place, reach) for place in range(len(values))]
    # Not by differences of running sums: after one huge loss these would lose all precision.
    means = [values[place - width : place + width + 1].mean() for place, width in enumerate(widths)]
    return [(step, float(mean)) for (step, _), mean in zip(points, means, strict=True)]


def thinned(points: Points) -> Points:
    """An evenly spaced selection of the points, including the last."""
    if len(points) <= _MOST:
        return points
    return [points[place] for place in np.linspace(0, len(points) - 1, _MOST).round().astype(int)]

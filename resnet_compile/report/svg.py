"""SVG elements, scales and axes. Colours come from the page's style sheet.

Text in a drawing scales with it. Every chart is therefore drawn twice, for a wide page and for a narrow one, and the
style sheet shows one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Concatenate, ParamSpec

TOP = 24
"""The upper end of a line chart's axes."""

Points = Sequence[tuple[int, float]]
"""The points of a line: (x, y)."""

_MARKED = 40  # lines with at most this many points get markers

SERIES = 6
"""The number of colours for series."""


_Args = ParamSpec("_Args")


@dataclass(frozen=True, slots=True)
class Frame:
    """The width of a chart.

    Attributes:
        style: The CSS class that shows the chart: wide or narrow.
        width: The width in the drawing's units; these are pixels on a page of this width.
        left: The x coordinate where axes begin.
        ticks: About how many tick labels fit on an axis.
    """

    style: str
    width: int
    left: int
    ticks: int

    @property
    def right(self) -> int:
        """The x coordinate where axes end."""
        return self.width - 16

    @property
    def narrow(self) -> bool:
        """Whether labels stand above what they name, because there is no room beside it."""
        return self.style == "narrow"


WIDE, NARROW = Frame("wide", 760, 64, 6), Frame("narrow", 340, 48, 4)


def for_all_widths(draw: Callable[Concatenate[Frame, _Args], str]) -> Callable[_Args, str]:
    """Decorates a function that draws in one frame: it then draws in all, and a page shows the one that fits."""

    @wraps(draw)
    def drawn(*args: _Args.args, **kwargs: _Args.kwargs) -> str:
        return "".join(element("div", draw(frame, *args, **kwargs), cls=frame.style) for frame in (WIDE, NARROW))

    return drawn


def series(position: int) -> str:
    """The CSS class of the series at a position; colours repeat."""
    return f"s{position % SERIES}"


def element(tag: str, *children: str, **attributes: str | float | None) -> str:
    """An element. Attributes that are None are left out, ``_`` in a name becomes ``-``, and ``cls`` is the class."""
    written = "".join(
        f' {"class" if key == "cls" else key.replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}>{''.join(children)}</{tag}>"


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def text(content: str, x: float, y: float, *, anchor: str = "start", cls: str | None = None) -> str:
    """A line of text."""
    return element("text", escape(content), x=x, y=y, text_anchor=anchor, cls=cls)


def title(content: str) -> str:
    """The tooltip of the element that contains it."""
    return element("title", escape(content))


def chart(frame: Frame, label: str, height: float, *children: str) -> str:
    """An SVG drawing as wide as the page; the label is for screen readers."""
    return element("svg", *children, viewBox=f"0 0 {frame.width} {height:.0f}", role="img", aria_label=label)


def short(name: str, most: int) -> str:
    """The name, cut to at most `most` characters. The end is kept, since it distinguishes files."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values between `low` and `high` to coordinates between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)


def round_steps(low: float, high: float, most: int = 6) -> list[float]:
    """About `most` round numbers from `low` to `high`, with steps of 1, 2 or 5 times a power of 10."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= most + 1e-9)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def ratio_steps(reach: float) -> list[float]:
    """Round ratios from `1 / reach` to `reach`, including 1, for a logarithmic axis."""
    if reach < 2:
        return [step for step in round_steps(2 - reach, reach, 5) if step >= 1 / reach]
    base = next(base for base in (2, 10, 100, 10_000) if math.log(reach, base) <= 4 or base == 10_000)
    most = math.floor(math.log(reach, base))
    return [float(base) ** power for power in range(-most, most + 1)]


def number(value: float) -> str:
    """The number in short form, for tick labels and tooltips."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def axis_below(scale: Scale, values: Iterable[float], top: float, bottom: float, unit: str) -> str:
    """An axis below a drawing: grid lines, their values, and the unit at the right end."""
    marks = "".join(
        element("line", x1=scale(value), x2=scale(value), y1=top, y2=bottom, cls="grid")
        + text(number(value), scale(value), bottom + 16, anchor="middle", cls="tick")
        for value in values
    )
    return marks + text(unit, scale.end, bottom + 32, anchor="end", cls="tick")


def line_chart(
    frame: Frame,
    label: str,
    lines: Mapping[str, Points],
    styles: Mapping[str, str],
    across: tuple[Scale, Iterable[float], str],
    up: tuple[Scale, Iterable[float]],
    point: str = "",
    measure: str = "",
) -> str:
    """A line chart; lines with few points get markers.

    Args:
        frame: The width of the chart.
        label: The description for screen readers.
        lines: The points of each line, by its name.
        styles: The CSS class of each line, by its name.
        across: The scale of x, its ticks, and its label.
        up: The scale of y, and the values that get a grid line.
        point: The name of x in tooltips; without it there are no markers.
        measure: The unit of y, shown above its axis and in tooltips.
    """
    (x, below, unit), (y, beside) = across, up
    parts = [
        element("line", x1=frame.left, x2=frame.right, y1=y(value), y2=y(value), cls="grid")
        + text(number(value), frame.left - 8, y(value) + 4, anchor="end", cls="tick")
        for value in beside
    ]
    parts.append(axis_below(x, below, y.start, y.start, unit))
    if measure:
        parts.append(text(measure, 0, TOP - 10, cls="tick"))
    for name, points in lines.items():
        path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in points)
        parts.append(element("polyline", title(name), points=path, cls=f"line {styles[name]}"))
        for place, value in points if point and len(points) <= _MARKED else ():
            what = title(f"{name}, {point} {place:,}: {number(value)} {measure}".rstrip())
            parts.append(element("circle", what, cx=x(place), cy=y(value), r=4.0, cls=f"dot {styles[name]}"))
    return chart(frame, label, y.start + 40, *parts)

"""Scalable Vector Graphics by hand: elements, scales and axes. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

WIDTH = 760
"""Of every chart, in the units of its own coordinates."""

SERIES = 6
"""How many colours there are for what is compared."""


def series(position: int) -> str:
    """The style class of what stands at a position."""
    return f"s{position % SERIES}"


def element(tag: str, *children: str, **attributes: str | float | None) -> str:
    """An element; attributes that are None are left out, ``_`` in their names is ``-``, and the class is ``cls``."""
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
    """What is shown while the pointer is on the element that this is put into."""
    return element("title", escape(content))


def chart(label: str, height: float, *children: str) -> str:
    """A whole drawing, as wide as the page allows; the label is for who cannot see it."""
    return element("svg", *children, viewBox=f"0 0 {WIDTH} {height:.0f}", role="img", aria_label=label)


def short(name: str, most: int) -> str:
    """A name that fits into a place of so many characters: of a long one its end, which tells files apart."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


@dataclass(frozen=True, slots=True)
class Scale:
    """From values between `low` and `high` to coordinates between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)


def round_steps(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, about so many, at a distance of 1, 2 or 5 times a power of 10."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= most + 1e-9)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A short form for an axis."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def axis_below(scale: Scale, values: Iterable[float], top: float, bottom: float, unit: str) -> str:
    """Grid lines and their numbers under a drawing, and the unit at its right end."""
    marks = "".join(
        element("line", x1=scale(value), x2=scale(value), y1=top, y2=bottom, cls="grid")
        + text(number(value), scale(value), bottom + 16, anchor="middle", cls="tick")
        for value in values
    )
    return marks + text(unit, scale.end, bottom + 32, anchor="end", cls="tick")


def axis_left(scale: Scale, values: Iterable[float], left: float, right: float) -> str:
    """Grid lines and their numbers beside a drawing."""
    return "".join(
        element("line", x1=left, x2=right, y1=scale(value), y2=scale(value), cls="grid")
        + text(number(value), left - 8, scale(value) + 4, anchor="end", cls="tick")
        for value in values
    )

"""The drawing of a network to scale: a column for the root block, each unit and the head, a strip for each measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resnet_compile.report.svg import Frame, chart, element, for_all_widths, text, title

_STRIP, _ABOVE = 40, 20
"""The height of a strip, and of the words above it."""
_CHARACTER = 6.6
"""The width of a character, roughly."""


@dataclass(frozen=True, slots=True)
class Column:
    """A unit, or the root block or the head.

    Attributes:
        block: The block's name, where its first unit stands.
        mark: A stride or a rate that begins here, in a word; empty for none.
        told: What the tooltip says.
        values: A value for each strip.
    """

    block: str
    mark: str
    told: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """A measure, on a scale that all networks of a page share.

    Attributes:
        words: What is measured.
        greatest: The value that fills the strip's height.
        symmetric: Whether the bars stand around the middle of the strip, not on its base.
        mark: A value to draw a line at.
    """

    words: str
    greatest: float
    symmetric: bool = False
    mark: float | None = None


@for_all_widths
def network_drawing(
    frame: Frame, label: str, columns: Sequence[Column], strips: Sequence[Strip], most: int, style: str
) -> str:
    """A network's strips, one below the other.

    Args:
        frame: The width of the drawing.
        label: The description for screen readers.
        columns: The units in order.
        strips: The measures, in the order of a column's values.
        most: The columns of the longest network of the page, which fill its width.
        style: The CSS class of the network.
    """
    step = frame.width / most
    gap = 1.0 if step > 4 else 0.0
    top, height = 42.0, _STRIP + _ABOVE
    bottom = top + len(strips) * height
    starts = [(index * step, column.block) for index, column in enumerate(columns) if column.block]
    end = len(columns) * step
    parts = [element("line", x1=x, x2=x, y1=top - 24, y2=bottom, cls="grid") for x, _ in starts]
    parts += _words(starts, end, 12, "label")
    marks = [(index * step, column.mark) for index, column in enumerate(columns) if column.mark]
    parts += _words(marks, end, 30, "tick")
    for row, strip in enumerate(strips):
        base = top + (row + 1) * height
        heights = [column.values[row] / (strip.greatest or 1) * _STRIP for column in columns]
        bars = (
            f"M{index * step:.1f} {base - (_STRIP - tall) / 2 * strip.symmetric:.1f}"
            f"h{step - gap:.1f}v{-max(tall, 0.5):.1f}h{gap - step:.1f}z"
            for index, tall in enumerate(heights)
        )
        parts.append(element("path", d="".join(bars), cls=f"bar {style}"))
        if strip.mark is not None and strip.mark <= strip.greatest:
            level = base - strip.mark / strip.greatest * _STRIP
            parts.append(element("line", x1=0.0, x2=end, y1=level, y2=level, cls="mark"))
        parts.append(text(strip.words, 0, base - _STRIP - 5, cls="tick"))
    for index, column in enumerate(columns):
        place = {"x": index * step, "y": top - 24, "width": step, "height": bottom - top + 24}
        parts.append(element("rect", title(column.told), **place, cls="touch"))
    return chart(frame, label, bottom + 4, *parts)


def _words(places: Sequence[tuple[float, str]], end: float, y: float, style: str) -> Iterator[str]:
    """Words at their places and before the end; those that the words after them leave no room are left out."""
    for x, words in reversed(places):
        width = 6 + len(words) * _CHARACTER
        if x + width <= end:
            yield text(words, x + 3, y, cls=style)
            end = x

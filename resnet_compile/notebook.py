"""HTML tables for notebooks, which show an object by its `_repr_html_`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """HTML that a cell shows without escaping."""

    __slots__ = ()


Cell = str | int | float | None


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """An HTML table with a title and a header. Numbers are right-aligned, with thousands separated."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    caption = f'<caption style="text-align: left">{escape(title)}</caption>'
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str) or cell is None:
        words = cell if isinstance(cell, Markup) else escape(cell or "–")
        return f'<td style="text-align: left">{words}</td>'
    return f'<td style="text-align: right">{f"{cell:,}" if isinstance(cell, int) else f"{cell:.4f}"}</td>'

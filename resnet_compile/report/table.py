"""Plain text tables, with columns aligned by spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence

Cell = str | int | float | None


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table. Numbers are right-aligned, with separators for thousands; None is a dash."""
    texts = [list(header), *([_text(cell) for cell in row] for row in rows)]
    right = [all(not isinstance(row[column], str) for row in rows) for column in range(len(header))]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    )
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case float():
            # At least three significant digits, also for small numbers.
            below = -math.floor(math.log10(abs(cell))) - 1 if 0 < abs(cell) < 1 else 0
            return f"{cell:,.{3 + below if abs(cell) < 1 else 2 if abs(cell) < 100 else 1}f}"
        case int():
            return f"{cell:,}"
        case _:
            return cell

"""Plain text tables: columns aligned by spaces, so that people and text tools can both read them."""

from __future__ import annotations

from collections.abc import Sequence

Cell = str | int


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The rows under their header; numbers stand right, with thousands separated."""
    texts = [list(header), *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows)]
    right = [all(isinstance(row[column], int) for row in rows) for column in range(len(header))]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    )
    return "\n".join(lines)

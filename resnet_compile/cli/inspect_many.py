"""What resnet-inspect shows of several specs: two side by side, or the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_compile.plan import Plan, Summary
    from resnet_compile.report.table import Cell

# Where a part stands in its network: its block, its unit, its layer, as far down as it lies.
Place = tuple[str, ...]


def catalogue_document() -> list[dict[str, Any]]:
    """Every spec of the catalogue, with its size and origin."""
    from resnet_compile.plan import plan_network
    from resnet_compile.spec import catalogue, load_spec

    rows = []
    for name in catalogue():
        spec = load_spec(name)
        planned = plan_network(spec)
        rows.append(
            {
                "name": name,
                "parameters": planned.num_parameters,
                "moving_statistics": planned.num_moving_statistics,
                "macs": planned.macs,
                "origin": spec.origin or "",
            }
        )
    return rows


def catalogue_text(rows: list[dict[str, Any]]) -> str:
    """The catalogue as a table."""
    from resnet_compile.report.table import table

    return table(["name", "parameters", "moving", "multiply-accumulates", "origin"], [[*row.values()] for row in rows])


def comparison_text(left: tuple[Plan, Summary], right: tuple[Plan, Summary], depth: int) -> str:
    """Two networks next to each other, with parts that stand in the same place in one row.

    Args:
        left: A network and what it costs.
        right: Another.
        depth: 1 for blocks, 2 for their units, 3 for their layers.
    """
    from resnet_compile.report.table import table

    header = ["", *["kind", "weights", "parameters", "multiply-accumulates"] * 2]
    parts = [dict(_parts(summary, depth)) for _, summary in (left, right)]
    rows: list[list[Cell]] = [
        ["  " * (len(place) - 1) + place[-1], *_cells(parts[0].get(place)), *_cells(parts[1].get(place))]
        for place in _merged([*parts[0]], [*parts[1]])
    ]
    rows.append(["total", *_cells(left[1]), *_cells(right[1])])
    names = (
        f"{plan.name}, input {plan.input.channels}x{plan.input.height}x{plan.input.width}" for plan, _ in (left, right)
    )
    return f"{' | '.join(names)}\n\n{table(header, rows)}"


def _cells(part: Summary | None) -> list[Cell]:
    return [part.kind, part.weights, part.parameters, part.macs] if part else [""] * 4


def _parts(summary: Summary, depth: int, above: Place = ()) -> Iterator[tuple[Place, Summary]]:
    for part in summary.parts:
        # What is in the root block or the head is named from the network; those two are no scopes of their own.
        inner = part.name.removeprefix(f"{summary.name}/").removeprefix(f"{summary.name.rpartition('/')[0]}/")
        # A unit is known by its number: the kind behind it is what two networks differ in.
        place = (*above, inner.partition("/")[0] if len(above) == 1 else inner)
        yield place, part
        if depth > 1:
            yield from _parts(part, depth - 1, place)


def _merged(left: list[Place], right: list[Place]) -> list[Place]:
    """All places: the left's in order, those of the right alone behind what they follow there."""
    merged, position = list(left), 0
    for place in right:
        if place in merged:
            position = merged.index(place)
        else:
            merged.insert(position, place)
        position += 1
    return merged

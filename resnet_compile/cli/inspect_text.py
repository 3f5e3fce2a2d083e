"""What resnet-inspect says to a person of specs: one, two side by side, or the whole catalogue."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import resnet_compile as rc
from resnet_compile.plan.names import end_point_words
from resnet_compile.report.table import Cell, table
from resnet_compile.spec.published import PublishedWeights

# A network and what it costs.
Measured = tuple["rc.Plan", "rc.plan.Summary"]
_WIDTH = 100
# Where a part stands in its network: its block, its unit, its layer, as far down as it lies.
Place = tuple[str, ...]


def catalogue_text(rows: list[dict[str, Any]]) -> str:
    """The catalogue as a table."""
    return table(["name", "parameters", "moving", "multiply-accumulates", "origin"], [[*row.values()] for row in rows])


def networks_text(networks: Sequence[Measured]) -> str:
    """Networks in a table, a row each."""
    header = ["network", "input", "weights", "parameters", "moving", "multiply-accumulates"]
    rows: list[list[Cell]] = [
        [
            planned.spec.source or planned.name,
            f"{planned.input.channels}x{planned.input.height}x{planned.input.width}",
            summary.weights,
            summary.parameters,
            summary.moving_statistics,
            summary.macs,
        ]
        for planned, summary in networks
    ]
    return table(header, rows)


def network_text(
    network: Measured, facts: dict[str, Any], depth: int, published: Sequence[PublishedWeights] = ()
) -> str:
    """A network with its parts, below what its model says of itself.

    Args:
        network: What to show.
        facts: By name, for a model.
        depth: 1 for blocks, 2 for their units, 3 for their layers.
        published: The weights to name behind it.
    """
    planned, summary = network
    header = ["", "kind", "output", "weights", "parameters", "moving", "multiply-accumulates"]
    rows: list[list[Cell]] = [
        [
            _indented(place),
            part.kind,
            "x".join(map(str, part.output)),
            part.weights,
            part.parameters,
            part.moving_statistics,
            part.macs,
        ]
        for place, part in _parts(summary, depth)
    ]
    rows.append(["total", "", "", summary.weights, summary.parameters, summary.moving_statistics, summary.macs])
    lines = [_title(planned), *(f"  {key}: {_words(value)}" for key, value in facts.items())]
    ends = ["", _end_points(planned)] if depth > 1 else []
    weights = (
        ["", "published weights; the spec's preprocessing is that of the first:", _weights(published)]
        if published
        else []
    )
    return "\n".join([*lines, "", table(header, rows), *ends, *weights])


def _weights(published: Sequence[PublishedWeights]) -> str:
    """Published weights in a table, a row each; a dash stands for what their makers do not state."""
    header = ["tag", "licence", "size", "crop", "interpolation", "top-1 %", "link"]
    rows: list[list[Cell]] = [
        [
            "-" if fact is None else str(fact)
            for fact in (each.tag, each.licence, each.size, each.crop, each.interpolation, each.top1, each.link)
        ]
        for each in published
    ]
    return table(header, rows)


def _end_points(planned: rc.Plan) -> str:
    """What --outputs takes, in lines."""
    words = ", ".join(end_point_words(planned))
    return textwrap.fill(f"end points, for --outputs: {words}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def comparison_text(left: Measured, right: Measured, depth: int) -> str:
    """Two networks next to each other, with parts that stand in the same place in one row; the depth as above."""
    header = ["", *["kind", "weights", "parameters", "multiply-accumulates"] * 2]
    # A unit is known by its number: the kind behind it is what two networks differ in.
    parts = [{_by_number(place): part for place, part in _parts(summary, depth)} for _, summary in (left, right)]
    rows: list[list[Cell]] = [
        [_indented(place), *_cells(parts[0].get(place)), *_cells(parts[1].get(place))]
        for place in _merged([*parts[0]], [*parts[1]])
    ]
    rows.append(["total", *_cells(left[1]), *_cells(right[1])])
    return f"{_title(left[0])} | {_title(right[0])}\n\n{table(header, rows)}"


def _title(planned: rc.Plan) -> str:
    return f"{planned.name}, input {planned.input.channels}x{planned.input.height}x{planned.input.width}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in value.items())
    if isinstance(value, list):
        return f"{len(value)}: {', '.join(map(str, value[:3]))}{', ...' if len(value) > 3 else ''}"
    return str(value)


def _indented(place: Place) -> str:
    return "  " * (len(place) - 1) + place[-1]


def _cells(part: rc.plan.Summary | None) -> list[Cell]:
    return [part.kind, part.weights, part.parameters, part.macs] if part else [""] * 4


def _parts(summary: rc.plan.Summary, depth: int, above: Place = ()) -> Iterator[tuple[Place, rc.plan.Summary]]:
    for part in summary.parts:
        # What is in the root block or the head is named from the network; those two are no scopes of their own.
        inner = part.name.removeprefix(f"{summary.name}/").removeprefix(f"{summary.name.rpartition('/')[0]}/")
        yield (*above, inner), part
        if depth > 1:
            yield from _parts(part, depth - 1, (*above, inner))


def _by_number(place: Place) -> Place:
    return tuple(name.partition("/")[0] if level == 1 else name for level, name in enumerate(place))


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

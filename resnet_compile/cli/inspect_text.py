"""The text output of resnet-inspect for specs: one, two side by side, or the catalogue."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import resnet_compile as rc
from resnet_compile.report.table import Cell, table

if TYPE_CHECKING:
    from resnet_compile.plan.summary import Place
    from resnet_compile.spec.published import PublishedWeights

# A network as its plan and its summary.
Measured = tuple["rc.Plan", "rc.plan.Summary"]
_WIDTH = 100


def catalogue_text(rows: list[dict[str, Any]]) -> str:
    """The catalogue as a table."""
    return table(["name", "parameters", "moving", "multiply-accumulates", "origin"], [[*row.values()] for row in rows])


def networks_text(networks: Sequence[Measured]) -> str:
    """A table of networks, one row for each."""
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
    """A network with its parts, below the metadata of its model.

    Args:
        network: What to show.
        facts: The metadata of the model by name; empty for a spec.
        depth: 1 for blocks, 2 for their units, 3 for their layers.
        published: The published weights to list after the parts.
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
        for place, part in rc.plan.places(summary, depth)
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
    """A table of published weights, one row for each; a dash means that the authors do not state the value."""
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
    """The end points that --outputs accepts, wrapped to lines."""
    words = ", ".join(rc.plan.end_point_words(planned))
    return textwrap.fill(f"end points, for --outputs: {words}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def comparison_text(left: Measured, right: Measured, depth: int) -> str:
    """Two networks side by side; parts with the same path share a row. For `depth` see `network_text`."""
    header = ["", *["kind", "weights", "parameters", "multiply-accumulates"] * 2]
    rows: list[list[Cell]] = [
        [_indented(place), *_cells(one), *_cells(other)]
        for place, one, other in rc.plan.paired(left[1], right[1], depth)
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

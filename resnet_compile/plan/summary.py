"""The costs of a network, as a tree: network, blocks, units, layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resnet_compile.plan.layers import Layer
from resnet_compile.plan.network import Plan
from resnet_compile.plan.unit import UnitPlan


@dataclass(frozen=True, slots=True)
class Summary:
    """The costs of a network, block, unit or layer.

    Attributes:
        name: Its scope.
        kind: Its kind, in a word or two.
        output: Its output for one image: channels, rows, columns.
        weights: The number of values in kernels and matrices, which multiply-accumulates use.
        parameters: The number of trainable values.
        moving_statistics: The number of values in moving means and variances.
        macs: Multiply-accumulates for one image.
        parts: Its parts, in order; empty for a layer.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    weights: int
    parameters: int
    moving_statistics: int
    macs: int
    parts: tuple[Summary, ...] = ()


def summarize(plan: Plan) -> Summary:
    """The whole network's summary: root block, blocks and head, with their units and layers."""
    root = [_group(f"{plan.name}/root", "root block", map(_layer, plan.root))] if plan.root else []
    blocks = [_group(block.scope, _units(block.units), map(_unit, block.units)) for block in plan.blocks]
    head = [_group(f"{plan.name}/head", "head", map(_layer, plan.head.layers))] if plan.head.layers else []
    return _group(plan.name, "network", [*root, *blocks, *head])


def _units(units: tuple[UnitPlan, ...]) -> str:
    return f"{len(units)} unit{'s' if len(units) > 1 else ''}"


def _unit(unit: UnitPlan) -> Summary:
    stride = f", stride {unit.stride}" if unit.stride > 1 else ""
    rate = f", rate {unit.rate}" if unit.rate > 1 else ""
    return _group(unit.scope, f"unit{stride}{rate}", map(_layer, unit.layers))


def _group(name: str, kind: str, parts: Iterable[Summary]) -> Summary:
    parts = tuple(parts)
    return Summary(
        name,
        kind,
        parts[-1].output,
        sum(part.weights for part in parts),
        sum(part.parameters for part in parts),
        sum(part.moving_statistics for part in parts),
        sum(part.macs for part in parts),
        parts,
    )


def _layer(layer: Layer) -> Summary:
    return Summary(
        layer.scope,
        layer.description,
        (layer.output.channels, *layer.output.size),
        sum(parameter.size for parameter in layer.parameters if parameter.role == "weights"),
        sum(parameter.size for parameter in layer.parameters if parameter.trainable),
        sum(parameter.size for parameter in layer.parameters if not parameter.trainable),
        layer.macs,
    )

"""A network's shapes and costs as a tree: network, blocks, units, layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from resnet_compile.plan.layers import Layer
from resnet_compile.plan.network import Plan
from resnet_compile.plan.receptive import ReceptiveField, receptive_fields
from resnet_compile.plan.unit import UnitPlan

Place = tuple[str, ...]
"""The path of a part in its network: block, unit and layer, as deep as the part lies."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The shape and the costs of a network, block, unit or layer.

    Attributes:
        name: Its scope.
        kind: Its kind, in a word or two.
        output: Its output for one image: channels, rows, columns.
        reduction: Pixels of the image from one position of the output to the next; None where it has one position.
        receptive_field: Rows and columns of the image that a position depends on, as `receptive_fields` counts them;
            None for the whole image.
        weights: The number of values in kernels and matrices, which multiply-accumulates use.
        parameters: The number of trainable values.
        moving_statistics: The number of values in moving means and variances.
        macs: Multiply-accumulates for one image.
        parts: Its parts, in order; empty for a layer.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    reduction: int | None
    receptive_field: tuple[int, int] | None
    weights: int
    parameters: int
    moving_statistics: int
    macs: int
    parts: tuple[Summary, ...] = ()


def summarize(plan: Plan) -> Summary:
    """The whole network's summary: root block, blocks and head, with their units and layers."""
    fields = receptive_fields(plan)

    def layers(of: Iterable[Layer]) -> list[Summary]:
        return [_layer(layer, fields[layer.scope]) for layer in of]

    def unit(each: UnitPlan) -> Summary:
        return _group(each.scope, _windows(each), layers(each.layers), fields[each.scope])

    root = [_group(f"{plan.name}/root", "root block", layers(plan.root))] if plan.root else []
    blocks = [_group(block.scope, _units(block.units), list(map(unit, block.units))) for block in plan.blocks]
    head = [_group(f"{plan.name}/head", "head", layers(plan.head.layers))] if plan.head.layers else []
    return _group(plan.name, "network", [*root, *blocks, *head])


def places(summary: Summary, depth: int, above: Place = ()) -> Iterator[tuple[Place, Summary]]:
    """The parts with their places, in order; 1 for blocks, 2 for their units, 3 for their layers."""
    for part in summary.parts:
        # The root block and the head are no scopes: names of their parts begin with the network's name.
        inner = part.name.removeprefix(f"{summary.name}/").removeprefix(f"{summary.name.rpartition('/')[0]}/")
        yield (*above, inner), part
        if depth > 1:
            yield from places(part, depth - 1, (*above, inner))


def paired(left: Summary, right: Summary, depth: int) -> list[tuple[Place, Summary | None, Summary | None]]:
    """The parts of two networks, those of one place together; None where a network has no such part.

    Units are matched by number: their kind may differ between the networks.
    """
    one, other = ({_by_number(place): part for place, part in places(each, depth)} for each in (left, right))
    return [(place, one.get(place), other.get(place)) for place in _merged([*one], [*other])]


def _by_number(place: Place) -> Place:
    return tuple(name.partition("/")[0] if level == 1 else name for level, name in enumerate(place))


def _merged(left: list[Place], right: list[Place]) -> list[Place]:
    """All places: the left's in order, and each of the right's own after its predecessor there."""
    merged, position = list(left), 0
    for place in right:
        if place in merged:
            position = merged.index(place)
        else:
            merged.insert(position, place)
        position += 1
    return merged


def _units(units: tuple[UnitPlan, ...]) -> str:
    return f"{len(units)} unit{'s' if len(units) > 1 else ''}"


def _windows(unit: UnitPlan) -> str:
    stride = f", stride {unit.stride}" if unit.stride > 1 else ""
    rate = f", rate {unit.rate}" if unit.rate > 1 else ""
    return f"unit{stride}{rate}"


def _group(name: str, kind: str, parts: list[Summary], field: ReceptiveField | None = None) -> Summary:
    """Parts in a row; `field` is what their end depends on, by default what the last part does."""
    last = parts[-1]
    return Summary(
        name,
        kind,
        last.output,
        field.stride if field else last.reduction,
        field.size if field else last.receptive_field,
        sum(part.weights for part in parts),
        sum(part.parameters for part in parts),
        sum(part.moving_statistics for part in parts),
        sum(part.macs for part in parts),
        tuple(parts),
    )


def _layer(layer: Layer, field: ReceptiveField | None) -> Summary:
    return Summary(
        layer.scope,
        layer.description,
        (layer.output.channels, *layer.output.size),
        field.stride if field else None,
        field.size if field else None,
        sum(parameter.size for parameter in layer.parameters if parameter.role == "weights"),
        sum(parameter.size for parameter in layer.parameters if parameter.trainable),
        sum(parameter.size for parameter in layer.parameters if not parameter.trainable),
        layer.macs,
    )

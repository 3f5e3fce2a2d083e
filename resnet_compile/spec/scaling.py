"""A spec scaled in depth (units) and width (channels): two axes of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from resnet_compile.checked import PositiveNumber, checked_call
from resnet_compile.spec.base import SpecModel
from resnet_compile.spec.network import Block, NetworkSpec
from resnet_compile.spec.parts import DeepStem
from resnet_compile.spec.roots import Root, StemRoot
from resnet_compile.spec.units import UnitArgs

_MULTIPLE, _FEW = 8, 32
"""Scaled channels are a multiple of the first, which suits kernels and tensor cores; below the second, of its half."""


@checked_call(SpecModel)
def scaled(spec: NetworkSpec, *, depth: PositiveNumber = 1.0, width: PositiveNumber = 1.0) -> NetworkSpec:
    """The network with other numbers of units and channels, and the same strides.

    Args:
        spec: The network.
        depth: The factor for the units of every block, rounded to the nearest number. Only units without a stride are
            added or removed.
        width: The factor for the channels of every layer except the logits, rounded to the nearest multiple of 8; below
            32, of 4.

    Raises:
        SpecError: The network is above a limit, or a factor is not above 0.
    """
    if depth != 1:
        spec = spec.replace(blocks=tuple(_deeper(block, depth) for block in spec.blocks))
    if width != 1:
        blocks = tuple(block.replace(args=tuple(_wider(args, width) for args in block.args)) for block in spec.blocks)
        spec = spec.replace(blocks=blocks, root=spec.root and _wider_root(spec.root, width))
    return spec


def _deeper(block: Block, factor: float) -> Block:
    units = [args.replace(repeat=1) for args in block.args for _ in range(args.repeat)]
    wanted = max(1, round(len(units) * factor))
    plain = [place for place, unit in enumerate(units) if unit.stride == 1]
    if wanted < len(units):
        for place in plain[::-1][: min(len(units) - wanted, len(units) - 1)]:
            del units[place]
    else:
        # After the last unit without a stride, so that a stride stays at the beginning or the end.
        place, unit = (plain[-1], units[plain[-1]]) if plain else (len(units) - 1, units[-1].replace(stride=1))
        units[place + 1 : place + 1] = [unit] * (wanted - len(units))
    return block.replace(args=_runs(units))


def _runs(units: Sequence[UnitArgs]) -> tuple[UnitArgs, ...]:
    """Equal units in a row as one entry."""
    return tuple(unit.replace(repeat=sum(1 for _ in equal)) for unit, equal in groupby(units))


def _wider(args: UnitArgs, factor: float) -> UnitArgs:
    inner = args.depth_bottleneck and _channels(args.depth_bottleneck, factor)
    widths = args.widths and tuple(_channels(each, factor) for each in args.widths)
    return args.replace(depth=_channels(args.depth, factor), depth_bottleneck=inner, widths=widths)


def _wider_root(root: Root, factor: float) -> Root:
    if isinstance(root, StemRoot) and isinstance(root.stem, DeepStem):
        first, second = root.stem.widths
        stem = root.stem.replace(widths=(_channels(first, factor), _channels(second, factor)))
        root = root.replace(stem=stem)
    return root.replace(depth=_channels(root.depth, factor))


def _channels(count: int, factor: float) -> int:
    multiple = _MULTIPLE if count * factor >= _FEW else _MULTIPLE // 2
    return max(1, round(count * factor / multiple)) * multiple

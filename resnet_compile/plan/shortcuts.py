"""Shortcuts: the branch that a unit adds to its residual, by the unit's kind or by the part that replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from resnet_compile.errors import SpecError
from resnet_compile.plan.geometry import NO_PADDING, FeatureMap, same_padding
from resnet_compile.plan.layers import AveragePool, MaxPool
from resnet_compile.plan.unit import Shortcut, ShortcutLayer, UnitSite
from resnet_compile.spec import parts


@dataclass(frozen=True, slots=True)
class Wiring:
    """The shortcut of a kind.

    Attributes:
        projects: Whether the unit projects; else its shortcut is the input, subsampled where the unit strides.
        norm: Whether a normalisation follows the projection.
        biases: Whether the projection has biases.
        from_preactivation: Whether the projection reads the pre-activation; other shortcuts read the raw input.
    """

    projects: bool
    norm: bool = False
    biases: bool = False
    from_preactivation: bool = False


def shortcut(site: UnitSite, wiring: Wiring) -> Shortcut:
    """The shortcut of a unit.

    Raises:
        SpecError: The part does not allow these depths, stride or sides.
    """
    match site.kind.shortcut:
        case None:
            return _projected(parts.Projection(), site, wiring)
        case parts.Projection() as part:
            return _projected(part, site, wiring)
        case parts.PooledProjection() as part:
            return _pooled_projection(part, site, wiring)
        case parts.PaddedPool():
            return Shortcut(pooled_and_padded(site), from_preactivation=False)
        case parts.PaddedSubsample():
            return Shortcut(_subsampled_and_padded(site), from_preactivation=False)
        case _:
            assert_never(site.kind.shortcut)


def _projected(part: parts.Projection, site: UnitSite, wiring: Wiring) -> Shortcut:
    if not _projects(part.at, site, wiring):
        return _kept(site)
    projection = site.conv(
        "shortcut",
        site.source,
        site.args.depth,
        part.kernel,
        stride=site.stride,
        norm=wiring.norm if part.norm is None else part.norm,
        biases=wiring.biases if part.biases is None else part.biases,
    )
    return Shortcut((projection,), wiring.from_preactivation)


def _pooled_projection(part: parts.PooledProjection, site: UnitSite, wiring: Wiring) -> Shortcut:
    """A pooled projection; its convolution is called `projection`, unlike the strided one, which is `shortcut`."""
    if not _projects(part.at, site, wiring):
        return _kept(site)
    source, stride = site.source, site.stride
    padding = same_padding(source, stride, stride)
    pool = (site.scope.average_pool("shortcut/pool", source, stride, padding),) if stride > 1 else ()
    pooled = pool[0].output if pool else source
    norm = wiring.norm if part.norm is None else part.norm
    projection = site.conv("projection", pooled, site.args.depth, 1, norm=norm, biases=wiring.biases)
    return Shortcut((*pool, projection), wiring.from_preactivation)


def _projects(at: parts.ProjectsAt | None, site: UnitSite, wiring: Wiring) -> bool:
    match at:
        case None:
            return wiring.projects
        case "shape":
            return not site.keeps_shape
        case "first":
            return site.first or not site.keeps_shape
        case _:
            assert_never(at)


def _kept(site: UnitSite) -> Shortcut:
    """The shortcut without a projection: the input, subsampled where the unit strides."""
    return Shortcut(site.scope.subsample("shortcut", site.source, site.stride), from_preactivation=False)


def pooled_and_padded(site: UnitSite) -> tuple[ShortcutLayer, ...]:
    """The CIFAR system's parameterless shortcut: the mean of each stride x stride window, then channels of zeros.

    The pool drops rows that fill no window, and the strided convolution keeps them. The original, too, fails for sides
    that are not multiples of the stride.

    Raises:
        SpecError: The sides are not multiples of the stride, or the channels cannot be padded.
    """
    if site.keeps_depth:
        refuse_stride(site)
        return ()
    _require_even_padding(site)
    source, stride = site.source, site.stride
    if source.height % stride or source.width % stride:
        raise SpecError(
            f"the sides of a {source.height}x{source.width} map are not multiples of the stride {stride} of the "
            f"average pool in {site.scope.name}",
            where="$.input",
        )
    return _padded(site, site.scope.average_pool("shortcut/pool", source, stride, NO_PADDING) if stride > 1 else None)


def _subsampled_and_padded(site: UnitSite) -> tuple[ShortcutLayer, ...]:
    """Option A of He et al. 2015: every stride-th row and column, then channels of zeros."""
    if site.keeps_depth:
        return site.scope.subsample("shortcut", site.source, site.stride)
    _require_even_padding(site)
    return _padded(site, next(iter(site.scope.subsample("shortcut/pool", site.source, site.stride)), None))


def _padded(site: UnitSite, pool: AveragePool | MaxPool | None) -> tuple[ShortcutLayer, ...]:
    """A pool, then equally many channels of zeros before and after."""
    pooled: FeatureMap = pool.output if pool else site.source
    missing = site.args.depth - site.source.channels
    pad = site.scope.channel_pad("shortcut", pooled, missing // 2, missing // 2)
    return (pool, pad) if pool else (pad,)


def _require_even_padding(site: UnitSite) -> None:
    missing = site.args.depth - site.source.channels
    if missing < 0 or missing % 2:
        raise SpecError(
            f"{site.source.channels} channels cannot be padded to {site.args.depth} equally on both sides",
            where=f"{site.where}.depth",
        )


def refuse_stride(site: UnitSite) -> None:
    """Raises a `SpecError` if a unit strides and keeps its depth: it adds its input as it is."""
    if site.stride > 1:
        raise SpecError(
            "a unit of this kind cannot stride and keep its depth: its shortcut is its input",
            where=f"{site.where}.stride",
        )

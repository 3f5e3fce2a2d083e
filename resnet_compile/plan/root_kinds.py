"""The layers of the root block, whose strides multiply to the block's.

Every kind but `stem` is a name for a certain stem and pool.
"""

from __future__ import annotations

from typing import assert_never

from resnet_compile.errors import SpecError
from resnet_compile.plan.geometry import NO_PADDING, FeatureMap, ceil_padding, fixed_padding
from resnet_compile.plan.layers import AveragePool, Blur, Conv, MaxPool
from resnet_compile.plan.scope import ConvOptions, LayerScope
from resnet_compile.spec import parts, roots

RootLayers = tuple[Conv | MaxPool | AveragePool | Blur, ...]


def plan_root(kind: roots.RootKind | None, scope: LayerScope, source: FeatureMap) -> RootLayers:
    """The root block's layers; empty without a root block.

    Raises:
        SpecError: The image is too small for the pool.
    """
    if kind is None:
        return ()
    root = in_parts(kind)
    convolutions = _stem(root, scope, source)
    return (*convolutions, *(_pool(root.pool, scope, convolutions[-1].output) if root.pool else ()))


def in_parts(kind: roots.RootKind) -> roots.StemRoot:
    """The stem and pool that a kind names."""
    match kind:
        case roots.StemRoot():
            return kind
        case roots.ImagenetRoot(depth=depth):
            return roots.StemRoot(depth=depth, norm=False, biases=True, pool=parts.MaxRootPool(padding="same"))
        case roots.ImagenetV1Root(depth=depth):
            return roots.StemRoot(depth=depth, pool=parts.MaxRootPool(padding="same"))
        case roots.TorchvisionRoot(depth=depth):
            return roots.StemRoot(depth=depth)
        case roots.TimmPreactRoot(depth=depth):
            return roots.StemRoot(depth=depth, norm=False)
        case roots.KerasV2Root(depth=depth):
            return roots.StemRoot(depth=depth, norm=False, biases=True, pool=parts.MaxRootPool(padding="zero"))
        case roots.CifarRoot(depth=depth):
            return roots.StemRoot(stem=parts.ThreeStem(), depth=depth, norm=False, pool=None)
        case _:
            assert_never(kind)


def _stem(root: roots.StemRoot, scope: LayerScope, source: FeatureMap) -> tuple[Conv, ...]:
    """The convolutions: `conv1`, or of a deep stem `stem1` to `stem3`."""

    def conv(name: str, source: FeatureMap, depth: int, kernel: int, stride: int = 1, *, norm: bool = True) -> Conv:
        same, activation = root.padding == "same", scope.activation if norm else None
        options = ConvOptions(same=same, biases=root.biases, norm=norm, activation=activation)
        return scope.conv(name, source, depth, kernel, stride=stride, **options)

    match root.stem:
        case parts.SevenStem():
            return (conv("conv1", source, root.depth, 7, 2, norm=root.norm),)
        case parts.ThreeStem():
            return (conv("conv1", source, root.depth, 3, norm=root.norm),)
        case parts.DeepStem(widths=(first, second)):
            stem1 = conv("stem1", source, first, 3, 2)
            stem2 = conv("stem2", stem1.output, second, 3)
            return stem1, stem2, conv("stem3", stem2.output, root.depth, 3, norm=root.norm)
        case _:
            assert_never(root.stem)


def _pool(kind: parts.RootPoolKind, scope: LayerScope, source: FeatureMap) -> RootLayers:
    match kind:
        case parts.MaxRootPool(padding=padding):
            return (_max_pool(padding, scope, source),)
        case parts.BlurredMaxRootPool(kernel=kernel):
            pool = scope.max_pool("pool1/max", source, 3, 1, fixed_padding(3))
            return pool, scope.blur("pool1", pool.output, kernel, 2)
        case parts.AverageRootPool():
            _require_window(source)
            return (scope.average_pool("pool1", source, 2, NO_PADDING),)
        case parts.ConvolutionRootPool():
            depth = source.channels
            return (scope.conv("pool1", source, depth, 3, stride=2, norm=True, activation=scope.activation),)
        case _:
            assert_never(kind)


def _require_window(source: FeatureMap) -> None:
    """Raises a `SpecError` for a map of one row or column, on which a pool without leading padding has no output."""
    if min(source.size) < 2:
        raise SpecError(f"a map of {source.height}x{source.width} is too small for the root's pool", where="$.input")


def _max_pool(padding: parts.PoolPadding, scope: LayerScope, source: FeatureMap) -> MaxPool:
    match padding:
        case "symmetric":
            return scope.max_pool("pool1", source, 3, 2, fixed_padding(3))
        case "zero":
            return scope.max_pool("pool1", source, 3, 2, fixed_padding(3), pad_value=0.0)
        case "same":
            return scope.max_pool_same("pool1", source, 3, 2)
        case "ceil":
            _require_window(source)
            return scope.max_pool("pool1", source, 3, 2, ceil_padding(source, 3, 2))
        case _:
            assert_never(padding)

"""The layers of the root block, one planning function per kind; its stride is the product of theirs."""

from __future__ import annotations

from typing import assert_never

from resnet_compile.plan.geometry import FeatureMap, fixed_padding
from resnet_compile.plan.layers import Conv, MaxPool, Relu
from resnet_compile.plan.scope import LayerScope
from resnet_compile.spec import roots

RootLayers = tuple[Conv | MaxPool, ...]


def plan_root(kind: roots.RootKind | None, scope: LayerScope, source: FeatureMap) -> RootLayers:
    """The root block's layers, none where there is no root block."""
    match kind:
        case None:
            return ()
        case roots.ImagenetRoot(depth=depth):
            conv1 = scope.conv("conv1", source, depth, 7, stride=2, biases=True)
            return conv1, scope.max_pool_same("pool1", conv1.output, 3, stride=2)
        case roots.ImagenetV1Root(depth=depth):
            conv1 = scope.conv("conv1", source, depth, 7, stride=2, norm=True, activation=Relu())
            return conv1, scope.max_pool_same("pool1", conv1.output, 3, stride=2)
        case roots.TorchvisionRoot(depth=depth):
            conv1 = scope.conv("conv1", source, depth, 7, stride=2, norm=True, activation=Relu())
            return conv1, scope.max_pool("pool1", conv1.output, 3, 2, fixed_padding(3))
        case roots.TimmPreactRoot(depth=depth):
            conv1 = scope.conv("conv1", source, depth, 7, stride=2)
            return conv1, scope.max_pool("pool1", conv1.output, 3, 2, fixed_padding(3))
        case roots.KerasV2Root(depth=depth):
            conv1 = scope.conv("conv1", source, depth, 7, stride=2, biases=True)
            return conv1, scope.max_pool("pool1", conv1.output, 3, 2, fixed_padding(3), pad_value=0.0)
        case roots.CifarRoot(depth=depth):
            return (scope.conv("conv1", source, depth, 3),)
        case _:
            assert_never(kind)

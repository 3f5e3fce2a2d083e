"""Channel attention: a gate on the channels of a residual, from their means."""

from __future__ import annotations

import math
from functools import partial
from typing import assert_never

from resnet_compile.errors import SpecError
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.layers import ChannelConv, ChannelGate, Conv, Relu
from resnet_compile.plan.scope import LayerScope
from resnet_compile.spec import parts


def attention(kind: parts.AttentionKind, scope: LayerScope, source: FeatureMap, where: str) -> tuple[ChannelGate]:
    """The gate of a kind on a map.

    Raises:
        SpecError: Its kernel is even.
    """
    match kind:
        case parts.SqueezeExcitation():
            return (scope.channel_gate("attention", source, partial(_squeeze_excitation, kind, scope)),)
        case parts.EfficientChannel():
            return (scope.channel_gate("attention", source, partial(_efficient_channel, kind, scope, where)),)
        case _:
            assert_never(kind)


def _squeeze_excitation(kind: parts.SqueezeExcitation, scope: LayerScope, means: FeatureMap) -> tuple[Conv, ...]:
    """Two 1x1 convolutions with a ReLU between them, whatever the network's activation."""
    multiples = int(means.channels / kind.reduction / kind.rounding + 0.5)
    between = max(multiples, 1) * kind.rounding
    conv1 = scope.conv("attention/conv1", means, between, 1, biases=kind.biases, activation=Relu())
    return conv1, scope.conv("attention/conv2", conv1.output, means.channels, 1, biases=kind.biases)


def _efficient_channel(
    kind: parts.EfficientChannel, scope: LayerScope, where: str, means: FeatureMap
) -> tuple[ChannelConv]:
    """One convolution along the C channels; the paper's rule with gamma 2 and b 1: t = (log2(C) + 1) / 2 taps."""
    taps = kind.kernel
    if taps is None:
        rule = int((math.log2(means.channels) + 1) / 2)
        taps = max(rule if rule % 2 else rule + 1, 3)
    if taps % 2 == 0:
        raise SpecError(f"kernel must be odd, got {taps}", where=f"{where}.kernel")
    return (scope.channel_conv("attention/channels", means, taps),)

"""Layers of the plan, and the nodes of the model that compute the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import assert_never

from resnet_compile.plan import layers
from resnet_compile.weights.structure.activations import activated
from resnet_compile.weights.structure.channels import channel_conv, channel_gate, channel_pad
from resnet_compile.weights.structure.convolutions import blur, convolution, dense
from resnet_compile.weights.structure.model import Counterpart, Walk, Wanted, pixel
from resnet_compile.weights.structure.norms import norm_activation
from resnet_compile.weights.structure.pools import average_pool, global_pool, max_pool
from resnet_compile.weights.structure.walk import distinct


def chain(model: Walk, ahead: Sequence[layers.Layer], steps: Sequence[Counterpart]) -> list[Counterpart]:
    """Every match of these layers, in order.

    Raises:
        WeightsError: There is none; the nearest node is named.
    """
    found = list(steps)
    for layer in ahead:
        if not (found := _all_through(model, layer, found)):
            raise model.error(Wanted(layer.scope, layer.description))
    return found


def through_layer(model: Walk, layer: layers.Layer, step: Counterpart) -> Iterator[Counterpart]:
    """Every match of one layer."""
    if layer.source.size == (1, 1):  # rows and columns that reshaping may drop
        step = step.on(pixel(step.place))
    match layer:
        case layers.Conv():
            return convolution(model, layer, step)
        case layers.Dense():
            return activated(model, layer.activation, dense(model, layer, step), layer.scope)
        case layers.NormActivation():
            return norm_activation(model, layer, step)
        case layers.MaxPool():
            return max_pool(model, layer, step)
        case layers.AveragePool():
            return average_pool(model, layer, step)
        case layers.GlobalPool():
            return global_pool(model, layer, step)
        case layers.Blur():
            return blur(model, layer, step)
        case layers.ChannelConv():
            return channel_conv(model, layer, step)
        case layers.ChannelGate():
            return channel_gate(model, layer, step, partial(_all_through, model))
        case layers.ChannelPad():
            return channel_pad(model, layer, step)
        case _:
            assert_never(layer)


def _all_through(model: Walk, layer: layers.Layer, steps: Sequence[Counterpart]) -> list[Counterpart]:
    return distinct(after for step in steps for after in through_layer(model, layer, step))

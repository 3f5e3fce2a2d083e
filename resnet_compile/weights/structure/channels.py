"""Layers that work on channels as such: attention, and channels of zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan import layers
from resnet_compile.weights.structure.model import (
    ATTRIBUTE,
    MAP,
    NO_WORD,
    WEIGHTS,
    ComputedTensor,
    Counterpart,
    Place,
    Walk,
    Wanted,
    pixel,
    through,
)
from resnet_compile.weights.structure.moves import BATCH, sides
from resnet_compile.weights.structure.pools import global_pool
from resnet_compile.weights.structure.walk import places, takers
from resnet_compile.weights.structure.weights import Values

Through = Callable[[layers.Layer, Sequence[Counterpart]], Sequence[Counterpart]]


def channel_conv(model: Walk, layer: layers.ChannelConv, step: Counterpart) -> Iterator[Counterpart]:
    """A convolution of one channel, whose kernel lies along the axis of the channels."""
    wanted, taps = Wanted(layer.scope, layer.description), layer.weights.size
    for node, here in takers(model, step, wanted, "Conv"):
        if not _slides_over_channels(model, node, here, taps):
            fault = (
                f"has weights of shape {model.shape(node, 1)} on axes {here.axes}, the spec {taps} along the channels"
            )
            model.note(step, wanted, node, fault, f"see {model.site.path}.unit.attention", closeness=WEIGHTS)
            continue
        weights = partial(_reshaped, model.values(node, 1), layer.weights.shape)
        yield step.on(through(here, node), node, filled=(ComputedTensor(layer.weights, weights),))


def _slides_over_channels(model: Walk, node: OnnxNode, here: Place, taps: int) -> bool:
    """Whether a Conv keeps as many channels as it reads, by zeros on both sides."""
    if not here.axes.startswith("N1") or here.axes.count("C") != 1 or here.border or model.has(node, 2):
        return False
    spatial = here.axes[2:]
    if set(spatial) - {"1", "C"}:
        return False
    kernel = tuple(taps if label == "C" else 1 for label in spatial)
    edges = tuple(taps // 2 if label == "C" else 0 for label in spatial)
    ones, ints = (1,) * len(spatial), node.ints
    return (
        model.shape(node, 1) == (1, 1, *kernel)
        and ints.get("kernel_shape", kernel) == kernel
        and ints.get("strides", ones) == ones
        and ints.get("dilations", ones) == ones
        and ints.get("group", (1,)) == (1,)
        and (
            node.strings.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
            or (
                ints.get("pads", (0,) * 2 * len(spatial)) == edges * 2
                and node.strings.get("auto_pad", "NOTSET") == "NOTSET"
            )
        )
    )


def _reshaped(values: Values, shape: tuple[int, ...]) -> NDArray[Any]:
    reshaped: NDArray[Any] = values().reshape(shape)
    return reshaped


def channel_gate(
    model: Walk, layer: layers.ChannelGate, step: Counterpart, through_all: Through
) -> Iterator[Counterpart]:
    """A product of the map and the sigmoid of what its means give."""
    wanted = Wanted(layer.scope, layer.description)
    factors: Sequence[Counterpart] = list(global_pool(model, layer.pool, step))
    for inner in layer.layers:
        factors = through_all(inner, factors)
    gates = [
        end.on(through(here, node), node) for end in factors for node, here in takers(model, end, wanted, "Sigmoid")
    ]
    gates += [each for gate in gates for each in _expanded(model, layer, step, gate)]
    products: dict[int, list[tuple[Counterpart, Place]]] = {}
    for gate in gates:
        for node, here in takers(model, gate, wanted, "Mul"):
            products.setdefault(id(node), []).append((gate, here))
    for node, here in takers(model, step, wanted, "Mul"):
        for gate, there in products.get(id(node), ()):
            inputs = sorted(node.inputs) == sorted((here.value, there.value))
            if not inputs or here.border or there.border or pixel(here).axes != there.axes:
                model.note(step, wanted, node, "scales along axes other than channels", NO_WORD, closeness=WEIGHTS)
                continue
            yield gate.on(replace(through(here, node), nonnegative=here.nonnegative), node)


def _expanded(model: Walk, layer: layers.ChannelGate, step: Counterpart, gate: Counterpart) -> Iterator[Counterpart]:
    """Factors that are spread over the map before the product, which would spread them itself."""
    for node, here in takers(model, gate, None, "Expand"):
        maker = model.maker(node.inputs[1]) if model.has(node, 1) else None
        if maker and maker.operator == "Shape" and not maker.ints and maker.inputs[0] == step.place.value:
            yield gate.on(through(here, node), node)
            continue
        batches, maps = (1, BATCH, model.batch), step.place.axes == here.axes.replace("11", "HW") == MAP
        shape = sides(model, node) if maps and not here.border else None
        alike = shape and len(shape) == 4 and shape[0] in batches and shape[1] in (1, layer.source.channels)
        if shape and alike and (min(layer.source.size) > 1 or shape[2:] == [1, 1]):
            yield gate.on(through(here, node), node)


def channel_pad(model: Walk, layer: layers.ChannelPad, step: Counterpart) -> Iterator[Counterpart]:
    """Pad nodes that put zeros around the channels, and nothing around rows and columns."""
    wanted = Wanted(layer.scope, layer.description)
    for here in places(model, step, wanted):
        if here.border is None or here.owed:
            continue
        amounts = here.border.amounts
        if (here.border.mode, here.border.fill) == ("constant", 0.0) and amounts == {"C": (layer.before, layer.after)}:
            yield step.on(replace(here, border=None, channels=layer.output.channels))
        elif (maker := model.maker(here.value)) is not None:
            fault = (
                f"pads {here.border.amounts} with {here.border.mode} {here.border.fill:g}, the spec {layer.description}"
            )
            model.note(step, wanted, maker, fault, f"see {model.site.path}.unit.shortcut", closeness=ATTRIBUTE)

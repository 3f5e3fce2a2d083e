"""Matches convolutions and dense layers of the model with the plan's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan import layers
from resnet_compile.plan.geometry import same_padding
from resnet_compile.weights.structure.activations import activated
from resnet_compile.weights.structure.model import (
    ATTRIBUTE,
    MAP,
    NO_WORD,
    PIXEL,
    WEIGHTS,
    ComputedTensor,
    Counterpart,
    Place,
    Walk,
    Wanted,
    or_zeros,
    through,
)
from resnet_compile.weights.structure.norms import folded, normalised
from resnet_compile.weights.structure.walk import takers
from resnet_compile.weights.structure.weights import Values
from resnet_compile.weights.structure.windows import SlidingWindow, difference, window

# A filter's numbers in float32 against their definition, over the largest.
_ROUNDING = 1e-6


def convolution(model: Walk, layer: layers.Conv, step: Counterpart) -> Iterator[Counterpart]:
    """A Conv with what follows it; of one pixel also a Gemm or a MatMul."""
    pixel = layer.source.size == (1, 1) and layer.kernel == 1 and layer.groups == 1 and layer.norm is None
    if pixel and layer.biases:
        yield from activated(model, layer.activation, dense(model, layer, step), layer.scope)
        return
    wanted = Wanted(layer.scope, layer.description)
    for node, here in takers(model, step, wanted, "Conv"):
        if not _same_convolution(model, layer, node, here, step, wanted):
            continue
        biases = model.values(node, 2) if model.has(node, 2) else None
        place = _behind(here, node, layer)
        made = step.on(place, node, filled=(ComputedTensor(layer.weights, model.values(node, 1)),))
        yield from activated(model, layer.activation, _biased(model, layer, made, biases), layer.scope)


def _behind(here: Place, node: OnnxNode, layer: layers.Conv) -> Place:
    return replace(through(here, node), channels=layer.output.channels, border=None)


def _biased(model: Walk, layer: layers.Conv, made: Counterpart, biases: Values | None) -> Iterator[Counterpart]:
    """The convolution's biases and norm: separate, folded together, or with biases owed to a later norm."""
    if layer.norm:
        own = (or_zeros(layer.biases, biases),) if layer.biases else ()
        rest = None if layer.biases else biases
        started = made.on(made.place, filled=own)
        yield from normalised(model, layer.norm, started, rest, Wanted(layer.scope, "a BatchNormalization"))
        yield started.on(made.place, filled=folded(layer.norm, rest))
    elif layer.biases:
        yield made.on(made.place, filled=(or_zeros(layer.biases, biases),))
    else:
        yield replace(made, place=replace(made.place, owed=biases))


def _same_convolution(
    model: Walk, layer: layers.Conv, node: OnnxNode, here: Place, step: Counterpart, wanted: Wanted
) -> bool:
    """Whether a Conv slides as the layer does over weights of its shape."""
    path, shape = model.site.path, model.shape(node, 1)
    if shape != layer.weights.shape or here.axes not in (MAP, PIXEL):
        given = "no stored weights" if shape is None else f"weights of shape {shape} on axes {here.axes}"
        model.note(step, wanted, node, f"has {given}, the spec {layer.weights.shape}", f"see {path}", closeness=WEIGHTS)
        return False
    if node.ints.get("group", (1,)) != (layer.groups,):
        group = node.ints.get("group", (1,))[0]
        grouped = model.site.unit is not None and model.site.unit.bottleneck and layer.kernel > 1
        advice = f"set {path}.unit.groups to {group}" if grouped else NO_WORD
        model.note(step, wanted, node, f"has {group} groups, the spec {layer.groups}", advice, closeness=ATTRIBUTE)
        return False
    if model.has(node, 2) and model.shape(node, 2) != (layer.output.channels,):
        model.note(step, wanted, node, "has biases that are no vector of the file", NO_WORD, closeness=ATTRIBUTE)
        return False
    if here.border and (here.border.mode, here.border.fill) != ("constant", 0.0):
        fault = f"follows a Pad of mode {here.border.mode} and value {here.border.fill:g}, the spec pads zeros"
        model.note(step, wanted, node, fault, NO_WORD, closeness=ATTRIBUTE)
        return False
    found = window(node, (layer.kernel, layer.kernel), here, layer.source)
    if not _has_kernel(node, (layer.kernel, layer.kernel)):
        found = None
    if differs := difference(found, layer.stride, layer.rate, layer.padding, layer.output):
        model.note(step, wanted, node, differs[0], _advice(model, layer, found, differs[1]), closeness=ATTRIBUTE)
        return False
    return True


def _has_kernel(node: OnnxNode, kernel: tuple[int, ...]) -> bool:
    """Whether a node's own word for its window is that of its weights."""
    return node.ints.get("kernel_shape", kernel) == kernel


def _advice(model: Walk, layer: layers.Conv, found: SlidingWindow | None, kind: str) -> str:
    path, in_unit = model.site.path, model.site.path.startswith("$.blocks")
    match kind:
        case "stride":
            return (
                f"the strides stand in {path}.args, and $.output_stride takes them away" if in_unit else f"see {path}"
            )
        case "rate":
            return "set $.output_stride"
        case _:
            same = same_padding(layer.source, layer.kernel, layer.stride, layer.rate)
            if found and in_unit and found.begin == (same.top, same.left):
                return f'set {path}.unit.padding to "same"'
            return NO_WORD


def dense(model: Walk, layer: layers.Dense | layers.Conv, step: Counterpart) -> Iterator[Counterpart]:
    """A Gemm, a MatMul with an Add, or a 1x1 Conv, of one pixel."""
    wanted = Wanted(layer.scope, layer.description)
    for node, here in takers(model, step, wanted, "Gemm", "MatMul", "Conv"):
        match node.operator:
            case "Gemm":
                made = _gemm(model, layer, step, node, here)
            case "MatMul":
                made = _matmul(model, layer, step, node, here, wanted)
            case _:
                made = _pixel_convolution(model, layer, step, node, here)
        if made:
            yield from made
            continue
        shape = model.shape(node, 1)
        fault = f"has weights of shape {shape} on axes {here.axes}, the spec {layer.weights.shape[:2]}"
        model.note(step, wanted, node, fault, f"see {model.site.path}", closeness=WEIGHTS)


def _filled(layer: layers.Dense | layers.Conv, weights: Values, biases: Values | None) -> tuple[ComputedTensor, ...]:
    assert layer.biases, "layers without biases are no dense ones"
    return ComputedTensor(layer.weights, weights), or_zeros(layer.biases, biases)


def _gemm(
    model: Walk, layer: layers.Dense | layers.Conv, step: Counterpart, node: OnnxNode, here: Place
) -> list[Counterpart] | None:
    """A Gemm: alpha A B + beta C."""
    outputs, inputs = layer.weights.shape[:2]
    turned = node.ints.get("transB", (0,)) != (0,)
    given = model.shape(node, 1) == ((outputs, inputs) if turned else (inputs, outputs))
    if not given or here.axes != "NC" or here.border or node.ints.get("transA", (0,)) != (0,):
        return None
    biases = None
    if model.has(node, 2):
        if model.shape(node, 2) not in ((outputs,), (1, outputs)):
            return None
        biases = partial(_times, model.values(node, 2), node.floats.get("beta", 1.0))
    stored = model.values(node, 1)
    weights = partial(_times, stored if turned else partial(_transposed, stored), node.floats.get("alpha", 1.0))
    place = replace(through(here, node), channels=outputs)
    return [step.on(place, node, filled=_filled(layer, weights, biases))]


def _matmul(
    model: Walk, layer: layers.Dense | layers.Conv, step: Counterpart, node: OnnxNode, here: Place, wanted: Wanted
) -> list[Counterpart] | None:
    """A product with a matrix, and biases added to it or not."""
    outputs, inputs = layer.weights.shape[:2]
    if model.shape(node, 1) != (inputs, outputs) or here.border or here.axes[-1] != "C" or "H" in here.axes:
        return None
    weights = partial(_transposed, model.values(node, 1))
    made = step.on(replace(through(here, node), channels=outputs), node)
    found = [made.on(made.place, filled=_filled(layer, weights, None))]
    for after, there in takers(model, made, wanted, "Add"):
        side = next((index for index in (0, 1) if model.shape(after, index) in ((outputs,), (1, outputs))), None)
        if side is not None and there.axes[-1] == "C" and not there.border and len(after.inputs) == 2:
            filled = _filled(layer, weights, model.values(after, side))
            found.append(made.on(through(there, after), after, filled=filled))
    return found


def _pixel_convolution(
    model: Walk, layer: layers.Dense | layers.Conv, step: Counterpart, node: OnnxNode, here: Place
) -> list[Counterpart] | None:
    outputs, inputs = layer.weights.shape[:2]
    if model.shape(node, 1) != (outputs, inputs, 1, 1) or here.axes != PIXEL or here.border:
        return None
    found = window(node, (1, 1), here, layer.source)
    if node.ints.get("group", (1,)) != (1,) or not _has_kernel(node, (1, 1)):
        return None
    if found is None or found.begin != (0, 0) or found.count != (1, 1):
        return None
    if model.has(node, 2) and model.shape(node, 2) != (outputs,):
        return None
    biases = model.values(node, 2) if model.has(node, 2) else None
    place = replace(through(here, node), channels=outputs)
    return [step.on(place, node, filled=_filled(layer, model.values(node, 1), biases))]


def _times(values: Values, factor: float) -> NDArray[Any]:
    return values() * factor


def _transposed(values: Values) -> NDArray[Any]:
    return values().T


def blur(model: Walk, layer: layers.Blur, step: Counterpart) -> Iterator[Counterpart]:
    """A depthwise convolution with the binomial filter, after a Pad by reflection."""
    wanted = Wanted(layer.scope, layer.description)
    channels, kernel, path = layer.source.channels, layer.kernel, model.site.path
    for node, here in takers(model, step, wanted, "Conv"):
        shape = (channels, 1, kernel, kernel)
        if model.shape(node, 1) != shape or here.axes != MAP or node.ints.get("group", (1,)) != (channels,):
            fault = f"has weights of shape {model.shape(node, 1)}, the spec a depthwise filter {shape}"
            model.note(step, wanted, node, fault, f"see {path}", closeness=WEIGHTS)
            continue
        found = window(node, (kernel, kernel), here, layer.source)
        differs = difference(found, layer.stride, 1, layer.padding, layer.output)
        mirrored = here.border is not None and here.border.mode == "reflect" and not (found and found.own)
        if differs or not mirrored or model.has(node, 2) or not _has_kernel(node, (kernel, kernel)):
            fault = differs[0] if differs else "has biases, or no reflect padding"
            model.note(step, wanted, node, fault, NO_WORD, closeness=ATTRIBUTE)
        elif not _is_binomial(model.values(node, 1)(), kernel):
            model.note(
                step, wanted, node, "has another filter than the spec's binomial one", NO_WORD, closeness=ATTRIBUTE
            )
        else:
            yield step.on(replace(through(here, node), border=None, nonnegative=here.nonnegative), node)


def _is_binomial(filters: NDArray[Any], kernel: int) -> bool:
    taps = np.array([comb(kernel - 1, place) for place in range(kernel)]) / 2 ** (kernel - 1)
    expected = np.outer(taps, taps)
    return bool(np.abs(filters - expected).max() <= _ROUNDING * expected.max())


def is_border(model: Walk, node: OnnxNode, channels: int) -> bool:
    """Whether a Conv only puts zeros around a map: one weight of 1 for each channel, stride 1."""
    if model.shape(node, 1) != (channels, 1, 1, 1) or model.has(node, 2) or not _has_kernel(node, (1, 1)):
        return False
    plain = node.ints.get("strides", (1, 1)) == (1, 1) and node.strings.get("auto_pad", "NOTSET") == "NOTSET"
    return plain and node.ints.get("group", (1,)) == (channels,) and bool((model.values(node, 1)() == 1).all())

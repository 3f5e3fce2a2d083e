"""Matches pools of the model, and nodes that compute the same, with the plan's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan import layers
from resnet_compile.plan.geometry import Padding, ceil_padding, fixed_padding, same_padding
from resnet_compile.weights.structure.convolutions import is_border
from resnet_compile.weights.structure.model import (
    ATTRIBUTE,
    MAP,
    NO_WORD,
    OPERATOR,
    PIXEL,
    Border,
    Counterpart,
    Place,
    Walk,
    Wanted,
    through,
)
from resnet_compile.weights.structure.moves import axes_of, labels_of
from resnet_compile.weights.structure.walk import takers
from resnet_compile.weights.structure.windows import SlidingWindow, difference, window

_LOWEST = float(np.finfo(np.float32).min)


def max_pool(model: Walk, layer: layers.MaxPool, step: Counterpart) -> Iterator[Counterpart]:
    """A MaxPool, after any node that pads for it; with 1x1 windows also an AveragePool or a Slice."""
    wanted = Wanted(layer.scope, layer.description)
    for node, here in takers(model, step, wanted, "MaxPool", "Conv", *(_THINNING if layer.kernel == 1 else ())):
        match node.operator:
            case "Conv":
                if padded := _bordered(model, layer, node, here):
                    behind = step.on(padded, node)
                    for pool, there in takers(model, behind, wanted, "MaxPool"):
                        yield from _pooled(model, layer, behind, pool, there, wanted)
                    continue
                model.note(step, wanted, node, f"stands where the spec has {wanted.words}", None, closeness=OPERATOR)
            case "Slice":
                yield from _sliced(model, layer, step, node, here, wanted)
            case _:
                yield from _pooled(model, layer, step, node, here, wanted)


_THINNING = ("AveragePool", "Slice")


def _bordered(model: Walk, layer: layers.MaxPool, node: OnnxNode, here: Place) -> Place | None:
    """The place after a Conv that only pads a map with zeros, as our own graphs do for a pool."""
    pads = node.ints.get("pads", ())
    if here.border or here.axes not in (MAP, PIXEL) or len(pads) != 4 or min(pads) < 0:
        return None
    if not is_border(model, node, layer.source.channels):
        return None
    border = Border({"H": (pads[0], pads[2]), "W": (pads[1], pads[3])}, "constant", 0.0)
    return replace(here, value=node.outputs[0], border=border)


def _pooled(
    model: Walk, layer: layers.MaxPool, step: Counterpart, node: OnnxNode, here: Place, wanted: Wanted
) -> Iterator[Counterpart]:
    kernel = node.ints.get("kernel_shape", ())
    found = window(node, (kernel[0], kernel[1]), here, layer.source) if len(kernel) == 2 else None
    fault = difference(found, layer.stride, 1, layer.padding, layer.output)
    if kernel != (layer.kernel, layer.kernel) or here.axes not in (MAP, PIXEL):
        fault = f"has a window of {'x'.join(map(str, kernel))}, the spec {layer.kernel}x{layer.kernel}", "kernel"
    elif fault is None and found and found.reaches_out and not _pads_alike(layer, node, found, here):
        fault = f"pads with {_held(node, found, here):g}, the spec with {layer.pad_value:g}", "fill"
    if fault:
        model.note(step, wanted, node, fault[0], _advice(model, layer, node, here, found), closeness=ATTRIBUTE)
        return
    yield step.on(replace(through(here, node), border=None, nonnegative=here.nonnegative), node)


def _held(node: OnnxNode, found: SlidingWindow, here: Place) -> float:
    """The value of the padding that a pool reads; NaN if it has several values."""
    if node.operator == "AveragePool":
        return math.nan
    if here.border is None:
        return -math.inf
    if here.border.mode != "constant" or (found.own and here.border.fill > _LOWEST):
        return math.nan
    return here.border.fill if here.border.fill > _LOWEST else -math.inf


def _pads_alike(layer: layers.MaxPool, node: OnnxNode, found: SlidingWindow, here: Place) -> bool:
    """Whether padding wins where the layer's does.

    Beside a number of the map that is not negative zero wins no more than minus infinity.
    """
    held = _held(node, found, here)
    meets_map = max(*found.begin, *found.end) < layer.kernel
    return held == layer.pad_value or (here.nonnegative and held in (0.0, -math.inf) and meets_map)


def _advice(model: Walk, layer: layers.MaxPool, node: OnnxNode, here: Place, found: SlidingWindow | None) -> str:
    """The padding of a root's pool that is the file's."""
    if model.site.path != "$.root" or found is None or layer.kernel != 3 or layer.stride != 2:
        return f"see {model.site.path}"
    words: list[tuple[str, Padding, float]] = [
        ("symmetric", fixed_padding(3), -math.inf),
        ("same", same_padding(layer.source, 3, 2), -math.inf),
        ("ceil", ceil_padding(layer.source, 3, 2), -math.inf),
        ("zero", fixed_padding(3), 0.0),
    ]
    for word, padding, value in words:
        other = replace(layer, padding=padding, pad_value=value)
        alike = not found.reaches_out or _pads_alike(other, node, found, here)
        if alike and difference(found, 2, 1, padding, other.output) is None:
            return f'give $.root, of kind "stem", the pool {{"kind": "max", "padding": "{word}"}}'
    return NO_WORD


def _sliced(
    model: Walk, layer: layers.MaxPool, step: Counterpart, node: OnnxNode, here: Place, wanted: Wanted
) -> Iterator[Counterpart]:
    """Slices of every stride-th row and column, both in one or one after the other."""
    axes = _sliced_axes(model, layer, node, here)
    if axes == {"H", "W"}:
        yield step.on(through(here, node), node)
    elif axes:
        behind = step.on(through(here, node), node)
        for second, there in takers(model, behind, wanted, "Slice"):
            others = _sliced_axes(model, layer, second, there)
            if others and axes | others == {"H", "W"} and not axes & others:
                yield behind.on(through(there, second), second)
    else:
        fault = f"takes other rows and columns than every {layer.stride}th"
        model.note(step, wanted, node, fault, f"see {model.site.path}", closeness=ATTRIBUTE)


def _sliced_axes(model: Walk, layer: layers.MaxPool, node: OnnxNode, here: Place) -> set[str] | None:
    """The axes along which a Slice takes every stride-th index; None if it takes other indices."""
    if here.border or not all(model.has(node, index) for index in (1, 2, 3, 4)):
        return None
    starts, ends, axes, steps = (model.integers(name) for name in node.inputs[1:5])
    if starts is None or ends is None or axes is None or steps is None:
        return None
    rank, found = len(here.axes), set()
    sides = dict(zip("HW", layer.source.size, strict=True))
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=False):
        label = here.axes[axis] if -rank <= axis < rank else ""
        if label not in ("H", "W") or label in found or start != 0 or stride != layer.stride:
            return None
        reach = end + sides[label] if end < 0 else end
        if reach <= (sides[label] - 1) // stride * stride:
            return None
        found.add(label)
    return found if len({len(starts), len(ends), len(axes), len(steps)}) == 1 else None


def average_pool(model: Walk, layer: layers.AveragePool, step: Counterpart) -> Iterator[Counterpart]:
    """An AveragePool that counts no padding."""
    wanted, side = Wanted(layer.scope, layer.description), layer.stride
    for node, here in takers(model, step, wanted, "AveragePool"):
        kernel = node.ints.get("kernel_shape", ())
        found = window(node, (side, side), here, layer.source) if kernel == (side, side) else None
        fault = difference(found, side, 1, layer.padding, layer.output)
        if kernel != (side, side) or here.axes not in (MAP, PIXEL):
            fault = f"has a window of {'x'.join(map(str, kernel))}, the spec {side}x{side}", "kernel"
        elif fault is None and found and found.reaches_out and (here.border or _counts(node)):
            fault = "counts padding in its means, the spec's does not", "count"
        if fault:
            model.note(step, wanted, node, fault[0], f"see {model.site.path}", closeness=ATTRIBUTE)
            continue
        yield step.on(replace(through(here, node), border=None, nonnegative=here.nonnegative), node)


def _counts(node: OnnxNode) -> bool:
    return node.ints.get("count_include_pad", (0,)) != (0,)


def global_pool(model: Walk, layer: layers.GlobalPool, step: Counterpart) -> Iterator[Counterpart]:
    """The mean over rows and columns: a GlobalAveragePool, a ReduceMean, or an AveragePool as large as the map."""
    wanted = Wanted(layer.scope, layer.description)
    for node, here in takers(model, step, wanted, "GlobalAveragePool", "ReduceMean", "AveragePool"):
        axes = None if here.border else _pooled_axes(model, layer, node, here)
        if axes is None:
            fault = "is not the mean over all rows and columns"
            model.note(step, wanted, node, fault, "see $.head.global_pool", closeness=ATTRIBUTE)
            continue
        yield step.on(replace(through(here, node), axes=axes, nonnegative=here.nonnegative), node)


def _pooled_axes(model: Walk, layer: layers.GlobalPool, node: OnnxNode, here: Place) -> str | None:
    """The axes of the means; None where they are not those of the layer."""
    match node.operator:
        case "GlobalAveragePool":
            return PIXEL if here.axes in (MAP, PIXEL) else None
        case "AveragePool":
            kernel = node.ints.get("kernel_shape", ())
            found = window(node, layer.source.size, here, layer.source)
            whole = found is not None and (found.begin, found.count, found.end) == ((0, 0), (1, 1), (0, 0))
            return PIXEL if whole and kernel == layer.source.size and here.axes in (MAP, PIXEL) else None
        case _:
            return mean_axes(model, node, here)


def mean_axes(model: Walk, node: OnnxNode, here: Place) -> str | None:
    """The axes behind a ReduceMean over rows and columns; None where it is over others."""
    numbers, labels = axes_of(model, node), labels_of(model, node, here.axes)
    if numbers is None or labels is None or sorted(labels) not in (["H", "W"], ["1", "1"]):
        return None
    left = {number % len(here.axes) for number in numbers}
    if node.ints.get("keepdims", (1,)) != (0,):
        return "".join("1" if axis in left else label for axis, label in enumerate(here.axes))
    return "".join(label for axis, label in enumerate(here.axes) if axis not in left)

"""The nodes of a model that prepare its images: affine per channel, and the order of channels.

They are evaluated on symbols: a value's channel c is ``scale[c] x[order[c]] + offset[c]`` of the model's input x. So
subtracted means, factors, a cast from integers and every way to reverse channels are one thing. The network begins
where a convolution reads such a value. Padding ends this, since an offset is not added to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.weights.structure.model import MAP, Counterpart, Place, Walk
from resnet_compile.weights.structure.moves import MOVES, moved
from resnet_compile.weights.structure.walk import takers

_MOST = 64  # channels of a value, and nodes before it
WIDEST = 4096  # channels of an image, as the spec's input has them
_VALUES = 256  # how many values are followed
_ENDLESS = 10**9  # an end behind every axis; TensorFlow's exporter writes this one


@dataclass(frozen=True, slots=True)
class Prologue:
    """A value that the model computes from its images alone, channel by channel.

    Attributes:
        image: The model's input.
        place: The value.
        order: For each channel, the channel of the model's input.
        scale: The factor of each channel.
        offset: What is added to each channel.
        nodes: The nodes that change numbers or the order of channels.
    """

    image: Place
    place: Place
    order: NDArray[np.int64]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    nodes: tuple[OnnxNode, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the model's input can be computed back: every channel once, by a finite factor that is not zero."""
        numbers = np.isfinite(self.scale).all() and np.isfinite(self.offset).all() and self.scale.all()
        return bool(numbers) and sorted(self.order) == list(range(self.image.channels or 1))

    def applied(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """The value for the model's images, both ``[N, C, H, W]``."""
        return images[:, self.order] * _over_maps(self.scale) + _over_maps(self.offset)

    def undone(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The model's images for which this is the value, both ``[N, C, H, W]``."""
        images = np.empty(values.shape)
        images[:, self.order] = (values - _over_maps(self.offset)) / _over_maps(self.scale)
        return images

    def __str__(self) -> str:
        return ", ".join(map(str, self.nodes))


def _over_maps(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return numbers.reshape(-1, 1, 1)


def prologue(model: Walk) -> tuple[Prologue | None, Place]:
    """The value that a convolution reads first; None if it is not as described above. And the last value that is."""
    ends: list[Prologue] = []
    for axes in ("NCHW", "NHWC"):
        image = Place(model.source.inputs[0], axes, _channels(model))
        made = [each for each in _values(model, image) if each.is_whole]
        for found in reversed(made):
            if any(here.axes == MAP for _, here in takers(model, Counterpart(found.place), None, "Conv")):
                return found, found.place
        ends += made[-1:]
    return None, max(ends, key=lambda each: len(each.nodes)).place if ends else image


def without_nodes(image: Place) -> Prologue:
    """The model's input as it is."""
    return Prologue(image, image, np.arange(image.channels), np.ones(image.channels), np.zeros(image.channels))


def _values(model: Walk, image: Place) -> Iterator[Prologue]:
    """The values that are computed from the images alone, in the order of their nodes; first the images."""
    model.visit(image)
    known = {image.value: without_nodes(image)}
    yield known[image.value]
    for node in model.source.nodes:
        if known.keys().isdisjoint(node.inputs):
            continue
        for value, made in zip(node.outputs, _made(model, node, known), strict=False):
            if value not in known and max(len(made.order), len(made.nodes)) <= _MOST and len(known) < _VALUES:
                there = replace(made.place, value=value, channels=len(made.order))
                known[value] = replace(made, place=there)
                model.visit(there)
                yield known[value]


def _channels(model: Walk) -> int:
    """The channels that the model's first convolution reads; 0 without one."""
    for node in model.source.nodes:
        if node.operator == "Conv" and (shape := model.shape(node, 1)) and len(shape) == 4:
            channels = shape[1] * sum(node.ints.get("group", (1,)))
            return channels if 0 < channels <= WIDEST else 0
    return 0


def _made(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    """What a node makes of known values; nothing if it does anything else than this module knows."""
    if node.operator in MOVES:
        source = known.get(node.inputs[0])
        there = moved(model, node, source.place) if source else ""
        return [replace(source, place=there)] if source and isinstance(there, Place) and not there.border else []
    rule = _RULES.get(node.operator)
    try:
        return [replace(each, nodes=(*each.nodes, node)) for each in rule(model, node, known)] if rule else []
    except (IndexError, KeyError, TypeError, ValueError):  # numpy's, for what onnxruntime would refuse too
        return []


def _arithmetic(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    """A sum, difference, product or quotient with a number, or one for each channel; of floats, since integers wrap."""
    left, right = node.inputs
    source, turned = (known[left], False) if left in known else (known[right], True)
    numbers = model.constant(left if turned else right)
    if numbers is None or numbers.dtype.kind != "f" or numbers.ndim > len(source.place.axes):
        return []
    count = len(source.order)
    full = tuple(count if axis == "C" else 1 for axis in source.place.axes)
    given = (1,) * (len(full) - numbers.ndim) + numbers.shape
    if given != full and numbers.size != 1:
        return []
    by = np.broadcast_to(numbers.astype(np.float64).ravel(), count)
    with np.errstate(all="ignore"):
        match node.operator, turned:
            case "Add", _:
                return [replace(source, offset=source.offset + by)]
            case "Sub", False:
                return [replace(source, offset=source.offset - by)]
            case "Sub", True:
                return [replace(source, scale=-source.scale, offset=by - source.offset)]
            case "Mul", _:
                return [replace(source, scale=source.scale * by, offset=source.offset * by)]
            case "Div", False:
                return [replace(source, scale=source.scale / by, offset=source.offset / by)]
    return []


def _normalised(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    """A BatchNormalization of the images, with which MXNet's networks begin."""
    source = known[node.inputs[0]]
    numbers = [model.constant(name) for name in node.inputs[1:]]
    arrays = [each for each in numbers if each is not None and each.shape == source.order.shape]
    if len(arrays) != 4 or source.place.axes != MAP or node.ints.get("training_mode", (0,)) != (0,):
        return []
    gamma, beta, mean, variance = (each.astype(np.float64) for each in arrays)
    with np.errstate(all="ignore"):
        by = gamma / np.sqrt(variance + node.floats.get("epsilon", 1e-5))
        return [replace(source, scale=source.scale * by, offset=(source.offset - mean) * by + beta)]


def _taken(source: Prologue, indices: Any) -> Prologue:
    return replace(source, order=source.order[indices], scale=source.scale[indices], offset=source.offset[indices])


def _gather(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    source, indices = known[node.inputs[0]], model.constant(node.inputs[1])
    axis = node.ints.get("axis", (0,))[0]
    if source.place.axes[axis] != "C" or indices is None or indices.ndim != 1:
        return []
    return [_taken(source, indices)]


def _slice(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    """Channels with a step, -1 to reverse them, and whole other axes; the arguments were attributes before opset 10."""
    source = known[node.inputs[0]]
    names = ("starts", "ends", "axes", "steps")
    given = [
        node.ints.get(name) or (model.integers(node.inputs[at]) if model.has(node, at) else None)
        for at, name in enumerate(names, 1)
    ]
    starts, ends = given[:2]
    if starts is None or ends is None:
        return []
    axes, steps = given[2] or tuple(range(len(starts))), given[3] or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if source.place.axes[axis] == "C":
            # An end before the first channel is none: backwards, the first is taken too.
            stop = None if step < 0 and end < -len(source.order) else end
            source = _taken(source, slice(start, stop, step))
        elif start != 0 or end < _ENDLESS or step != 1:
            return []
    return [source]


def _split(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    source, count = known[node.inputs[0]], len(node.outputs)
    sizes = node.ints.get("split") or (model.integers(node.inputs[1]) if model.has(node, 1) else None)
    channels = len(source.order)
    sizes = sizes or (-(-channels // count),) * (count - 1) + (channels - -(-channels // count) * (count - 1),)
    if source.place.axes[node.ints.get("axis", (0,))[0]] != "C" or sum(sizes) != channels or min(sizes) < 1:
        return []
    return [_taken(source, part) for part in np.split(np.arange(channels), np.cumsum(sizes)[:-1])]


def _concat(model: Walk, node: OnnxNode, known: Mapping[str, Prologue]) -> list[Prologue]:
    parts = [known[name] for name in node.inputs]
    first = parts[0]
    if first.place.axes[node.ints["axis"][0]] != "C" or {each.place.axes for each in parts} != {first.place.axes}:
        return []
    order, scale, offset = (
        np.concatenate([getattr(each, name) for each in parts]) for name in ("order", "scale", "offset")
    )
    nodes = tuple({id(each): each for part in parts for each in part.nodes}.values())
    return [replace(first, order=order, scale=scale, offset=offset, nodes=nodes)]


_RULES: Mapping[str, Callable[[Walk, OnnxNode, Mapping[str, Prologue]], list[Prologue]]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "BatchNormalization": _normalised,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
}

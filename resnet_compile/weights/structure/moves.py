"""Nodes that move numbers without changing any: the effect of each on a value's axes and border."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.weights.structure.model import Border, Place, Walk
from resnet_compile.weights.structure.weights import FLOATS

BATCH = -2
"""Stands in a shape for the number of images, read off a value; 0 and -1 are ONNX's own."""


def moved(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    """The place after a node that only moves a value; otherwise, in words, what else the node does."""
    if not node.outputs:
        return "makes nothing"
    if here.border and node.operator not in ("Pad", "Transpose", "Identity", "Cast"):
        return "follows a Pad"
    there = MOVES[node.operator](model, node, here)
    return there if isinstance(there, str) else replace(there, value=node.outputs[0])


def _identity(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    return here


def _dropout(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    if node.ints.get("is_test", (1,)) != (1,) or (model.has(node, 2) and model.numbers(node.inputs[2]) != (0,)):
        return "drops values when the model runs"
    return here


def _cast(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    return here if node.ints.get("to", (0,))[0] in FLOATS else "casts the map to a non-float"


def _transpose(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    order = node.ints.get("perm", tuple(reversed(range(len(here.axes)))))
    if sorted(order) != list(range(len(here.axes))):
        return f"permutes axes {order} of {len(here.axes)}"
    return replace(here, axes="".join(here.axes[axis] for axis in order))


def _pad(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    """Adds to the border. Zeros can be added to zeros; any other border is added only once."""
    rank, mode = len(here.axes), node.strings.get("mode", "constant")
    amounts = node.ints.get("pads") or (model.integers(node.inputs[1]) if model.has(node, 1) else None)
    axes = model.integers(node.inputs[3]) if model.has(node, 3) else tuple(range(rank))
    fill = _fill(model, node)
    if amounts is None or axes is None or fill is None:
        return "pads by non-constant inputs"
    places = _labels(here.axes, axes)
    if places is None or len(amounts) != 2 * len(places) or min(amounts) < 0:
        return f"pads by {amounts}"
    added = {
        label: pair
        for label, pair in zip(places, zip(amounts, amounts[len(places) :], strict=False), strict=True)
        if any(pair)
    }
    if not added:
        return here
    if not set(added) <= set("CHW"):
        return "pads the batch"
    if here.border is None:
        return replace(here, border=Border(added, mode, fill))
    if (here.border.mode, here.border.fill, mode) != ("constant", fill, "constant"):
        return "pads again, not with one constant"
    total = {label: here.border.amounts.get(label, (0, 0)) for label in {*added, *here.border.amounts}}
    total = {
        label: (a + added.get(label, (0, 0))[0], b + added.get(label, (0, 0))[1]) for label, (a, b) in total.items()
    }
    return replace(here, border=Border(total, mode, fill))


def _fill(model: Walk, node: OnnxNode) -> float | None:
    if not model.has(node, 2):
        return node.floats.get("value", 0.0)
    numbers = model.numbers(node.inputs[2])
    return numbers[0] if numbers and len(numbers) == 1 else None


def _labels(axes: str, numbers: Sequence[int]) -> str | None:
    """The axes with these numbers, negative ones counted from the end; None if one is missing or occurs twice."""
    rank = len(axes)
    if not all(-rank <= number < rank for number in numbers) or len({n % rank for n in numbers}) != len(numbers):
        return None
    return "".join(axes[number] for number in numbers)


def axes_of(model: Walk, node: OnnxNode) -> tuple[int, ...] | None:
    """Axes given as an attribute or, in newer opsets, as the second input; None if they are neither."""
    if "axes" in node.ints:
        return node.ints["axes"]
    return model.integers(node.inputs[1]) if model.has(node, 1) else None


def labels_of(model: Walk, node: OnnxNode, axes: str) -> str | None:
    """The axes that a node works on; None if they are unknown."""
    numbers = axes_of(model, node)
    return None if numbers is None else _labels(axes, numbers)


def _flatten(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    if not _is_pixel(here) or node.ints.get("axis", (1,))[0] % max(len(here.axes), 1) != 1:
        return "flattens a map"
    return replace(here, axes="NC")


def _squeeze(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    numbers = axes_of(model, node)
    labels = None if numbers is None else _labels(here.axes, numbers)
    if not _is_pixel(here) or numbers is None or labels is None or set(labels) - {"1"}:
        return "squeezes axes that are not of length 1"
    rank = len(here.axes)
    left = {number % rank for number in numbers}
    return replace(here, axes="".join(label for axis, label in enumerate(here.axes) if axis not in left))


def _unsqueeze(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    numbers = axes_of(model, node)
    rank = len(here.axes) + len(numbers or ())
    if not _is_pixel(here) or numbers is None or _labels("1" * rank, numbers) is None:
        return "gives a map more axes"
    new, old = {number % rank for number in numbers}, iter(here.axes)
    return replace(here, axes="".join("1" if axis in new else next(old) for axis in range(rank)))


def _reshape(model: Walk, node: OnnxNode, here: Place) -> Place | str:
    """Adds or drops axes of length 1 of a single pixel; channels and images must stay separate axes."""
    shape = sides(model, node)
    if shape is None or len(shape) < 2 or not _is_pixel(here):
        return "reshapes a map"
    if 0 in shape and node.ints.get("allowzero", (0,)) != (0,):
        return "reshapes to nothing"
    lengths = [here.channels if label == "C" else 1 for label in here.axes] + [-3] * len(shape)
    first, rest = (
        shape[0],
        [length if side == 0 else side for side, length in zip(shape[1:], lengths[1:], strict=False)],
    )
    fault = f"reshapes {here.channels} channels to {shape}"
    known = math.prod(side for side in rest if side != -1)
    if -1 in rest:
        images = first in (0, BATCH) or first == (model.batch or 1)
        if not images or rest.count(-1) > 1 or known != 1:
            return fault
    elif known != here.channels or min(rest) < 1:
        return fault
    wide = [axis for axis, side in enumerate(rest) if side != 1] or [0]
    if len(wide) > 1:
        return fault
    return replace(here, axes="N" + "".join("C" if axis == wide[0] else "1" for axis in range(len(rest))))


def sides(model: Walk, node: OnnxNode) -> list[int] | None:
    """The target shape of a Reshape or an Expand; None if it is unknown."""
    if "shape" in node.ints:
        return list(node.ints["shape"])
    if not model.has(node, 1):
        return None
    if (shape := model.integers(node.inputs[1])) is not None:
        return list(shape) or None
    maker = model.maker(node.inputs[1])
    if maker is None or maker.operator != "Concat":
        return None
    found: list[int] = []
    for name in maker.inputs:
        part = (BATCH,) if model.is_batch(name) else model.integers(name)
        if part is None:
            return None
        found.extend(part)
    return found if BATCH not in found[1:] and found else None


def _is_pixel(here: Place) -> bool:
    """Whether a value has no rows and columns, and its images are its first axis."""
    return here.axes[:1] == "N" and not set(here.axes) & set("HW")


MOVES: Mapping[str, Callable[[Walk, OnnxNode, Place], Place | str]] = {
    "Cast": _cast,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

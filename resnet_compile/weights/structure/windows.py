"""Compares the windows of the model's convolutions and pools with the plan's, over the plan's map.

Two windows read the same if kernel, stride and rate are equal, the first begins at the same row and column, and their
counts are equal. The padding at the end follows from these; padding that no window reads has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan.geometry import FeatureMap, Padding, effective_kernel
from resnet_compile.weights.structure.model import Place

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """Where the windows of a node stand, over rows and columns.

    Attributes:
        kernel: The kernel's sides.
        stride: The distance between windows.
        rate: The distance between taps.
        begin: How far the first window begins before the map.
        count: The number of windows.
        end: How far the last window ends after the map; negative if it ends before the map does.
        own: Whether the node pads by itself.
    """

    kernel: Pair
    stride: Pair
    rate: Pair
    begin: Pair
    count: Pair
    end: Pair
    own: bool

    @property
    def reaches_out(self) -> bool:
        """Whether a window reads padding."""
        return max(*self.begin, *self.end) > 0


def window(node: OnnxNode, kernel: Pair, place: Place, source: FeatureMap) -> SlidingWindow | None:
    """The windows of a convolution or pool over a map of the plan's size; None where they are malformed or do not fit.

    Args:
        node: With strides, dilations, pads, auto_pad and ceil_mode as ONNX has them.
        kernel: Its sides.
        place: What it reads, with the border that is to be counted as padding.
        source: The plan's map.
    """
    ints = node.ints
    strides, rates = ints.get("strides", (1, 1)), ints.get("dilations", (1, 1))
    pads, rule = ints.get("pads", (0, 0, 0, 0)), node.strings.get("auto_pad", "NOTSET")
    border = place.border.amounts if place.border else {}
    if (len(strides), len(rates), len(pads)) != (2, 2, 4) or min(*strides, *rates, *kernel) < 1 or min(pads) < 0:
        return None
    if rule not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER") or "C" in border:
        return None
    ends = []
    for axis, side in enumerate(source.size):
        before, after = border.get("HW"[axis], (0, 0))
        stride, span = strides[axis], effective_kernel(kernel[axis], rates[axis])
        size = side + before + after
        own = _own(rule, (pads[axis], pads[axis + 2]), size, stride, span)
        ceil = ints.get("ceil_mode", (0,)) != (0,) and not rule.startswith("SAME")
        count = _count(size, own, stride, span, ceil=ceil)
        begin = before + own[0]
        ends.append((begin, count, (count - 1) * stride + span - side - begin, any(own)))
    (top, rows, bottom, high), (left, columns, right, wide) = ends
    if min(rows, columns) < 1:
        return None
    return SlidingWindow(
        kernel,
        (strides[0], strides[1]),
        (rates[0], rates[1]),
        (top, left),
        (rows, columns),
        (bottom, right),
        high or wide,
    )


def _own(rule: str, pads: Pair, size: int, stride: int, span: int) -> Pair:
    """The padding of the node itself along one axis."""
    match rule:
        case "NOTSET":
            return pads
        case "VALID":
            return 0, 0
        case _:
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
            small, large = total // 2, total - total // 2
            return (small, large) if rule == "SAME_UPPER" else (large, small)


def _count(size: int, own: Pair, stride: int, span: int, *, ceil: bool) -> int:
    """How many windows there are; rounded up, the last still begins on the map or before it."""
    room = size + sum(own) - span
    if room < 0:
        return 0
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + own[0] else count


def difference(
    found: SlidingWindow | None, stride: int, rate: int, padding: Padding, output: FeatureMap
) -> tuple[str, str] | None:
    """The difference in words, and the spec's word for it: `stride`, `rate` or `padding`; None if there is none."""
    if found is None:
        return "has a window that does not fit the spec's map", "padding"
    if found.stride != (stride, stride):
        return f"has strides {_by(found.stride)}, the spec {_by((stride, stride))}", "stride"
    if found.rate != (rate, rate):
        return f"has dilations {_by(found.rate)}, the spec {_by((rate, rate))}", "rate"
    if (found.begin, found.count) != ((padding.top, padding.left), output.size):
        return (
            f"pads (top, left, bottom, right) {found.begin + found.end} and makes a map of {_by(found.count)}, "
            f"the spec {(padding.top, padding.left, padding.bottom, padding.right)} and {_by(output.size)}",
            "padding",
        )
    return None


def _by(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"

"""Shapes and padding: the arithmetic of convolution and pooling windows.

The networks here pad by three rules, with k the effective kernel, s the stride and n the input's side:

* **Fixed**: k - 1 rows in all, (k - 1) // 2 of them before, for every n. TF-slim's `conv2d_same` pads so, explicitly
  with a stride and by SAME without one, where the two are equal. So does PyTorch's symmetric padding of odd kernels.
* **SAME**, TensorFlow's own: the output has ceil(n / s) rows, and the padding completes the last window; an odd row
  goes to the end. With s > 1 the padding depends on n, except for a 1x1 kernel, which needs none.
* **Ceil**: pools of PyTorch and Caffe with `ceil_mode` add rows at the end alone, to complete the last window.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """One image's activations: channels, rows and columns."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Padding:
    """Rows and columns added around a map.

    The numbers of `rule` `fixed` hold for every input size, those of `same` and `ceil` for the planned size alone.
    """

    top: int
    left: int
    bottom: int
    right: int
    rule: Literal["fixed", "same", "ceil"] = "fixed"


NO_PADDING = Padding(0, 0, 0, 0)


def effective_kernel(kernel: int, rate: int) -> int:
    """The number of rows that a kernel of dilation `rate` spans."""
    return kernel + (kernel - 1) * (rate - 1)


def fixed_padding(kernel: int, rate: int = 1) -> Padding:
    """The padding of `conv2d_same`, for a square kernel."""
    total = effective_kernel(kernel, rate) - 1
    return Padding(total // 2, total // 2, total - total // 2, total - total // 2)


def same_padding(source: FeatureMap, kernel: int, stride: int, rate: int = 1) -> Padding:
    """TensorFlow's SAME padding of this map, for a square kernel."""

    def one_axis(size: int) -> tuple[int, int]:
        total = max((ceil(size / stride) - 1) * stride + effective_kernel(kernel, rate) - size, 0)
        return total // 2, total - total // 2

    (top, bottom), (left, right) = one_axis(source.height), one_axis(source.width)
    return Padding(top, left, bottom, right, "same" if stride > 1 and kernel > 1 else "fixed")


def ceil_padding(source: FeatureMap, kernel: int, stride: int) -> Padding:
    """The padding at the end that completes the last window, for a square kernel no narrower than its stride."""

    def one_axis(size: int) -> int:
        return (max(ceil((size - kernel) / stride), 0)) * stride + kernel - size

    return Padding(0, 0, one_axis(source.height), one_axis(source.width), "ceil")


def window_output(
    source: FeatureMap, channels: int, kernel: int, stride: int, padding: Padding, rate: int = 1
) -> FeatureMap | None:
    """The output map of a window on the padded source; None if the window does not fit."""
    span = effective_kernel(kernel, rate)
    height = (source.height + padding.top + padding.bottom - span) // stride + 1
    width = (source.width + padding.left + padding.right - span) // stride + 1
    return FeatureMap(channels, height, width) if height > 0 and width > 0 else None

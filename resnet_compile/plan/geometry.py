"""Shapes and padding: the arithmetic of convolution and pooling windows.

Three rules of padding exist among the networks that are compiled here:

* **Fixed**: k_eff - 1 in all, (k_eff - 1) // 2 of it before, for every input size. It is TF-slim's `conv2d_same`
  (with a stride: explicit padding, then VALID; without: SAME, which then is the same thing), and for odd kernels also
  PyTorch's symmetric padding.
* **SAME**: TensorFlow's own rule, by which the output has ceil(n / s) rows and the padding is just what the last window
  needs, its odd row at the end. With a stride above 1 it depends on the input's size, but for a 1x1 kernel, which needs
  none at all.
* **Ceil**: PyTorch's and Caffe's pools with `ceil_mode`: rows at the end alone, so that the last window is whole.
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

    def with_channels(self, channels: int) -> FeatureMap:
        """The same rows and columns with other channels."""
        return FeatureMap(channels, self.height, self.width)


@dataclass(frozen=True, slots=True)
class Padding:
    """Rows and columns added around a map.

    `rule` tells how other input sizes would change it: not at all (`fixed`), or by the SAME or the ceil rule, whose
    numbers hold for the planned size alone.
    """

    top: int
    left: int
    bottom: int
    right: int
    rule: Literal["fixed", "same", "ceil"] = "fixed"


NO_PADDING = Padding(0, 0, 0, 0)


def effective_kernel(kernel: int, rate: int) -> int:
    """The number of rows that a kernel spans, with its taps `rate` rows apart."""
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
    """The padding at the end that fills the last window, for a square kernel not narrower than its stride."""

    def one_axis(size: int) -> int:
        return (max(ceil((size - kernel) / stride), 0)) * stride + kernel - size

    return Padding(0, 0, one_axis(source.height), one_axis(source.width), "ceil")


def window_output(
    source: FeatureMap, channels: int, kernel: int, stride: int, padding: Padding, rate: int = 1
) -> FeatureMap | None:
    """The map that a window makes of the padded source; None if the window does not fit once."""
    span = effective_kernel(kernel, rate)
    height = (source.height + padding.top + padding.bottom - span) // stride + 1
    width = (source.width + padding.left + padding.right - span) // stride + 1
    return FeatureMap(channels, height, width) if height > 0 and width > 0 else None

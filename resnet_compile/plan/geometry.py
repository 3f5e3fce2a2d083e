"""Shapes and padding: the arithmetic of convolution and pooling windows.

Two rules of padding exist among the networks that are compiled here:

* **Fixed**: k_eff - 1 in all, (k_eff - 1) // 2 of it before, whatever the input's size. It is TF-slim's `conv2d_same`
  (with a stride: explicit padding, then VALID; without: SAME, which then is the same thing), and for odd kernels also
  PyTorch's symmetric padding.
* **SAME**: TensorFlow's own rule, by which the output has ceil(n / s) rows and the padding is just what the last window
  needs, its odd row at the end. With a stride above 1 it depends on the input's size, but for a 1x1 kernel, which needs
  none at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """One image's activations: channels, rows and columns."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def with_channels(self, channels: int) -> FeatureMap:
        """The same rows and columns with other channels."""
        return FeatureMap(channels, self.height, self.width)


@dataclass(frozen=True, slots=True)
class Padding:
    """Rows and columns added around a map.

    `follows_size` marks padding that other input sizes would change (the SAME rule with a stride), so that the numbers
    hold for the planned size alone.
    """

    top: int
    left: int
    bottom: int
    right: int
    follows_size: bool = False


NO_PADDING = Padding(0, 0, 0, 0)


def effective_kernel(kernel: int, rate: int) -> int:
    """Rows that a kernel spans when its taps are `rate` rows apart."""
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
    return Padding(top, left, bottom, right, follows_size=stride > 1 and kernel > 1)


def window_output(
    source: FeatureMap, channels: int, kernel: int, stride: int, padding: Padding, rate: int = 1
) -> FeatureMap | None:
    """The map that a window sliding over the padded source gives; None where the window does not fit once."""
    span = effective_kernel(kernel, rate)
    height = (source.height + padding.top + padding.bottom - span) // stride + 1
    width = (source.width + padding.left + padding.right - span) // stride + 1
    return FeatureMap(channels, height, width) if height > 0 and width > 0 else None

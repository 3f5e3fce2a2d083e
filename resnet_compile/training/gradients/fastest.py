"""The fastest form of a convolution and of its gradients, by shape and provider.

Along rows (columns are alike), with taps i, stride s, dilation r and p rows of padding before,

    y[o] = sum over i of w[i] x[s o + r i - p],
    dx[h] = sum over o and i with s o + r i - p = h of w[i] dy[o],
    dw[i] = sum over o of dy[o] x[s o + r i - p].

ONNX has Conv for y, and no operator for dx and dw. Each sum has several forms, of different operators. All forms of a
sum give the same result up to rounding, so the choice is for speed alone. For the CPU it is based on measurements with
onnxruntime.

im2col is a form of y and of dx: a matrix with a column for each output pixel, which holds the values that the pixel
reads. The convolution is then one matrix product for all images.
"""

from __future__ import annotations

from typing import Literal

from resnet_compile.training.gradients.geometry import Geometry
from resnet_compile.training.gradients.rule import Target

ForwardForm = Literal["convolution", "im2col"]
InputForm = Literal["im2col", "flipped", "transposed", "cropped"]
WeightForm = Literal["pointwise", "taps", "shifts", "volume"]

# onnxruntime's CPU provider multiplies matrices in panels of this many columns; empty columns cost as much.
_PANEL = 16
# Costs in multiply-adds: of transposing a value of a map there and back, and of writing a value of a column.
_MOVE, _GATHER = 30, 90
# With more output channels per pixel than this, flipping the kernel costs more than the map.
_HEAVY = 4
# Maps with fewer columns take longer to shift, row by row, than to gather.
_LEAST_WIDTH = 8


def fastest_forward(geometry: Geometry, target: Target) -> ForwardForm:
    """The fastest form of y.

    * ``convolution``: Conv. On the CPU it is one matrix product for each image.
    * ``im2col``: one product for all images. Deep in a network an image has so few pixels that most of a panel's
      columns would be empty; the pixels of all images fill it.
    """
    return "im2col" if target == "cpu" and _gathering_pays(geometry) else "convolution"


def fastest_input_adjoint(geometry: Geometry, target: Target) -> InputForm:
    """The fastest form of dx.

    * ``im2col``: as for y, without strides; dx is then a convolution of dy with the taps in reverse order.
    * ``flipped``: that convolution as a Conv, with the kernel flipped and its channels swapped; for maps that are large
      in comparison with the kernel.
    * ``transposed``: ConvTranspose; for everything else.
    * ``cropped``: ConvTranspose without pads, cut to size; for CUDA, whose convolutions pad both sides equally.
    """
    if target == "cuda":
        equal = all(window.before == window.after for window in geometry.windows)
        return "transposed" if equal else "cropped"
    if geometry.strided or not all(window.turns for window in geometry.windows):
        return "transposed"
    if _gathering_pays(geometry.mirrored()):
        return "im2col"
    return "flipped" if geometry.outer <= _HEAVY * geometry.batch * geometry.pixels else "transposed"


def fastest_weight_adjoint(geometry: Geometry, target: Target) -> WeightForm:
    """The fastest form of dw.

    * ``pointwise``: one matrix product of dy and x; for kernels of one tap.
    * ``taps``: one product of dy and the part of x that each tap reads; for CUDA, which is fastest at matrix products.
    * ``shifts``: one product of dy shifted by columns and x shifted by rows, so that 2k maps serve k^2 taps; without
      strides.
    * ``volume``: a 3-D Conv with dy as the kernel; for everything else.
    """
    if geometry.pointwise:
        return "pointwise"
    if target == "cuda" or not all(window.reads_input for window in geometry.windows):
        return "taps"
    shifted = geometry.columns.output >= _LEAST_WIDTH and not geometry.strided
    return "shifts" if shifted and all(window.turns for window in geometry.windows) else "volume"


def _gathering_pays(geometry: Geometry) -> bool:
    """Whether the empty columns of a product per image cost more than gathering the pixels of all images."""
    empty = -geometry.pixels % _PANEL / geometry.pixels
    column = geometry.inner * geometry.taps
    gathering = _MOVE * (geometry.inner + geometry.outer) + (_GATHER * column if geometry.taps > 1 else 0)
    return empty * geometry.outer * column > gathering

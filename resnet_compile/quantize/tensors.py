"""The integer grids of activations, weights and biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.graph import Tensor, Vector

LARGEST = 127
# The greatest bias in steps: a quarter of int32's range, which leaves room for the products.
_MOST_BIAS = 2.0**29
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that 8 bits represent: scale (q - zero_point) for q from 0 to 255, or for int8 from -128 to 127."""

    scale: np.float32
    zero_point: np.uint8 | np.int8

    @classmethod
    def over(cls, low: float, high: float) -> Grid:
        """The finest grid with 0 that covers low to high, up to half a step at either end."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32(max((high - low) / 255, _SMALLEST) if high > low else 1)
        return cls(scale, np.uint8(min(round(-low / float(scale)), 255)))

    @classmethod
    def about_zero(cls, low: float, high: float) -> Grid:
        """The finest int8 grid with zero point 0 whose values for -127 to 127 cover low to high."""
        largest = max(-low, high)
        return cls(np.float32(max(largest / LARGEST, _SMALLEST) if largest > 0 else 1), np.int8(0))


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """Weights as int8 with a scale for each output channel, computed on demand.

    Attributes:
        source: The float weights, OIHW.
        scales: The scale of each output channel.
    """

    source: Tensor
    scales: NDArray[np.float32]
    dtype: ClassVar[Literal["int8"]] = "int8"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def array(self) -> NDArray[np.int8]:
        """The integers, -127 to 127."""
        scaled = self.source.array() / self.scales.reshape(-1, *[1] * (len(self.shape) - 1))
        return np.rint(scaled).clip(-LARGEST, LARGEST).astype(np.int8)

    def rounding(self) -> NDArray[np.float64]:
        """The rounding error: the weights minus the dequantised integers."""
        scales = self.scales.astype(np.float64).reshape(-1, *[1] * (len(self.shape) - 1))
        return self.source.array() - self.array() * scales


def quantize_weights(weights: Tensor, grid: Grid, biases: Vector, name: str) -> QuantizedWeights:
    """Quantises weights: scale = max |w| / 127 for each output channel.

    A bias is stored in steps of the input's scale times this scale. If the bias would overflow its integer, the scale
    is made large enough for the bias. If all weights are zero, the scale is 1.

    Args:
        weights: The weights, OIHW.
        grid: The grid of the input.
        biases: The bias of each output channel.
        name: The weights' name, for errors.

    Raises:
        WeightsError: A weight or bias is not a finite number.
    """
    values = weights.array()
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim))).astype(np.float64)
    if not (np.isfinite(largest).all() and np.isfinite(biases).all()):
        raise WeightsError("has values that are not finite float32 numbers", where=name)
    step = float(grid.scale)
    scales = np.maximum(largest / LARGEST, np.abs(biases) / (step * _MOST_BIAS))
    # Neither the scale nor its product with the input's scale may be 0.
    least = _SMALLEST / min(step, 1.0)
    return QuantizedWeights(weights, np.where(scales == 0, 1.0, np.maximum(scales, least)).astype(np.float32))


def bias_integers(biases: Vector, scales: NDArray[np.float32]) -> NDArray[np.int32]:
    """Biases as integers, in steps of the input's scale times the weights'."""
    steps: NDArray[np.int32] = np.rint(biases / scales.astype(np.float64)).astype(np.int32)
    return steps

"""Batch normalisation in inference, y = a x + b for each channel, and the distribution of y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resnet_compile.graph import Node, Vector, exact


@dataclass(frozen=True, slots=True)
class Affine:
    """The values of a batch normalisation, by channel.

    Attributes:
        scale: a = gamma / sqrt(variance + epsilon).
        shift: b = beta - a mean.
        deviation: The standard deviation of y, if the moving statistics are those of x: |a| sqrt(variance).
        centre: The mean of y, under the same condition: beta.
    """

    scale: Vector
    shift: Vector
    deviation: Vector
    centre: Vector

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())


def affine(norm: Node) -> Affine:
    gamma, beta, mean, variance = (exact(norm.input(place)) for place in range(1, 5))
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + norm.attributes.number("epsilon"))
        return Affine(scale, beta - scale * mean, np.abs(scale) * np.sqrt(np.maximum(variance, 0)), beta)

"""Whether a per-channel offset may move out of an activation: a comparison of the rounding errors of two exact forms.

A convolution of activations y = relu(z) sums W_oc y_c over its channels c. Here z is normal with mean beta and
deviation sigma, by the moving statistics of its batch normalisation. Rounding each product with relative error u gives
output o an error of variance u^2 times::

    direct(o) = sum_c W_oc^2 E[y_c^2]

Written as y = m + b, with m = max(z - b, -b), the sum runs over m and ends with the bias (W b)_o. The products have
E[m^2] = E[(y - b)^2]; the threshold -b is rounded, which moves y by u b; and the partial sums end at -(W b)_o before
the bias takes them back::

    rewritten(o) = sum_c W_oc^2 (E[y_c^2] - 2 b_c E[y_c] + 2 b_c^2) + (W b)_o^2

Both leave out the same factor for the length of the sum. A layer that reads the mean of y over many pixels has E[y]^2
in place of E[y^2].

For z = sigma x + beta, x standard normal, and t = beta / sigma, with Phi and phi the normal distribution and density,
E[y] = sigma (t Phi(t) + phi(t)) and E[y^2] = sigma^2 ((t^2 + 1) Phi(t) + t phi(t)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_compile.graph import Vector

# The greatest factor on the squared error: twice the direct form's error. A whole network may have 3 times.
MOST_GROWTH = 4.0


@dataclass(frozen=True, slots=True)
class Moments:
    """E[y] and E[y^2] of activations, by channel."""

    first: Vector
    second: Vector


def relu_moments(deviation: Vector, mean: Vector) -> Moments:
    """The moments of relu(z) for normal z, channel by channel; with deviation 0, z is its mean."""
    still = deviation == 0
    sigma = np.where(still, 1.0, deviation)
    t = mean / sigma
    below = np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in t])
    density = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    constant = np.maximum(mean, 0)
    first = sigma * np.maximum(t * below + density, 0)
    second = sigma**2 * np.maximum((t**2 + 1) * below + t * density, 0)
    return Moments(np.where(still, constant, first), np.where(still, constant**2, second))


@dataclass(frozen=True, slots=True)
class Load:
    """The effect of a layer's weights W on an offset b of its input, and on the rounding errors.

    Attributes:
        squares: The sum of W_oc^2 over outputs and taps, by input channel.
        product: W b with the taps of a kernel summed, by output channel.
    """

    squares: Vector
    product: Vector

    @classmethod
    def of(cls, weights: NDArray[np.float64], offset: Vector) -> Load:
        """The load of weights, OIHW or OI."""
        taps = weights.reshape(*weights.shape[:2], -1)
        return cls(np.einsum("oct,oct->c", taps, taps), taps.sum(axis=2) @ offset)


def growth(layers: Iterable[tuple[Load, bool]], offset: Vector, moments: Moments) -> float:
    """The factor on the squared error if an offset b moves out of activations: rewritten over direct, over all outputs.

    Args:
        layers: The layers that read the activations, each with whether it reads their mean.
        offset: b, by channel.
        moments: The moments of the activations.
    """
    direct = rewritten = 0.0
    for load, of_mean in layers:
        second = moments.first**2 if of_mean else moments.second
        direct += float(load.squares @ second)
        rewritten += float(load.squares @ (second - 2 * offset * moments.first + 2 * offset**2))
        rewritten += float(np.square(load.product).sum())
    if rewritten == direct:
        return 1.0
    return rewritten / direct if direct and math.isfinite(rewritten) and math.isfinite(direct) else math.inf

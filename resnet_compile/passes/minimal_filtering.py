"""Minimal filtering F(m, 3): m outputs of a filter of three taps by a = m + 2 products, in the place of 3 m.

    y = A ((G g) * (B d)),    y[i] = sum_r g[r] d[i + r],    d of a numbers, g of 3, * by elements

The algorithm is that of Toom and Cook, transposed (Winograd 1980, Arithmetic Complexity of Computations; Lavin and Gray
2016, Fast Algorithms for Convolutional Neural Networks). With points p[0] to p[m], and infinity as the last::

    A[i, k] = p[k]^i             G[k, r] = p[k]^r / prod_{j != k} (p[k] - p[j])
    B[k, n] = the coefficient of x^n in prod_{j != k} (x - p[j])
    A[i, a - 1] = [i = m - 1]    G[a - 1, r] = [r = 2]    B[a - 1, n] = the coefficient of x^n in prod_j (x - p[j])

The points are 0, 1, -1, 2, -2, by which A and B are small integers. In two axes the matrices act on rows and columns
each, and a tile of m x m outputs takes a^2 products in the place of 9 m^2.

Numbers grow on the way and cancel at its end. For filters and maps of independent numbers of one variance, where y has
the variance 3, and with roundings that are independent too, errors relative to y are on average those of the products'
sums times::

    sqrt(1/m sum_i sum_k A[i, k]^2 |G[k]|^2 |B[k]|^2 / 3)

for each axis. That is 1.3 for F(2, 3), 2.4 for F(3, 3) and 3.3 for F(4, 3), so that errors grow to 1.7, 6.0 and 10.8
times those of sums of as many products. The sums here have a ninth of a convolution's products.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from resnet_compile.graph import Vector

TAPS = 3
_POINTS = (0, 1, -1, 2, -2)
UNIT = 1
"""The index of the point 1: what is added to its product is added to every output."""


@dataclass(frozen=True)
class Filtering:
    """The matrices of F(m, 3), in float64.

    Attributes:
        outputs: A, ``[m, a]``.
        taps: G, ``[a, 3]``.
        inputs: B, ``[a, a]``.
    """

    outputs: Vector
    taps: Vector
    inputs: Vector

    @property
    def made(self) -> int:
        """Outputs of a tile along an axis."""
        return len(self.outputs)

    @property
    def products(self) -> int:
        """Products of a tile along an axis, and the numbers that it reads."""
        return len(self.inputs)


@cache
def filtering(made: int) -> Filtering:
    """F(m, 3), for m of 2 to 4."""
    points = [Fraction(point) for point in _POINTS[: made + 1]]
    others = [[other for other in points if other != point] for point in points]
    outputs = [[*(point**place for point in points), Fraction(place == made - 1)] for place in range(made)]
    taps = [
        [point**place / _product([point - other for other in rest]) for place in range(TAPS)]
        for point, rest in zip(points, others, strict=True)
    ]
    inputs = [_with_roots(roots, made + 2) for roots in (*others, points)]
    return Filtering(*(np.array(rows, np.float64) for rows in (outputs, [*taps, [0, 0, 1]], inputs)))


def _product(factors: list[Fraction]) -> Fraction:
    product = Fraction(1)
    for factor in factors:
        product *= factor
    return product


def _with_roots(roots: list[Fraction], length: int) -> list[Fraction]:
    """The coefficients of the polynomial with these roots, the constant first."""
    found = [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found + [Fraction(0)] * (length - len(found))


@dataclass(frozen=True, slots=True)
class Axis:
    """Rows or columns of a convolution of three taps, stride 1.

    Attributes:
        read: The input's length.
        before: The padding before it.
        made: The output's length.
    """

    read: int
    before: int
    made: int

    def tiles(self, form: Filtering) -> int:
        """The number of tiles; the last may make more than there is."""
        return -(-self.made // form.made)

    def spread(self, form: Filtering) -> Vector:
        """The input transform of all tiles as a matrix: B at each tile, padding included; ``[tiles * a, read]``."""
        reach = self.tiles(form) * form.made + TAPS - 1
        padded = np.zeros((self.tiles(form), form.products, max(reach, self.before + self.read)))
        for tile in range(self.tiles(form)):
            start = tile * form.made
            padded[tile, :, start : start + form.products] = form.inputs
        return padded[:, :, self.before : self.before + self.read].reshape(-1, self.read)

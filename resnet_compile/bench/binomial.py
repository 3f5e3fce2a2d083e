"""Confidence intervals of percentiles, and MLPerf's early stopping. Both follow from the binomial distribution.

A run takes longer than the q-th percentile with probability 1 - q, whatever the distribution of the times. So of n
independent runs, the number that takes longer has the distribution Bin(n, 1 - q), and the number that does not has the
distribution Bin(n, q).

    P(Bin(n, p) <= k) = sum_{i=0}^{k} C(n, i) p^i (1 - p)^(n - i)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.99
"""Confidence c of MLPerf's early stopping, with d = 0 (inference rules, appendix "Early Stopping Criterion")."""


@lru_cache(maxsize=64)
def distribution(n: int, p: float) -> NDArray[np.float64]:
    """P(Bin(n, p) <= k) for k = 0, ..., n: float64 [n + 1]; p lies between 0 and 1, both excluded."""
    k = np.arange(1, n + 1)
    # C(n, k) = C(n, k - 1) (n - k + 1) / k; in logarithms, since the terms reach beyond float64.
    steps = np.log(n - k + 1) - np.log(k) + np.log(p) - np.log1p(-p)
    logarithms = n * np.log1p(-p) + np.concatenate([[0.0], np.cumsum(steps)])
    sums: NDArray[np.float64] = np.minimum(1.0, np.cumsum(np.exp(logarithms)))
    return sums


def ranks(n: int, q: float, level: float) -> tuple[int, int] | None:
    """The ranks (l, u) of the two timings that enclose the q-th percentile with confidence `level`.

        P(X_(l) <= percentile <= X_(u)) = P(l <= Bin(n, q) <= u - 1)

    X_(k) is the k-th smallest of n timings, from 1 (David and Nagaraja, Order Statistics, 2003, section 7.1). Each tail
    gets half of 1 - level.

    Returns:
        None if n timings are too few to enclose the percentile.
    """
    below = distribution(n, q)
    tail = (1 - level) / 2
    low = int(np.searchsorted(below, tail, side="right"))  # P(Bin <= low - 1) <= tail
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1  # P(Bin <= high - 1) >= 1 - tail
    return (low, high) if low >= 1 and high <= n else None


def runs_for(q: float, level: float) -> int:
    """The fewest runs for which `ranks` can enclose the percentile."""
    tail = (1 - level) / 2
    # All runs on one side of the percentile must be less likely than one tail.
    return int(np.ceil(np.log(tail) / np.log(max(q, 1 - q))))


def overlatency_allowed(n: int, q: float) -> int:
    """The most late queries among n for which the q-th percentile still keeps its latency bound; -1 if n is too small.

    MLPerf's early stopping criterion allows t late queries of n on this condition: a system that answers exactly the
    fraction q of its queries in time would have t or fewer late ones with a probability below 1 - c.
    """
    return int(np.searchsorted(distribution(n, 1 - q), 1 - CONFIDENCE, side="left")) - 1


def queries_needed(t: int, q: float) -> int:
    """The fewest queries of which t may be late, by the criterion of `overlatency_allowed`."""
    low, high = t, t + 1
    while overlatency_allowed(high, q) < t:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if overlatency_allowed(middle, q) >= t else (middle, high)
    return high

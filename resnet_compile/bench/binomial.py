"""What a count of runs supports: intervals of percentiles, and MLPerf's early stopping. Both are the binomial law.

A run takes longer than the q-th percentile with the probability 1 - q, whatever the distribution of times is. So how
many of n independent runs do is Bin(n, 1 - q), and how many do not is Bin(n, q).

    P(Bin(n, p) <= k) = sum_{i=0}^{k} C(n, i) p^i (1 - p)^(n - i)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.99
"""Of MLPerf's early stopping: c in the appendix "Early Stopping Criterion" of its inference rules, with d = 0."""


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
    """The ranks, from 1, of the two of n sorted timings between which the q-th percentile lies with this confidence.

    For ranks l < u the percentile lies from X_(l) to X_(u) with the probability P(l <= Bin(n, q) <= u - 1) (David and
    Nagaraja, Order Statistics, 2003, section 7.1). Each side gets half of what the confidence leaves.

    Returns:
        None where n timings do not reach as far as the percentile may lie: they are too few for it.
    """
    below = distribution(n, q)
    tail = (1 - level) / 2
    low = int(np.searchsorted(below, tail, side="right"))  # P(Bin <= low - 1) <= tail
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1  # P(Bin <= high - 1) >= 1 - tail
    return (low, high) if low >= 1 and high <= n else None


def runs_for(q: float, level: float) -> int:
    """The fewest runs for which `ranks` knows the percentile."""
    tail = (1 - level) / 2
    # All runs on one side of the percentile must be less likely than one tail.
    return int(np.ceil(np.log(tail) / np.log(max(q, 1 - q))))


def overlatency_allowed(n: int, q: float) -> int:
    """The most of n queries that may be over a bound if it is to hold for the q-th percentile; -1: n is too few.

    MLPerf's early stopping criterion: t of n queries may be over the bound where a system that keeps it for a part q
    of its queries exactly would show t or fewer with a probability of less than 1 - c.
    """
    return int(np.searchsorted(distribution(n, 1 - q), 1 - CONFIDENCE, side="left")) - 1


def queries_needed(t: int, q: float) -> int:
    """The fewest queries of which t may be over the bound by the same criterion."""
    low, high = t, t + 1
    while overlatency_allowed(high, q) < t:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if overlatency_allowed(middle, q) >= t else (middle, high)
    return high

"""What many timings come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import OptionError

# Resampled medians held in memory at once, in values.
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Summary:
    """Timings in seconds, summed up.

    Attributes:
        count: How many.
        mean: Their mean.
        sd: Their population standard deviation, as the original prints it.
        minimum: The fastest.
        p50: The median.
        p90: Nine of ten are no slower.
        p99: 99 of 100 are no slower.
        maximum: The slowest.
    """

    count: int
    mean: float
    sd: float
    minimum: float
    p50: float
    p90: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A median and what it may be: between `low` and `high` with the confidence `level`."""

    median: float
    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def summarize(seconds: Sequence[float]) -> Summary:
    """Sums up one or more timings; percentiles lie on the line between the two nearest timings."""
    values = _timings(seconds)
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    figures = (values.mean(), values.std(), values.min(), p50, p90, p99, values.max())
    return Summary(len(values), *map(float, figures))


def median_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """The median of paired ratios, with its percentile bootstrap confidence interval.

    Pairs are drawn anew with replacement and their median taken, again and again; the interval holds the middle `level`
    of those medians (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). Whatever slows both
    halves of a pair drops out of it. The same seed gives the same interval.

    Args:
        numerators: Seconds of the one, by round.
        denominators: Seconds of the other in the same rounds.
        level: The confidence wanted.
        seed: Of the draws.
        resamples: How many draws.
    """
    above, below = _timings(numerators), _timings(denominators)
    if len(above) != len(below):
        raise OptionError(f"rounds have a timing of both, not {len(above)} of one and {len(below)} of the other")
    ratios = above / below
    generator = np.random.default_rng(seed)
    medians: list[np.ndarray] = []
    rows = max(1, _CHUNK // len(ratios))
    for start in range(0, resamples, rows):
        picks = generator.integers(0, len(ratios), (min(rows, resamples - start), len(ratios)))
        medians.append(np.median(ratios[picks], axis=1))
    tail = 50 * (1 - level)
    low, high = np.percentile(np.concatenate(medians), [tail, 100 - tail])
    return Interval(float(np.median(ratios)), float(low), float(high), level)


def _timings(seconds: Sequence[float]) -> NDArray[np.float64]:
    try:
        values = np.asarray(seconds, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values):
        raise OptionError("needs one timing or more, in seconds")
    return values

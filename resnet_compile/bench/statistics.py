"""Summaries of timings, and comparisons of two models that were timed in the same rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from resnet_compile.bench.binomial import ranks
from resnet_compile.errors import OptionError

LEVEL = 0.95
"""The confidence of the intervals of percentiles."""
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
"""For each percentile, the fraction of the timings that are no slower."""

# Resampled medians held in memory at once, in values.
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class TimingSummary:
    """Timings in seconds, summed up.

    Attributes:
        count: The number of timings.
        mean: The mean.
        sd: The population standard deviation, as the original prints it.
        minimum: The fastest.
        p50: The median.
        p90: 90 % of the timings are no slower. None if there are too few timings.
        p99: 99 % of the timings are no slower. None if there are too few timings.
        maximum: The slowest.
        intervals: Confidence intervals at `LEVEL`, by ``p50``, ``p90``, ``p99``: the two timings that enclose the
            percentile of all possible runs. A percentile with too few timings is left out.
    """

    count: int
    mean: float
    sd: float
    minimum: float
    p50: float
    p90: float | None
    p99: float | None
    maximum: float
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its confidence interval.

    Attributes:
        median: The median.
        low: The lower end of the interval.
        high: The upper end of the interval.
        level: The confidence level.
    """

    median: float
    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Verdict(StrEnum):
    """What a comparison shows about the first model."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference seen"
    TOO_NOISY = "the machine is too noisy to conclude"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models, compared by the ratios of their times in the same rounds.

    Attributes:
        model: The model in the numerator.
        other: The model in the denominator.
        ratio: Time of `model` over time of `other`; above 1, `model` is slower.
        control: Time of `model` over time of a second session of the same model (A/A), in the same rounds. Both
            sessions do the same work, so any difference from 1 is the machine's noise.
    """

    model: str
    other: str
    ratio: Interval
    control: Interval

    @property
    def verdict(self) -> Verdict:
        """The conclusion from the intervals.

        The control's interval must contain 1. A difference counts if the ratio's interval lies beyond 1 and beyond the
        control's whole interval: two sessions of one model can differ too, for example by the place of their memory.
        """
        if 1.0 not in self.control:
            return Verdict.TOO_NOISY
        if self.ratio.low > max(1.0, self.control.high):
            return Verdict.SLOWER
        if self.ratio.high < min(1.0, self.control.low):
            return Verdict.FASTER
        return Verdict.NO_DIFFERENCE


def summarize(seconds: Sequence[float]) -> TimingSummary:
    """Summarizes one or more timings. Percentiles are interpolated linearly between the two nearest timings."""
    values = np.sort(_timings(seconds))
    points: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, part in PERCENTILES.items():
        found = ranks(len(values), part, LEVEL)
        if found or name == "p50":  # few timings have a median too, though no interval for it
            points[name] = float(np.quantile(values, part))
        if found:
            intervals[name] = (float(values[found[0] - 1]), float(values[found[1] - 1]))
    return TimingSummary(
        count=len(values),
        mean=float(values.mean()),
        sd=float(values.std()),
        minimum=float(values[0]),
        p50=points["p50"],
        p90=points.get("p90"),
        p99=points.get("p99"),
        maximum=float(values[-1]),
        intervals=intervals,
    )


def median_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """The median of paired ratios, with its percentile bootstrap confidence interval.

    The pairs are resampled with replacement, and each resample has a median. The interval holds the middle `level` of
    these medians (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). Whatever slows both runs
    of a pair cancels out. The same seed gives the same interval.

    Args:
        numerators: Seconds of the first model, by round.
        denominators: Seconds of the second model, in the same rounds.
        level: The confidence level.
        seed: The seed of the resampling.
        resamples: The number of resamples.
    """
    above, below = _timings(numerators), _timings(denominators)
    if len(above) != len(below):
        raise OptionError(f"numerators and denominators must be equally many, got {len(above)} and {len(below)}")
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

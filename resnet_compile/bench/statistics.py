"""What many timings come to, and what may be concluded from two models timed in the same rounds."""

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
"""The parts of the timings that are no slower, by name."""

# Resampled medians held in memory at once, in values.
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class TimingSummary:
    """Timings in seconds, summed up.

    Attributes:
        count: How many.
        mean: Their mean.
        sd: Their population standard deviation, as the original prints it.
        minimum: The fastest.
        p50: The median.
        p90: Nine of ten are no slower. None where the timings are too few for it.
        p99: 99 of 100 are no slower. None where the timings are too few for it.
        maximum: The slowest.
        intervals: Between which two timings the percentile of all possible runs lies, with a confidence of `LEVEL`, by
            ``p50``, ``p90``, ``p99``. Those that the timings are too few for are left out.
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
    """A median and what it may be.

    Attributes:
        median: The median.
        low: The lowest that it may be.
        high: The highest that it may be.
        level: The confidence of that.
    """

    median: float
    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Verdict(StrEnum):
    """What a comparison shows of the first model."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference seen"
    TOO_NOISY = "the machine is too noisy to conclude"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model against another, by paired ratios.

    Attributes:
        model: Whose times are above the line.
        other: Whose times are below it.
        ratio: model over other; above 1 the model is slower.
        control: The model over a second session of itself (A/A), from the same rounds. The sessions do the same work,
            so what this differs from 1 by is the machine's noise.
    """

    model: str
    other: str
    ratio: Interval
    control: Interval

    @property
    def verdict(self) -> Verdict:
        """What the intervals show.

        The control has to hold 1. A difference counts when its interval lies beyond 1 and beyond all of the control's:
        two sessions of one model can differ, by where their memory came to lie for example.
        """
        if 1.0 not in self.control:
            return Verdict.TOO_NOISY
        if self.ratio.low > max(1.0, self.control.high):
            return Verdict.SLOWER
        if self.ratio.high < min(1.0, self.control.low):
            return Verdict.FASTER
        return Verdict.NO_DIFFERENCE


def summarize(seconds: Sequence[float]) -> TimingSummary:
    """Sums up one or more timings; a percentile lies on the line between the two nearest timings."""
    values = np.sort(_timings(seconds))
    points: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, part in PERCENTILES.items():
        found = ranks(len(values), part, LEVEL)
        if found or name == "p50":  # a middle can be told of few timings too, though not how far off it is
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
        raise OptionError(f"both must have as many timings, got {len(above)} and {len(below)}")
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

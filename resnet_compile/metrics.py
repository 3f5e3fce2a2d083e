"""How right probabilities are of images whose classes are known: of one model, and of two on the same images."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from resnet_compile.notebook import html_table

_BINS = 15
_TOP = 5
# Of the normal distribution, for 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What is kept of each image, in order; all arrays are ``[N]``.

    Attributes:
        labels: Their classes, int64.
        predicted: The most probable classes, int64.
        among_top: Whether the class is among the five most probable.
        losses: Minus the logarithm of the class's probability.
        confidences: The greatest probability.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    among_top: NDArray[np.bool_]
    losses: NDArray[np.float64]
    confidences: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Self:
        """Judges images by their probabilities, ``[N, C]``. Of equal ones the lower class is the more probable."""
        rows = np.arange(len(labels))
        own = probabilities[rows, labels]
        before = (probabilities > own[:, None]).sum(1)
        before += ((probabilities == own[:, None]) & (np.arange(probabilities.shape[1]) < labels[:, None])).sum(1)
        losses = -np.log(np.maximum(own, np.finfo(np.float64).tiny))
        return cls(labels, probabilities.argmax(1), before < _TOP, losses, probabilities.max(1))

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Images after one another."""
        fields = ("labels", "predicted", "among_top", "losses", "confidences")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the image's."""
        return np.equal(self.predicted, self.labels)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Scores:
    """A model judged by a whole set.

    Attributes:
        images: How many there were.
        top1: The share whose most probable class is theirs.
        top1_interval: Wilson's 95 % interval of that.
        top5: The share whose class is among the five most probable.
        loss: Mean cross-entropy.
        calibration_error: Mean distance of confidence from accuracy over 15 bins of confidence, by their images
            (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    """

    images: int
    top1: float
    top1_interval: tuple[float, float]
    top5: float
    loss: float
    calibration_error: float

    def _repr_html_(self) -> str:
        low, high = self.top1_interval
        rows: list[tuple[str, str | float]] = [
            ("top-1", f"{self.top1:.2%} (95 % interval {low:.2%} to {high:.2%})"),
            ("top-5", f"{self.top5:.2%}"),
            ("loss", self.loss),
            ("calibration error", self.calibration_error),
        ]
        return html_table(f"{self.images:,} images", ("", ""), rows)


def scores(judged: Judged) -> Scores:
    """The scores of one image or more."""
    count, right = len(judged), int(judged.right.sum())
    return Scores(
        count,
        right / count,
        _wilson(right, count),
        float(judged.among_top.mean()),
        float(judged.losses.mean()),
        _calibration_error(judged),
    )


def _wilson(right: int, count: int) -> tuple[float, float]:
    share, weight = right / count, _Z * _Z / count
    middle = share + weight / 2
    half = _Z * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    return max((middle - half) / (1 + weight), 0.0), min((middle + half) / (1 + weight), 1.0)


def _calibration_error(judged: Judged) -> float:
    bins = np.minimum((judged.confidences * _BINS).astype(np.int64), _BINS - 1)
    excess = np.bincount(bins, judged.confidences - judged.right, minlength=_BINS)
    return float(np.abs(excess).sum() / len(judged))


def worst_pairs(judged: Judged, count: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: class, what it was taken for, how often; equal ones in order of classes."""
    wrong = ~judged.right
    pairs = Counter(zip(judged.labels[wrong].tolist(), judged.predicted[wrong].tolist(), strict=True))
    worst = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:count]
    return [(label, taken, times) for (label, taken), times in worst]


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on the same images.

    Attributes:
        images: How many there were.
        agreement: The share that both give one class, right or wrong.
        only_first: How many the first alone gets right.
        only_second: How many the second alone gets right.
        difference: The second's accuracy less the first's.
        interval: The 95 % interval of that for paired shares (Agresti and Min 2005).
        p_value: McNemar's exact test of both being equally right, two-sided.
    """

    images: int
    agreement: float
    only_first: int
    only_second: int
    difference: float
    interval: tuple[float, float]
    p_value: float


def compare(first: Judged, second: Judged) -> PairedComparison:
    """Compares two models on one image or more, the same for both and in one order."""
    count = len(first)
    only_first = int((first.right & ~second.right).sum())
    only_second = int((second.right & ~first.right).sum())
    return PairedComparison(
        count,
        float((first.predicted == second.predicted).mean()),
        only_first,
        only_second,
        (only_second - only_first) / count,
        _paired_interval(only_first, only_second, count),
        _mcnemar(only_first, only_second),
    )


def _paired_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """Half an image more in each of the four cells, then the usual interval."""
    total, b, c = count + 2, only_first + 0.5, only_second + 0.5
    difference = (c - b) / total
    half = _Z * math.sqrt(max(b + c - (c - b) ** 2 / total, 0.0)) / total
    return max(difference - half, -1.0), min(difference + half, 1.0)


def _mcnemar(b: int, c: int) -> float:
    """Twice the probability of so few of b + c tosses, or fewer."""
    n = b + c
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(min(b, c) + 1)]
    return min(2 * math.fsum(math.exp(each - n * math.log(2)) for each in logs), 1.0)

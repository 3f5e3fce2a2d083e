"""Accuracy metrics on labelled images: for one model, and for two models on the same images."""

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
# The normal distribution's quantile for a two-sided 95 % interval.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Results for each image, in order; all arrays are ``[N]``.

    Attributes:
        labels: The true classes, int64.
        predicted: The most probable classes, int64.
        among_top: Whether the true class is among the five most probable.
        losses: Minus the logarithm of the true class's probability.
        confidences: The greatest probability.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    among_top: NDArray[np.bool_]
    losses: NDArray[np.float64]
    confidences: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Self:
        """Judges images by their probabilities, ``[N, C]``. The lower class wins a tie."""
        rows = np.arange(len(labels))
        own = probabilities[rows, labels]
        before = (probabilities > own[:, None]).sum(1)
        before += ((probabilities == own[:, None]) & (np.arange(probabilities.shape[1]) < labels[:, None])).sum(1)
        losses = -np.log(np.maximum(own, np.finfo(np.float64).tiny))
        return cls(labels, probabilities.argmax(1), before < _TOP, losses, probabilities.max(1))

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """Concatenates results."""
        fields = ("labels", "predicted", "among_top", "losses", "confidences")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one."""
        return np.equal(self.predicted, self.labels)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's scores on a set of images.

    Attributes:
        images: The number of images.
        top1: The share of images whose most probable class is the true one.
        top1_interval: Wilson's 95 % interval of `top1`.
        top5: The share of images whose true class is among the five most probable.
        loss: Mean cross-entropy.
        calibration_error: Expected calibration error: mean distance of confidence from accuracy over 15 bins of
            confidence, weighted by images (Guo et al. 2017, "On Calibration of Modern Neural Networks").
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
    """The most frequent mistakes as (true class, predicted class, count); ties in order of classes."""
    wrong = ~judged.right
    pairs = Counter(zip(judged.labels[wrong].tolist(), judged.predicted[wrong].tolist(), strict=True))
    worst = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:count]
    return [(label, taken, times) for (label, taken), times in worst]


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on the same images.

    Attributes:
        images: The number of images.
        agreement: The share of images for which both models predict the same class, right or wrong.
        only_first: The number of images that only the first model gets right.
        only_second: The number of images that only the second model gets right.
        difference: The second model's accuracy minus the first's.
        interval: The 95 % interval of `difference`, for paired proportions (Agresti and Min 2005).
        p_value: McNemar's exact two-sided test that both models are equally accurate.
    """

    images: int
    agreement: float
    only_first: int
    only_second: int
    difference: float
    interval: tuple[float, float]
    p_value: float


def compare(first: Judged, second: Judged) -> PairedComparison:
    """Compares two models' results on the same images in the same order; at least one image."""
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
    """Adds half an image to each of the four cells, then takes Wald's interval."""
    total, b, c = count + 2, only_first + 0.5, only_second + 0.5
    difference = (c - b) / total
    half = _Z * math.sqrt(max(b + c - (c - b) ** 2 / total, 0.0)) / total
    return max(difference - half, -1.0), min(difference + half, 1.0)


def _mcnemar(b: int, c: int) -> float:
    """Twice the probability of min(b, c) or fewer heads in b + c tosses, at most 1."""
    n = b + c
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(min(b, c) + 1)]
    return min(2 * math.fsum(math.exp(each - n * math.log(2)) for each in logs), 1.0)

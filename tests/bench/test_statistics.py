"""Summaries and intervals of sequences whose answers are known."""

import numpy as np
import pytest

from resnet_compile.bench import Comparison, Interval, Verdict, median_ratio, summarize


def test_summary_of_a_known_sequence() -> None:
    summary = summarize([float(value) for value in range(1, 101)])
    assert (summary.count, summary.minimum, summary.maximum) == (100, 1, 100)
    assert summary.mean == 50.5
    assert summary.sd == pytest.approx(((100**2 - 1) / 12) ** 0.5)  # of the population, not of a sample
    assert (summary.p50, summary.p90) == pytest.approx((50.5, 90.1))
    assert summary.p99 is None  # the 99th of 100 is all but their maximum
    # Conover, Practical Nonparametric Statistics, 1999, section 3.2: ranks 40 and 61 hold the median of 100 with 95 %.
    assert summary.intervals == {"p50": (40, 61), "p90": (84, 96)}


def test_p99_is_told_of_as_many_as_it_needs() -> None:
    times = [float(value) for value in range(1, 369)]
    assert summarize(times).p99 == pytest.approx(364.33)
    assert summarize(times).intervals["p99"] == (360, 368)
    assert summarize(times[:-1]).p99 is None
    assert summarize(times[:35]).p90 is None
    assert summarize(times[:36]).p90 is not None


def test_summary_as_the_original_computes_it() -> None:
    """The original adds up times and their squares, and subtracts."""
    times = np.random.default_rng(0).gamma(9, 0.01, 100)
    mean = times.sum() / 100
    summary = summarize(times.tolist())
    assert summary.mean == pytest.approx(mean)
    assert summary.sd == pytest.approx(np.sqrt((times**2).sum() / 100 - mean * mean))


def test_summary_of_one_and_of_equal_timings() -> None:
    assert summarize([0.5]) == summarize([0.5]).__class__(1, 0.5, 0.0, 0.5, 0.5, None, None, 0.5, {})
    assert summarize([0.25] * 7).sd == 0


def test_summary_does_not_depend_on_the_order() -> None:
    times = np.random.default_rng(1).random(41)
    assert summarize(times.tolist()).p90 == summarize(sorted(times)).p90 == pytest.approx(np.sort(times)[36])


def test_ratio_of_exact_multiples_is_exact() -> None:
    times = np.random.default_rng(2).random(20) + 1
    assert median_ratio((2 * times).tolist(), times.tolist()) == Interval(2.0, 2.0, 2.0, 0.95)


def test_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    assert median_ratio([1.0, 10.0, 100.0], [1.0, 5.0, 200.0]).median == 1.0


def test_interval_depends_on_the_seed_alone() -> None:
    above, below = np.random.default_rng(3).random((2, 50)) + 1
    first = median_ratio(above, below, seed=5)
    assert first == median_ratio(above, below, seed=5)
    assert len({median_ratio(above, below, seed=seed) for seed in range(8)}) > 1
    assert first.low <= first.median <= first.high


def test_more_confidence_is_wider() -> None:
    above, below = np.random.default_rng(4).random((2, 50)) + 1
    narrow, wide = median_ratio(above, below, level=0.5), median_ratio(above, below, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_chunks_of_resamples_fit_any_number_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    above, below = np.random.default_rng(5).random((2, 30)) + 1
    monkeypatch.setattr("resnet_compile.bench.statistics._CHUNK", 1)
    assert median_ratio(above, below, resamples=101).low > 0


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """200 times 40 rounds of noise around a ratio of 1: a 60 % interval holds 1 in about 120 of them."""
    generator = np.random.default_rng(6)
    covered = 0
    for _ in range(200):
        above, below = np.exp(generator.normal(0, 0.05, (2, 40)))
        covered += 1.0 in median_ratio(above, below, level=0.6, resamples=400)
    assert 100 <= covered <= 140


def synthetic(
    generator: np.random.Generator, rounds: int, slowdown: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of a model that is slower by a factor, of another, and of the model's control, on one drifting machine.

    Each run varies by 2 %, the machine's speed wanders by a quarter, and one run in twenty is disturbed.
    """
    drift = 0.1 * np.exp(0.25 * np.sin(np.arange(rounds) / 9))
    runs = drift * np.exp(generator.normal(0, 0.02, (3, rounds)))
    runs *= np.where(generator.random((3, rounds)) < 0.05, 1.5, 1.0)
    return runs[0] * slowdown, runs[1], runs[2] * slowdown


@pytest.mark.parametrize("seed", range(5))
def test_planted_slowdown_and_control_are_told_apart(seed: int) -> None:
    model, other, again = synthetic(np.random.default_rng(seed), 100, 1.05)
    comparison = Comparison("model", "other", median_ratio(model, other), median_ratio(model, again))
    assert comparison.verdict == Verdict.SLOWER
    assert 1.0 in comparison.control
    assert 1.04 < comparison.ratio.median < 1.06
    turned = Comparison("other", "model", median_ratio(other, model), median_ratio(again, model))
    assert turned.verdict == Verdict.FASTER


@pytest.mark.parametrize("seed", range(5))
def test_equal_models_show_no_difference(seed: int) -> None:
    model, other, again = synthetic(np.random.default_rng(seed), 100, 1.0)
    comparison = Comparison("model", "other", median_ratio(model, other), median_ratio(model, again))
    assert comparison.verdict == Verdict.NO_DIFFERENCE


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.95)


@pytest.mark.parametrize(
    ("ratio", "control", "verdict"),
    [
        ((1.04, 1.06), (0.99, 1.01), Verdict.SLOWER),
        ((0.94, 0.96), (0.99, 1.01), Verdict.FASTER),
        ((0.99, 1.06), (0.99, 1.01), Verdict.NO_DIFFERENCE),
        ((1.02, 1.06), (0.99, 1.04), Verdict.NO_DIFFERENCE),  # two sessions of the model differ as much
        ((0.94, 0.98), (0.97, 1.01), Verdict.NO_DIFFERENCE),
        ((1.04, 1.06), (1.01, 1.02), Verdict.TOO_NOISY),
        ((0.94, 0.96), (0.97, 0.99), Verdict.TOO_NOISY),
    ],
)
def test_verdicts(ratio: tuple[float, float], control: tuple[float, float], verdict: Verdict) -> None:
    assert Comparison("a", "b", interval(*ratio), interval(*control)).verdict == verdict

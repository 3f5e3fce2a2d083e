"""Scores and comparisons, by their definitions and by figures that are known."""

from fractions import Fraction
from math import comb, log

import numpy as np
import pytest

from resnet_compile.metrics import Judged, compare, scores, worst_pairs


def judged(predicted: list[int], labels: list[int]) -> Judged:
    probabilities = np.full((len(labels), 10), 0.05)
    probabilities[np.arange(len(labels)), predicted] = 0.55
    return Judged.of(probabilities, np.array(labels))


def test_scores_are_their_definitions() -> None:
    generator = np.random.default_rng(1)
    raised = np.exp(generator.standard_normal((200, 12)))
    probabilities = raised / raised.sum(1, keepdims=True)
    labels = generator.integers(0, 12, 200)
    made = scores(Judged.of(probabilities, labels))
    ranked = [sorted(range(12), key=lambda c, row=row: -row[c]) for row in probabilities]
    assert made.images == 200
    assert made.top1 == sum(best[0] == label for best, label in zip(ranked, labels, strict=True)) / 200
    assert made.top5 == sum(label in best[:5] for best, label in zip(ranked, labels, strict=True)) / 200
    losses = [-log(row[label]) for row, label in zip(probabilities, labels, strict=True)]
    assert made.loss == pytest.approx(sum(losses) / 200)
    error = 0.0
    for low in range(15):
        members = [i for i in range(200) if low / 15 <= probabilities[i].max() < (low + 1) / 15]
        if members:
            confidence = sum(probabilities[i].max() for i in members) / len(members)
            right = sum(ranked[i][0] == labels[i] for i in members) / len(members)
            error += len(members) / 200 * abs(confidence - right)
    assert made.calibration_error == pytest.approx(error)


def test_equal_probabilities_count_in_order_of_classes() -> None:
    flat = np.full((8, 8), 1 / 8)
    made = Judged.of(flat, np.arange(8))
    assert made.right.tolist() == [True] + [False] * 7
    assert made.among_top.tolist() == [True] * 5 + [False] * 3


def test_an_impossible_class_has_a_finite_loss() -> None:
    assert np.isfinite(scores(Judged.of(np.array([[1.0, 0.0]]), np.array([1]))).loss)


def test_wilsons_interval_of_8_in_10() -> None:
    """As in Newcombe 1998 and every table: 0.4902 to 0.9433."""
    low, high = scores(judged([1] * 8 + [2] * 2, [1] * 10)).top1_interval
    assert (low, high) == (pytest.approx(0.4902, abs=5e-5), pytest.approx(0.9433, abs=5e-5))


def test_worst_pairs_come_by_how_often_and_then_in_order() -> None:
    made = judged([2, 2, 3, 1, 4, 4], [1, 1, 1, 1, 0, 3])
    assert worst_pairs(made, 3) == [(1, 2, 2), (0, 4, 1), (1, 3, 1)]


def test_mcnemars_test_is_the_sign_test() -> None:
    first = judged([1] * 20 + [0] * 9 + [1], [1] * 30)
    second = judged([1] * 20 + [1] * 9 + [0], [1] * 30)
    made = compare(first, second)
    assert (made.only_first, made.only_second, made.images) == (1, 9, 30)
    assert made.p_value == pytest.approx(float(2 * Fraction(comb(10, 0) + comb(10, 1), 2**10)))
    assert made.agreement == pytest.approx(20 / 30)
    assert made.difference == pytest.approx(8 / 30)
    share = (9.5 - 1.5) / 32
    half = 1.959964 * np.sqrt((11 / 32 - share**2) / 32)
    assert made.interval == (pytest.approx(share - half, abs=1e-6), pytest.approx(share + half, abs=1e-6))


def test_a_model_against_itself() -> None:
    made = judged([1, 2, 3], [1, 2, 0])
    same = compare(made, made)
    assert (same.agreement, same.difference, same.p_value) == (1.0, 0.0, 1.0)
    assert same.interval[0] < 0 < same.interval[1]


def test_a_million_images_are_compared_in_floating_point() -> None:
    generator = np.random.default_rng(2)
    labels = np.zeros(10**6, np.int64)
    right = [np.where(generator.random(10**6) < share, 0, 1) for share in (0.70, 0.702)]
    ones = np.ones(10**6)
    first, second = (Judged(labels, each, each == 0, ones, ones) for each in right)
    made = compare(first, second)
    assert 0 < made.p_value < 0.05
    assert made.interval[0] < 0.002 < made.interval[1]

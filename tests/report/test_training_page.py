"""A training's page, from made-up results."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.training_run import narrow_spec

from resnet_compile.report.curves import curves, smoothed, thinned
from resnet_compile.report.training_page import training_page
from resnet_compile.training import Progress, Trained

SETUP = {
    "spec": {"weight_decay": 0.0002, "head": {"num_classes": 10}},
    "batch": 128,
    "optimizer": "momentum",
    "schedule": {"kind": "piecewise", "boundaries": [40], "values": [0.1, 0.01]},
    "augmentation": "crop-flip",
    "freeze": ["conv1", "block1"],
    "seed": 3,
    "data": {"training": {"images": 50_000}, "test": {"images": 10_000}},
}


def trained(step: int = 100, steps: int = 100, **changes: Any) -> Trained:
    progress = Progress(step, steps, SETUP, step, 0.875, 0.9375, 20)
    return Trained(
        **{
            "spec": narrow_spec(),
            "progress": progress,
            "checkpoint": Path("run/c.npz"),
            "best": None,
            "interrupted": False,
            "device": "cpu",
        }
        | changes
    )


def steps(*numbers: int) -> list[dict[str, Any]]:
    return [
        {"step": n, "loss": 5 / n, "accuracy": 0.5, "learning_rate": 0.1, "images_per_second": 200.0} for n in numbers
    ]


def evaluation(step: int, accuracy: float) -> dict[str, Any]:
    return {"step": step, "images": 10_000, "accuracy": accuracy, "loss": 0.25, "best_accuracy": 0.9375}


def test_the_page_tells_what_the_run_came_to() -> None:
    page = training_page("net<1>", trained(), [*steps(10, 20), evaluation(20, 0.9375), evaluation(100, 0.875)])
    assert "net&lt;1&gt;" in page
    assert "net<1>" not in page
    assert "Trained for 100 of 100 steps on cpu" in page
    assert "Interrupted" not in page
    for figure in ("87.50%", "93.75%", "0.250", "200"):
        assert f"<b>{figure}</b>" in page
    assert "On all 10,000 test images" in page
    rows = re.findall(r"<tr><td class=\"n\">([^<]*)</td><td class=\"n\">([^<]*)</td>", page)
    assert rows == [("100", "0.8750"), ("20", "0.9375")]
    assert "conv1, block1" in page
    assert page.count("<svg") == 2 * 3, "for a wide page and for a narrow one"


def test_the_page_needs_nothing_from_anywhere_else() -> None:
    page = training_page("net", trained(), [*steps(10), evaluation(10, 0.5)])
    assert not re.findall(r"(src|href)=|url\(|@import|<script", page)


def test_pairs_of_a_name_and_a_value_stack_on_a_narrow_page() -> None:
    page = training_page("net", trained(), [*steps(10), evaluation(10, 0.5)])
    setup = page.split("<h2>Setup</h2>")[1]
    assert '<table class="pairs">' in setup
    assert '<table class="pairs">' not in page.split("<h2>Setup</h2>")[0], "a table with a header stays one"


def test_a_notebook_shows_what_the_run_came_to() -> None:
    table = trained(7)._repr_html_()
    assert table.count("<tr>") == 1 + 5
    assert '<td style="text-align: right">7</td>' in table


def test_an_interrupted_run_says_so() -> None:
    page = training_page("net", trained(7, interrupted=True), [])
    assert "Interrupted" in page
    assert "<svg" not in page, "without a log there is nothing to draw"


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_run_of_one_line_has_a_page(value: float) -> None:
    """Scales of no width, and rates of zero, which have no logarithm."""
    log = [{"step": 10, "loss": value, "accuracy": value, "learning_rate": value, "images_per_second": 1.0}]
    assert "NaN" not in training_page("net", trained(10), log)
    assert "nan" not in training_page("net", trained(10), log)


def test_curves_lie_within_their_chart() -> None:
    lines = {"a": [(0, 0.5), (50, 4.0), (100, 0.01)], "b": [(100, 2.0)]}
    for logarithmic in (False, True):
        drawing = curves("loss", lines, {"a": "s0", "b": "s1"}, logarithmic=logarithmic)
        _, wide, narrow = drawing.split("<svg")
        for part, left, right in ((wide, 64, 744), (narrow, 48, 324)):
            paths = re.findall(r'points="([^"]*)"', part)
            places = [tuple(map(float, pair.split(","))) for path in paths for pair in path.split()]
            assert len(places) == 4
            assert places[0][1] > places[1][1], "greater values stand higher"
            assert all(left <= x <= right and 12 <= y <= 210 for x, y in places)
            assert part.count("<circle") == 4


def test_smoothing_is_a_mean_about_each_point() -> None:
    values = np.random.default_rng(0).random(200)
    result = smoothed([(10 * place, value) for place, value in enumerate(values)])
    assert [step for step, _ in result] == [*range(0, 2000, 10)]
    # Three of a hundred points: of 200 three before and after, fewer at the ends.
    assert result[100][1] == pytest.approx(values[97:104].mean())
    assert result[1][1] == pytest.approx(values[0:3].mean())
    assert result[0][1] == pytest.approx(values[0])
    assert result[-1][1] == pytest.approx(values[-1])


def test_a_great_value_is_forgotten_where_it_is_far() -> None:
    result = smoothed([(place, 1e30 if place == 0 else 1.0) for place in range(200)])
    assert [value for _, value in result[7:]] == [1.0] * 193


def test_many_points_become_some() -> None:
    points = [(step, float(step)) for step in range(100_000)]
    kept = thinned(points)
    assert len(kept) == 600
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [*kept] == sorted(set(kept))
    assert thinned(points[:600]) == points[:600]

"""Scales, ticks and escaping."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_compile.report.svg import Scale, chart, element, number, ratio_steps, round_steps, short, text, title


def test_scale_is_linear_or_logarithmic() -> None:
    assert [Scale(10, 20, 0, 100)(value) for value in (10, 15, 20)] == [0, 50, 100]
    assert [Scale(0, 2, 200, 0)(value) for value in (0, 1, 2)] == [200, 100, 0]
    logarithmic = Scale(1, 64, 0, 60, logarithmic=True)
    assert [logarithmic(value) for value in (1, 2, 8, 64)] == pytest.approx([0, 10, 30, 60])
    assert Scale(3, 3, 5, 9)(3) == 5  # no span at all


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.93, 1.07, [0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06]),
        (17, 1030, [200, 400, 600, 800, 1000]),
    ],
)
def test_steps_are_round(low: float, high: float, steps: list[float]) -> None:
    assert round_steps(low, high, 7) == pytest.approx(steps)


@given(st.floats(0, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_steps_lie_in_the_range_and_are_few(low: float, span: float, most: int) -> None:
    high = low + span
    if math.isclose(low, high, rel_tol=1e-9):
        return
    steps = round_steps(low, high, most)
    assert len(steps) <= most + 2
    assert all(low - span * 1e-6 <= step <= high + span * 1e-6 for step in steps)


def test_ratios_stand_as_far_above_1_as_below() -> None:
    assert ratio_steps(1.06) == pytest.approx([0.95, 1.0, 1.05])
    assert ratio_steps(3.5) == [0.5, 1, 2]
    assert ratio_steps(40) == [0.1, 1, 10]
    scale = Scale(1 / 4, 4, 0, 100, logarithmic=True)
    assert [scale(ratio) for ratio in (0.5, 1, 2)] == pytest.approx([25, 50, 75])


def test_strangers_words_stay_words() -> None:
    drawing = chart('<"a">', 10, text("a < b & c", 1, 2), element("g", title("</title>"), cls='x"y'))
    frame = ElementTree.fromstring(drawing)
    assert frame.attrib["class"] == "scroll", "a narrow page scrolls it"
    (root,) = frame
    assert root.attrib["aria-label"] == '<"a">'
    assert root[0].text == "a < b & c"
    assert root[1].attrib["class"] == 'x"y'
    assert root[1][0].text == "</title>"


def test_short_forms() -> None:
    assert short("model.onnx", 20) == "model.onnx"
    assert short("folder/with/a/long/model.onnx", 11) == "…model.onnx"
    assert [number(value) for value in (0.5, 12.3456, 1234.5, 0)] == ["0.5", "12.35", "1,234", "0"]

"""Scales, ticks and escaping."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_compile.bench import Comparison, Interval
from resnet_compile.bench.profile import Share
from resnet_compile.bench.record import Sized
from resnet_compile.report import charts
from resnet_compile.report.curves import curves
from resnet_compile.report.svg import (
    NARROW,
    WIDE,
    Frame,
    Scale,
    chart,
    element,
    number,
    ratio_steps,
    round_steps,
    short,
    text,
    title,
)
from resnet_compile.report.sweep_page import roofs
from resnet_compile.roofline import Roofline


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
    drawing = chart(NARROW, '<"a">', 10, text("a < b & c", 1, 2), element("g", title("</title>"), cls='x"y'))
    root = ElementTree.fromstring(drawing)
    assert root.attrib["aria-label"] == '<"a">'
    assert root[0].text == "a < b & c"
    assert root[1].attrib["class"] == 'x"y'
    assert root[1][0].text == "</title>"


def test_short_forms() -> None:
    assert short("model.onnx", 20) == "model.onnx"
    assert short("folder/with/a/long/model.onnx", 11) == "…model.onnx"
    assert [number(value) for value in (0.5, 12.3456, 1234.5, 0)] == ["0.5", "12.35", "1,234", "0"]


def words(drawing: str, style: str) -> list[tuple[float, float, str]]:
    """Where the texts of the drawings for a width begin and end, at 6.6 units a character of 12, and what they say."""
    found = []
    for part in drawing.split(f'<div class="{style}">')[1:]:
        for each in ElementTree.fromstring(part.split("</div>")[0]).iter("text"):
            x, width = float(each.attrib["x"]), 6.6 * len(each.text or "")
            shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[each.attrib["text-anchor"]]
            found.append((x - shift * width, x + (1 - shift) * width, each.text or ""))
    return found


@pytest.mark.parametrize("frame", [WIDE, NARROW], ids=lambda frame: frame.style)
def test_words_keep_within_every_chart(frame: Frame) -> None:
    long = "folder/with/a/name/that/is/longer/than/any/page/is/wide/model-number-one.onnx"
    styles, seconds = {long: "s0", "b": "s1"}, {long: [0.0123, 0.0456, 0.01] * 200, "b": [0.02] * 600}
    ratio = Interval(1.234, 1.111, 1.333, 0.95)
    compared = [Sized(32, "host to host", Comparison("b", long, ratio, Interval(1.0, 0.9, 1.1, 0.95)))]
    row = {"network": "b", "depth_factor": 1, "width_factor": 1, "height": 9, "width": 9, "batch": 1, "dtype": "int8"}
    point = {**row, "threads": 2, "flop_per_byte": 12.0, "gflop_per_second": 30.0}
    drawings = {
        "latency": charts.latency(seconds, styles),
        "timeline": charts.timeline(seconds, styles),
        "sweep": charts.sweep({long: [(1, 5.0), (4096, 12345.0)]}, styles, "milliseconds (median)"),
        "ratios": charts.ratios(compared, styles),
        "shares": charts.shares([Share(long, 12.345, 0.99, 3), Share("b", 0.001, 0.01, 1)], "shares"),
        "curves": curves("loss", {"a": [(0, 0.5), (80_000, 4.0)]}, {"a": "s0"}, logarithmic=True),
        "roofs": roofs([point], [Roofline(1, 50.0, 10.0)], styles),
    }
    for name, drawing in drawings.items():
        assert len(words(drawing, frame.style)) > 2, name
        for begin, end, text_ in words(drawing, frame.style):
            assert begin >= -12, (name, text_)
            assert end <= frame.width + 12, (name, text_)

"""The report's numbers, worked out anew from what the models put out."""

import math

import numpy as np
import pytest
from support.models import run

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.graph import Graph, Type, Value, apply
from resnet_compile.quantize import PointError, QuantizationReport, quantize
from resnet_compile.quantize.images import CalibrationImages
from resnet_compile.quantize.report import compare_points

POINTS = ["tiny/block1", "tiny/block2", "tiny/logits"]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_every_block_and_the_logits(layout: str) -> None:
    shape = (10, 3, 32, 32) if layout == "nchw" else (10, 32, 32, 3)
    images = np.random.default_rng(1).standard_normal(shape, np.float32)
    options = CompileOptions(outputs=("block1", "block2", "logits"), layout=layout)
    quantized = quantize(load_spec("tiny"), options.replace(dtype="int8"), images=images)
    expected, actual = (
        run(model.to_proto(), images) for model in (compile(load_spec("tiny"), options), quantized.model)
    )
    report = quantized.report
    assert [each.name for each in report.points] == POINTS
    for each in report.points:
        power, noise = 0.0, 0.0
        for wanted, got in zip(expected[each.name].ravel(), actual[each.name].ravel(), strict=True):
            power += float(wanted) ** 2
            noise += (float(got) - float(wanted)) ** 2
        assert each.snr == pytest.approx(10 * math.log10(power / noise), abs=1e-3)
        assert each.error == pytest.approx(math.sqrt(noise / power), rel=1e-4)
    classes = [
        max(range(10), key=wanted.__getitem__) == max(range(10), key=got.__getitem__)
        for wanted, got in zip(expected["tiny/logits"], actual["tiny/logits"], strict=True)
    ]
    assert report.top1 == sum(classes) / 10
    assert (report.method, report.source, report.images) == ("minmax", "images", 10)


def test_other_outputs_leave_the_report_as_it_is() -> None:
    reports = [
        quantize(load_spec("tiny"), CompileOptions(dtype="int8", outputs=outputs)).report
        for outputs in (None, ("predictions",), ("logits", "pool1"))
    ]
    assert reports[0] == reports[1] == reports[2]
    assert (reports[0].source, reports[0].images) == ("random", 32)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_logits_with_rows_and_columns_agree_place_by_place(layout: str) -> None:
    """Two classes at four places: negated logits agree at the one place where there is a tie."""
    values = np.array([[[[1, 2], [3, 5]], [[2, 1], [0, 5]]]], np.float32)  # NCHW
    given = values if layout == "nchw" else values.transpose(0, 2, 3, 1)
    x = Value("x", Type("float32", (1, 2, 2, 2)))

    def graph(negated: bool) -> Graph:
        inside = apply("Transpose", x, name="inside", perm=(0, 3, 1, 2)) if layout == "nhwc" else x
        made = apply("Sub" if negated else "Add", apply("Sub", inside, inside, name="zero"), inside, name="made")
        perm = (0, 2, 3, 1)
        y = apply("Transpose", made, name="y", perm=perm) if layout == "nhwc" else apply("Identity", made, name="y")
        return Graph("g", (x,), (y,))

    report = compare_points(graph(negated=False), graph(negated=True), CalibrationImages("images", given), "y", {})
    assert report.top1 == 0.25
    assert report.points[0].error == 2.0


def test_the_document_holds_plain_json_values() -> None:
    points = (PointError("a", 20.0, 0.1), PointError("b", math.inf, 0.0))
    assert QuantizationReport("minmax", "random", 3, points, None).document() == {
        "method": "minmax",
        "source": "random",
        "images": 3,
        "points": [{"name": "a", "snr_db": 20.0, "error": 0.1}, {"name": "b", "snr_db": None, "error": 0.0}],
        "top1_agreement": None,
    }


def test_a_network_without_logits_has_no_classes() -> None:
    spec = load_spec("tiny")
    headless = spec.replace(head=spec.head.replace(num_classes=None))
    report = quantize(headless, CompileOptions(dtype="int8")).report
    assert [each.name for each in report.points] == POINTS[:2]
    assert report.top1 is None

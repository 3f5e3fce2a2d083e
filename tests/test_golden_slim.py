"""Every end point of narrow networks against the real TF-slim's."""

import numpy as np
import pytest
from support.models import run
from support.slim import SlimCase, slim_cases
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, compile, plan_network

CASES = slim_cases("v1") + slim_cases("v2")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_golden_cases_cover_what_they_should(version: str) -> None:
    described = [case.description for case in slim_cases(version)]
    assert {case["output_stride"] for case in described} >= {None, 1, 2, 4, 8, 16, 32}
    assert {case["include_root_block"] for case in described} == {True, False}
    assert {case["global_pool"] for case in described} == {True, False}
    assert None in {case["num_classes"] for case in described}
    assert {case["height"] % 2 for case in described} == {case["width"] % 2 for case in described} == {0, 1}
    assert {case["height"] == case["width"] for case in described} == {True, False}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_end_points_equal_the_originals(case: SlimCase) -> None:
    model = compile(case.spec, CompileOptions(outputs="all", layout="nhwc"), weights=case.weights)
    actual = run(model.to_proto(), case.x)
    expected = case.end_points
    if "net" in expected:
        expected[plan_network(case.spec).features] = expected.pop("net")
    assert list(actual) == list(expected)
    errors = {name: relative_error(actual[name], value) for name, value in expected.items()}
    assert max(errors.values()) <= NETWORK, {name: error for name, error in errors.items() if error > NETWORK}


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.label)
def test_a_model_of_dynamic_size_equals_the_original(case: SlimCase) -> None:
    model = compile(case.spec, CompileOptions(outputs="all", size="dynamic"), weights=case.weights)
    actual = run(model.to_proto(), np.ascontiguousarray(case.x.transpose(0, 3, 1, 2)))
    for name, expected in case.end_points.items():
        if name != "net":
            assert relative_error(actual[name], expected.transpose(0, 3, 1, 2)) <= NETWORK, name

"""Numbers as integers: what a grid holds, and what becomes of weights and biases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_compile.errors import WeightsError
from resnet_compile.graph import ConstantTensor
from resnet_compile.quantize.tensors import Grid, bias_integers, quantize_weights

ENDS = st.floats(-(2.0**100), 2.0**100, width=32)


def held(values: list[list[float]]) -> ConstantTensor:
    """Weights of 1x1 kernels."""
    return ConstantTensor(np.array(values, np.float32)[:, :, None, None])


@given(ENDS, ENDS)
def test_a_grid_reaches_from_end_to_end_and_holds_zero(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    grid = Grid.over(low, high)
    scale, zero_point = float(grid.scale), int(grid.zero_point)
    least, greatest = -zero_point * scale, (255 - zero_point) * scale
    assert scale > 0
    slack = 0.5 * scale * (1 + 1e-4)
    assert least <= min(low, 0) + slack
    assert greatest >= max(high, 0) - slack
    assert (greatest - least) * (1 - 1e-6) <= max(high, 0) - min(low, 0) or scale < 1e-37 or low == high == 0


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [(0, 255, 1, 0), (-255, 0, 1, 255), (-51, 204, 1, 51), (2, 51, 0.2, 0), (0, 0, 1, 0), (-5.1, -1, 0.02, 255)],
)
def test_grids(low: float, high: float, scale: float, zero_point: int) -> None:
    grid = Grid.over(low, high)
    assert (grid.scale, grid.zero_point) == (np.float32(scale), zero_point)
    assert (grid.scale.dtype, grid.zero_point.dtype) == (np.float32, np.uint8)


def test_the_largest_weight_of_each_channel_is_127() -> None:
    weights = quantize_weights(held([[0.5, -1.27], [254, 1], [0, 0]]), Grid.over(0, 255), np.zeros(3), "w")
    np.testing.assert_allclose(weights.scales, [0.01, 2, 1], rtol=1e-6)
    assert weights.array()[:, :, 0, 0].tolist() == [[50, -127], [127, 0], [0, 0]]
    np.testing.assert_allclose(weights.rounding()[1, :, 0, 0], [0, 1])


@pytest.mark.parametrize("weight", [0.0, 1e-42, 1e-30, 1e-9, 1.0])
@pytest.mark.parametrize("step", [1e-6, 1.0, 1e3])
def test_a_bias_fits_however_small_the_weights(weight: float, step: float) -> None:
    grid = Grid.over(0, 255 * step)
    biases = np.array([3.0, -3.0])
    weights = quantize_weights(held([[weight], [weight]]), grid, biases, "w")
    steps = grid.scale * weights.scales
    assert np.abs(biases / steps).max() < 2**31
    np.testing.assert_allclose(bias_integers(biases, steps) * steps.astype(np.float64), biases, rtol=1e-6, atol=step)
    if weight in (0.0, 1.0):
        np.testing.assert_allclose(weights.array()[:, 0, 0, 0] * weights.scales, weight, rtol=1e-6)


@pytest.mark.parametrize("weight", [1e-45, 1e-42, 1e-38])
@pytest.mark.parametrize("step", [1e-6, 1.0, 1e3])
def test_no_scale_is_lost_to_underflow(weight: float, step: float) -> None:
    """Neither the weights' own nor, in float32, its product with the input's, by which biases are divided."""
    grid = Grid.over(0, 255 * step)
    weights = quantize_weights(held([[weight, -weight]]), grid, np.zeros(1), "w")
    assert min(weights.scales[0], weights.scales[0] * grid.scale) >= np.finfo(np.float32).tiny * (1 - 1e-6)
    assert np.abs(weights.rounding()).max() <= np.float32(weight)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused_by_name(bad: float) -> None:
    with pytest.raises(WeightsError, match="not finite float32 numbers @ w"):
        quantize_weights(held([[bad]]), Grid.over(0, 1), np.zeros(1), "w")
    with pytest.raises(WeightsError, match="@ w"):
        quantize_weights(held([[1]]), Grid.over(0, 1), np.array([bad]), "w")

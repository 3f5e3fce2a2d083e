"""Layers against direct numpy statements of their definitions."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contents import with_arrays
from support.models import run
from support.tolerances import LAYER, relative_error

from resnet_compile.graph import Graph, Type, Value
from resnet_compile.lower.layers import Lowering, lower_layer
from resnet_compile.plan.geometry import NO_PADDING, FeatureMap, ceil_padding, fixed_padding, same_padding
from resnet_compile.plan.initializers import INITIALIZERS
from resnet_compile.plan.layers import AveragePool, Blur, ChannelPad, Conv, LeakyRelu, MaxPool, NormActivation, Relu
from resnet_compile.plan.scope import LayerScope
from resnet_compile.serialize import ModelFormat, to_proto
from resnet_compile.spec import BatchNorm

SCOPE = LayerScope("net", BatchNorm(), Relu(), INITIALIZERS["slim"].body)


Layer = Blur | Conv | MaxPool | AveragePool | ChannelPad


def model_of(layer: Layer, data: dict[str, np.ndarray], *, dynamic_size: bool) -> onnx.ModelProto:
    source = layer.source
    shape = (1, source.channels, *(("height", "width") if dynamic_size else source.size))
    x = Value("input", Type("float32", shape))
    lowering = Lowering(dynamic_size)
    output = lower_layer(layer, x, lowering)
    return to_proto(with_arrays(Graph("layer", (x,), (output,)), data), ModelFormat())


def conv2d_same(x: np.ndarray, weights: np.ndarray, stride: int, rate: int) -> np.ndarray:
    """TF-slim's definition: pad by k_eff - 1 in all, the smaller half before; every stride-th window; float64."""
    kernel = weights.shape[-1]
    total = (kernel - 1) * rate
    before = total // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (before, total - before), (before, total - before)))
    rows = range(0, x.shape[2], stride)
    columns = range(0, x.shape[3], stride)
    out = np.empty((x.shape[0], weights.shape[0], len(rows), len(columns)))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = padded[:, :, row : row + total + 1 : rate, column : column + total + 1 : rate]
            out[:, :, i, j] = np.einsum("nchw,ochw->no", window, weights.astype(np.float64))
    return out


def strided_same(x: np.ndarray, weights: np.ndarray, stride: int) -> np.ndarray:
    """TensorFlow's SAME: ceil(n / s) windows, padded by what the last one needs, the odd row at the end; float64."""
    kernel = weights.shape[-1]
    sides = [-(-side // stride) for side in x.shape[2:]]
    totals = [max((out - 1) * stride + kernel - side, 0) for out, side in zip(sides, x.shape[2:], strict=True)]
    pads = [(0, 0), (0, 0), *((total // 2, total - total // 2) for total in totals)]
    padded = np.pad(x.astype(np.float64), pads)
    out = np.empty((x.shape[0], weights.shape[0], *sides))
    for i in range(sides[0]):
        for j in range(sides[1]):
            window = padded[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            out[:, :, i, j] = np.einsum("nchw,ochw->no", window, weights.astype(np.float64))
    return out


def max_pool_definition(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """TensorFlow's SAME max pool: ceil(n / s) windows, the odd row of padding at the end, which never wins."""
    out = np.empty((*x.shape[:2], -(-x.shape[2] // stride), -(-x.shape[3] // stride)), x.dtype)
    begins = [max((out.shape[axis] - 1) * stride + kernel - x.shape[axis], 0) // 2 for axis in (2, 3)]
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            top, left = i * stride - begins[0], j * stride - begins[1]
            window = x[:, :, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            out[:, :, i, j] = window.max(axis=(2, 3))
    return out


sides = st.integers(1, 15)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 3, 5, 7]), st.booleans(), seeds)
def test_conv2d_same(height: int, width: int, stride: int, rate: int, kernel: int, dynamic: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer = SCOPE.conv("layer", FeatureMap(3, height, width), 4, kernel, stride=stride, rate=rate)
    x = rng.standard_normal((1, 3, height, width), np.float32)
    weights = rng.standard_normal(layer.weights.shape, np.float32)
    model = model_of(layer, {"net/layer/weights": weights}, dynamic_size=dynamic)
    actual = run(model, x)["net/layer"]
    assert actual.shape == (1, 4, layer.output.height, layer.output.width)
    assert relative_error(actual, conv2d_same(x, weights, stride, rate)) <= LAYER


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 3), st.sampled_from([1, 3, 5]), st.booleans(), seeds)
def test_a_convolution_with_raw_same_padding(
    height: int, width: int, stride: int, kernel: int, dynamic: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    source = FeatureMap(3, height, width)
    layer = SCOPE.conv("layer", source, 4, kernel, stride=stride, same=True)
    x = rng.standard_normal((1, 3, height, width), np.float32)
    weights = rng.standard_normal(layer.weights.shape, np.float32)
    actual = run(model_of(layer, {"net/layer/weights": weights}, dynamic_size=dynamic), x)["net/layer"]
    assert relative_error(actual, strided_same(x, weights, stride)) <= LAYER


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_grouped_convolution_convolves_runs_of_channels(groups: int) -> None:
    rng = np.random.default_rng(groups)
    layer = SCOPE.conv("layer", FeatureMap(6, 7, 5), 12, 3, stride=2, groups=groups)
    x = rng.standard_normal((1, 6, 7, 5), np.float32)
    weights = rng.standard_normal(layer.weights.shape, np.float32)
    runs = zip(np.split(x, groups, axis=1), np.split(weights, groups), strict=True)
    expected = np.concatenate([conv2d_same(part, kernel, 2, 1) for part, kernel in runs], axis=1)
    actual = run(model_of(layer, {"net/layer/weights": weights}, dynamic_size=False), x)["net/layer"]
    assert relative_error(actual, expected) <= LAYER


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(2, 4), seeds)
def test_subsample_takes_every_stride_th_pixel(height: int, width: int, stride: int, seed: int) -> None:
    (layer,) = SCOPE.subsample("layer", FeatureMap(2, height, width), stride)
    x = np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32)
    assert np.array_equal(run(model_of(layer, {}, dynamic_size=False), x)["net/layer"], x[:, :, ::stride, ::stride])


def test_subsample_by_one_is_the_identity() -> None:
    assert SCOPE.subsample("layer", FeatureMap(2, 5, 5), 1) == ()


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 3), st.booleans(), seeds)
def test_pool1(height: int, width: int, stride: int, dynamic: bool, seed: int) -> None:
    layer = SCOPE.max_pool_same("layer", FeatureMap(2, height, width), 3, stride)
    # Negative maps tell -inf padding from zero padding.
    x = -1 - np.abs(np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32))
    assert np.array_equal(
        run(model_of(layer, {}, dynamic_size=dynamic), x)["net/layer"], max_pool_definition(x, 3, stride)
    )


@pytest.mark.parametrize("side", [8, 9])
def test_padding_by_pads_alone_would_be_wrong_at_a_dynamic_size(side: int) -> None:
    """Why auto_pad stands in models of dynamic size, and nowhere else."""
    dynamic = model_of(SCOPE.max_pool_same("layer", FeatureMap(2, 8, 8), 3, 2), {}, dynamic_size=True)
    static = model_of(SCOPE.max_pool_same("layer", FeatureMap(2, side, side), 3, 2), {}, dynamic_size=False)
    names = [{attribute.name for attribute in model.graph.node[0].attribute} for model in (dynamic, static)]
    assert "auto_pad" in names[0]
    assert "pads" not in names[0]
    assert "auto_pad" not in names[1]
    x = np.random.default_rng(0).standard_normal((1, 2, side, side), np.float32)
    assert np.array_equal(run(dynamic, x)["net/layer"], run(static, x)["net/layer"])


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 15), st.integers(2, 15), st.booleans(), st.booleans(), seeds)
def test_a_zero_padded_pool(height: int, width: int, dynamic: bool, exact: bool, seed: int) -> None:
    """With onnxruntime's optimisations too, which fold a Pad into a MaxPool whatever it pads with."""
    layer = SCOPE.max_pool("layer", FeatureMap(2, height, width), 3, 2, fixed_padding(3), pad_value=0.0)
    x = np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32) - 1
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    actual = run(model_of(layer, {}, dynamic_size=dynamic), x, exact=exact)["net/layer"]
    assert np.array_equal(actual, windows.max(axis=(4, 5)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(2, 4), seeds)
def test_an_average_pool_is_the_mean_of_its_windows(rows: int, columns: int, stride: int, seed: int) -> None:
    layer = SCOPE.average_pool("layer", FeatureMap(3, rows * stride, columns * stride), stride, NO_PADDING)
    x = np.random.default_rng(seed).standard_normal((2, 3, rows * stride, columns * stride), np.float32)
    expected = x.astype(np.float64).reshape(2, 3, rows, stride, columns, stride).mean(axis=(3, 5))
    model = model_of(layer, {}, dynamic_size=False)
    actual = np.concatenate([run(model, x[i : i + 1])["net/layer"] for i in range(2)])
    assert relative_error(actual, expected) <= LAYER


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 15), st.integers(1, 15), st.integers(1, 4), st.booleans(), seeds)
def test_padding_does_not_count_in_an_average_pool(
    height: int, width: int, stride: int, dynamic: bool, seed: int
) -> None:
    source = FeatureMap(2, height, width)
    padding = same_padding(source, stride, stride)
    layer = SCOPE.average_pool("layer", source, stride, padding)
    x = np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32)
    border = ((0, 0), (0, 0), (padding.top, padding.bottom), (padding.left, padding.right))
    padded = np.pad(x.astype(np.float64), border, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (stride, stride), axis=(2, 3))
    expected = np.nanmean(windows[:, :, ::stride, ::stride], axis=(4, 5))
    assert (
        (layer.output.height, layer.output.width) == expected.shape[2:] == (-(-height // stride), -(-width // stride))
    )
    assert relative_error(run(model_of(layer, {}, dynamic_size=dynamic), x)["net/layer"], expected) <= LAYER


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 15), st.integers(3, 15), st.booleans(), seeds)
def test_a_ceil_pool_is_padded_at_the_end_alone(height: int, width: int, dynamic: bool, seed: int) -> None:
    source = FeatureMap(2, height, width)
    layer = SCOPE.max_pool("layer", source, 3, 2, ceil_padding(source, 3, 2))
    x = np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32)
    rows, columns = (range(0, side - 1, 2) for side in (height, width))  # every start with two elements at least
    expected = np.array([[x[0, :, i : i + 3, j : j + 3].max(axis=(1, 2)) for j in columns] for i in rows])
    actual = run(model_of(layer, {}, dynamic_size=dynamic), x)["net/layer"]
    assert np.array_equal(actual[0], expected.transpose(2, 0, 1))
    assert (layer.output.height, layer.output.width) == actual.shape[2:]


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 12), st.integers(4, 12), st.sampled_from([3, 5, 7]), st.integers(1, 3), st.booleans(), seeds)
def test_a_blur_is_a_binomial_filter_of_the_mirrored_map(
    height: int, width: int, kernel: int, stride: int, dynamic: bool, seed: int
) -> None:
    layer = SCOPE.blur("layer", FeatureMap(2, height, width), kernel, stride)
    x = np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32)
    taps = np.poly1d([0.5, 0.5]) ** (kernel - 1)
    border = (kernel - 1) // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    expected = np.einsum("nchwij,i,j->nchw", windows, taps.coeffs, taps.coeffs)
    assert (layer.output.height, layer.output.width) == expected.shape[2:]
    assert layer.macs == kernel**2 * expected.size
    assert relative_error(run(model_of(layer, {}, dynamic_size=dynamic), x)["net/layer"], expected) <= LAYER


def test_channels_are_padded_before_and_after() -> None:
    layer = SCOPE.channel_pad("layer", FeatureMap(2, 3, 4), 1, 3)
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 4), np.float32)
    actual = run(model_of(layer, {}, dynamic_size=False), x)["net/layer"]
    assert actual.shape[1] == layer.output.channels == 6
    assert np.array_equal(actual, np.pad(x, ((0, 0), (1, 3), (0, 0), (0, 0))))


def test_a_leaky_relu_has_its_slope_below_zero() -> None:
    lowering = Lowering(dynamic_size=False)
    layer = SCOPE.norm_activation("layer", FeatureMap(2, 3, 4), LeakyRelu(0.1))
    assert isinstance(layer, NormActivation)
    source = Value("input", Type("float32", (1, 2, 3, 4)))
    output = lower_layer(layer, source, lowering)
    mean, ones = np.array([0.5, -1], np.float32), np.ones(2, np.float32)
    data = {"gamma": ones, "beta": 0 * ones, "moving_mean": mean, "moving_variance": ones}
    named = {f"net/layer/{role}": value for role, value in data.items()}
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 4), np.float32)
    model = to_proto(with_arrays(Graph("layer", (source,), (output,)), named), ModelFormat())
    normed = (x.astype(np.float64) - mean[:, None, None]) / np.sqrt(1 + layer.norm.epsilon)
    assert relative_error(run(model, x)["net/layer"], np.where(normed < 0, 0.1 * normed, normed)) <= LAYER

"""conv2d_same, subsample and pool1 against direct numpy statements of their definitions."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import run
from support.tolerances import LAYER, relative_error

from resnet_compile.graph import ConstantTensor, Graph, Type, Value
from resnet_compile.lower.layers import Lowering, lower_layer
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.layers import Conv, MaxPool, conv, max_pool_same
from resnet_compile.plan.units import subsample
from resnet_compile.serialize import ModelFormat, to_proto


def model_of(layer: Conv | MaxPool, data: dict[str, np.ndarray], *, dynamic_size: bool) -> onnx.ModelProto:
    source = layer.source
    shape = (1, source.channels, *(("height", "width") if dynamic_size else source.size))
    x = Value("input", Type("float32", shape))
    lowering = Lowering(dynamic_size)
    output = lower_layer(layer, x, lowering)
    tensors = {name: ConstantTensor(values) for name, values in data.items()}
    return to_proto(Graph("layer", (x,), (output,), tensors), ModelFormat())


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
    layer = conv("layer", FeatureMap(3, height, width), 4, kernel, stride=stride, rate=rate)
    x = rng.standard_normal((1, 3, height, width), np.float32)
    weights = rng.standard_normal(layer.weights.shape, np.float32)
    model = model_of(layer, {"layer/weights": weights}, dynamic_size=dynamic)
    actual = run(model, x)["layer"]
    assert actual.shape == (1, 4, layer.output.height, layer.output.width)
    assert relative_error(actual, conv2d_same(x, weights, stride, rate)) <= LAYER


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(2, 4), seeds)
def test_subsample_takes_every_stride_th_pixel(height: int, width: int, stride: int, seed: int) -> None:
    (layer,) = subsample("layer", FeatureMap(2, height, width), stride)
    x = np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32)
    assert np.array_equal(run(model_of(layer, {}, dynamic_size=False), x)["layer"], x[:, :, ::stride, ::stride])


def test_subsample_by_one_is_the_identity() -> None:
    assert subsample("layer", FeatureMap(2, 5, 5), 1) == ()


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 3), st.booleans(), seeds)
def test_pool1(height: int, width: int, stride: int, dynamic: bool, seed: int) -> None:
    layer = max_pool_same("layer", FeatureMap(2, height, width), 3, stride)
    # Negative maps tell -inf padding from zero padding.
    x = -1 - np.abs(np.random.default_rng(seed).standard_normal((1, 2, height, width), np.float32))
    assert np.array_equal(run(model_of(layer, {}, dynamic_size=dynamic), x)["layer"], max_pool_definition(x, 3, stride))


@pytest.mark.parametrize("side", [8, 9])
def test_padding_by_pads_alone_would_be_wrong_at_a_dynamic_size(side: int) -> None:
    """Why auto_pad stands in models of dynamic size, and nowhere else."""
    dynamic = model_of(max_pool_same("layer", FeatureMap(2, 8, 8), 3, 2), {}, dynamic_size=True)
    static = model_of(max_pool_same("layer", FeatureMap(2, side, side), 3, 2), {}, dynamic_size=False)
    names = [{attribute.name for attribute in model.graph.node[0].attribute} for model in (dynamic, static)]
    assert "auto_pad" in names[0]
    assert "pads" not in names[0]
    assert "auto_pad" not in names[1]
    x = np.random.default_rng(0).standard_normal((1, 2, side, side), np.float32)
    assert np.array_equal(run(dynamic, x)["layer"], run(static, x)["layer"])

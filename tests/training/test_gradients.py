"""Every gradient rule against finite differences of a definition in float64, by one inner product."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.gradients import gradient_error, gradients, operator, trained
from support.tolerances import GRADIENT

from resnet_compile.errors import GraphError
from resnet_compile.graph import OPERATORS, ConstantTensor, Graph, Type, Value, apply, initializer, unbound
from resnet_compile.plan.geometry import FeatureMap, same_padding
from resnet_compile.training.gradients import RULES, Emitter, backward, convolution, trace, weights
from resnet_compile.training.gradients.fastest import fastest_forward, fastest_input_adjoint, fastest_weight_adjoint
from resnet_compile.training.gradients.geometry import Geometry, Window
from resnet_compile.training.gradients.weights import Products

seeds = st.integers(0, 2**32 - 1)
targets = st.sampled_from(["cpu", "cuda"])
opsets = st.sampled_from([17, 18, 21])


@dataclass(frozen=True)
class ConvCase:
    """A random convolution."""

    batch: int
    inner: int
    depth: int
    groups: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    rates: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "dilations": self.rates,
            "pads": self.pads,
            "group": self.groups,
        }

    @property
    def reads_input(self) -> bool:
        """Whether any window reaches past the padding before the input."""
        spans = ((k - 1) * r for k, r in zip(self.kernel, self.rates, strict=True))
        sides = zip(self.size, spans, self.strides, self.pads[:2], self.pads[2:], strict=True)
        return all(
            ((side + before + after - span - 1) // stride) * stride + span >= before
            for side, span, stride, before, after in sides
        )

    @property
    def geometry(self) -> Geometry:
        sides = zip(self.size, self.kernel, self.strides, self.rates, self.pads[:2], self.pads[2:], strict=True)
        windows = (
            Window(side, (side + p + q - (k - 1) * r - 1) // s + 1, k, s, r, p, q) for side, k, s, r, p, q in sides
        )
        return Geometry(
            self.batch, self.groups * self.inner, self.groups * self.depth, self.groups, next(windows), next(windows)
        )

    def arrays(self, rng: np.random.Generator, *, biases: bool) -> list[np.ndarray]:
        x = rng.standard_normal((self.batch, self.groups * self.inner, *self.size), np.float32)
        weights = rng.standard_normal((self.groups * self.depth, self.inner, *self.kernel), np.float32)
        return [x, weights, *([rng.standard_normal(len(weights), np.float32)] if biases else [])]

    def definition(self, x: np.ndarray, weights: np.ndarray, biases: np.ndarray | None = None) -> np.ndarray:
        top, left, bottom, right = self.pads
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        spans = [(k - 1) * r + 1 for k, r in zip(self.kernel, self.rates, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
        windows = windows[:, :, :: self.strides[0], :: self.strides[1], :: self.rates[0], :: self.rates[1]]
        runs = zip(np.split(windows, self.groups, 1), np.split(weights, self.groups), strict=True)
        y = np.concatenate([np.einsum("nchwij,ocij->nohw", part, kernel) for part, kernel in runs], axis=1)
        return y if biases is None else y + biases[:, None, None]


@st.composite
def conv_cases(draw: st.DrawFn, *, stride: int = 3, kernel: int = 4, padded: bool = True) -> ConvCase:
    def two(most: int) -> tuple[int, int]:
        return draw(st.integers(1, most)), draw(st.integers(1, most))

    taps, rates, strides = two(kernel), two(3), two(stride)
    pads = tuple(draw(st.integers(0, 3 if padded else 0)) for _ in range(4))
    spans = [(k - 1) * r + 1 for k, r in zip(taps, rates, strict=True)]
    least = [max(1, span - pads[axis] - pads[axis + 2]) for axis, span in enumerate(spans)]
    size = tuple(one + draw(st.integers(0, 8)) for one in least)
    batch, inner, depth, groups = (draw(st.integers(1, 3)) for _ in range(4))
    return ConvCase(batch, inner, depth, groups, size, taps, strides, rates, pads)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(conv_cases(), st.booleans(), targets, opsets, seeds)
def test_convolution(case: ConvCase, biases: bool, target: Any, opset: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    build = operator("Conv", **case.attributes)
    arrays = case.arrays(rng, biases=biases)
    assert gradient_error(build, case.definition, arrays, rng, target=target, opset=opset) <= GRADIENT


def with_forms(case: ConvCase, seed: int, **forms: str) -> float:
    """The error of the gradient when its forms are not chosen but given."""
    rng = np.random.default_rng(seed)
    modules = {"weight_adjoint": weights, "input_adjoint": convolution, "forward": convolution}
    with ExitStack() as stack:
        for name, form in forms.items():
            chosen = patch.object(modules[name], f"fastest_{name}", lambda geometry, target, form=form: form)
            stack.enter_context(chosen)
        return gradient_error(operator("Conv", **case.attributes), case.definition, case.arrays(rng, biases=True), rng)


@settings(max_examples=40, deadline=None)
@given(conv_cases(), st.sampled_from(["taps", "volume"]), st.sampled_from(["transposed", "cropped"]), seeds)
def test_forms_for_every_convolution(case: ConvCase, weight: str, source: str, seed: int) -> None:
    assume(weight == "taps" or case.reads_input)
    assert with_forms(case, seed, weight_adjoint=weight, input_adjoint=source, forward="convolution") <= GRADIENT


@settings(max_examples=40, deadline=None)
@given(conv_cases(), st.booleans(), seeds)
def test_one_product_forward_for_every_convolution(case: ConvCase, biases: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    build, arrays = operator("Conv", **case.attributes), case.arrays(rng, biases=biases)
    expected = case.definition(*(array.astype(np.float64) for array in arrays))
    with patch.object(convolution, "fastest_forward", lambda geometry, target: "im2col"):
        assert gradient_error(build, case.definition, arrays, rng) <= GRADIENT
        y, _ = trained(build, arrays, rng.standard_normal(expected.shape, np.float32))
    assert np.all(np.abs(y - expected) <= GRADIENT * case.definition(*map(np.abs, arrays)))


@settings(max_examples=40, deadline=None)
@given(conv_cases(stride=1), st.sampled_from(["flipped", "im2col"]), st.sampled_from(["shifts", "volume"]), seeds)
def test_turned_convolutions_without_stride(case: ConvCase, source: str, weight: str, seed: int) -> None:
    assume(all(window.turns for window in case.geometry.windows))
    assume(weight == "shifts" or case.reads_input)
    assert with_forms(case, seed, weight_adjoint=weight, input_adjoint=source, forward="convolution") <= GRADIENT


@pytest.mark.parametrize("depth", [2, 16])
@pytest.mark.parametrize("groups", [1, 2])
def test_shifts_of_maps_that_keep_their_size(depth: int, groups: int) -> None:
    """Of a few channels one image at a time, of many all images together."""
    case = ConvCase(3, depth, depth, groups, (2, 8), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    assert Products.of(case.geometry, 3, 3, Emitter("", "cpu")).together == (depth > 2)
    assert with_forms(case, 0, weight_adjoint="shifts") <= GRADIENT


@settings(max_examples=30, deadline=None)
@given(conv_cases(kernel=1, padded=False), seeds)
def test_products_for_every_pointwise_convolution(case: ConvCase, seed: int) -> None:
    assert with_forms(case, seed, weight_adjoint="pointwise") <= GRADIENT


def geometry(*, depth: int, side: int, kernel: int, stride: int = 1, batch: int = 128) -> Geometry:
    pads = (kernel - 1) // 2
    window = Window(side, -(-side // stride), kernel, stride, 1, pads, kernel - 1 - pads)
    return Geometry(batch, depth, depth, 1, window, window)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ({"depth": 64, "side": 8, "kernel": 1}, "pointwise"),
        ({"depth": 16, "side": 32, "kernel": 3}, "shifts"),
        ({"depth": 256, "side": 14, "kernel": 3}, "shifts"),
        ({"depth": 256, "side": 4, "kernel": 3}, "volume"),
        ({"depth": 16, "side": 32, "kernel": 3, "stride": 2}, "volume"),
    ],
)
def test_forms_of_weights_are_chosen_by_shape_and_provider(form: dict[str, int], name: str) -> None:
    assert fastest_weight_adjoint(geometry(**form), "cpu") == name
    assert fastest_weight_adjoint(geometry(**form), "cuda") == ("pointwise" if form["kernel"] == 1 else "taps")


def test_a_convolution_with_more_padding_than_its_span_is_not_turned() -> None:
    window = Window(8, 12, 3, 1, 1, 3, 3)
    padded = Geometry(2, 4, 4, 1, window, window)
    assert fastest_weight_adjoint(padded, "cpu") == "volume"
    assert fastest_input_adjoint(padded, "cpu") == "transposed"


@pytest.mark.parametrize(
    ("form", "forward", "source"),
    [
        ({"depth": 16, "side": 32, "kernel": 3}, "convolution", "flipped"),
        ({"depth": 16, "side": 32, "kernel": 3, "stride": 2}, "convolution", "transposed"),
        ({"depth": 512, "side": 4, "kernel": 3, "batch": 1}, "convolution", "transposed"),
        ({"depth": 512, "side": 2, "kernel": 3}, "im2col", "im2col"),
        ({"depth": 512, "side": 2, "kernel": 1}, "im2col", "im2col"),
        ({"depth": 512, "side": 7, "kernel": 3}, "im2col", "im2col"),
        ({"depth": 16, "side": 7, "kernel": 3}, "convolution", "flipped"),
    ],
)
def test_forms_are_chosen_by_shape_and_provider(form: dict[str, int], forward: str, source: str) -> None:
    """Products of all images where an image's pixels would leave much of a panel of 16 columns empty."""
    assert fastest_forward(geometry(**form), "cpu") == forward
    assert fastest_input_adjoint(geometry(**form), "cpu") == source
    assert fastest_forward(geometry(**form), "cuda") == "convolution"


def test_unequal_pads_are_cropped_on_cuda() -> None:
    uneven = Geometry(2, 4, 4, 1, Window(8, 4, 3, 2, 1, 0, 1), Window(8, 4, 3, 2, 1, 0, 1))
    narrow = geometry(depth=16, side=32, kernel=3)
    assert [fastest_input_adjoint(each, "cuda") for each in (narrow, uneven)] == ["transposed", "cropped"]


def batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 0.01) * gamma[:, None, None] + beta[:, None, None]


@settings(max_examples=30, deadline=None)
@given(*[st.integers(1, 6)] * 4, targets, seeds)
def test_batch_normalization(batch: int, channels: int, height: int, width: int, target: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = 3 + rng.standard_normal((batch, channels, height, width), np.float32)
    moving = unbound("mean", "float32", (channels,)), unbound("variance", "float32", (channels,))
    arrays = [x, *rng.standard_normal((2, channels), np.float32)]

    def build(*inputs: Value) -> Value:
        return apply("BatchNormalization", *inputs, *moving, name="y", epsilon=0.01)

    assert gradient_error(build, batch_norm, arrays, rng, target=target) <= GRADIENT


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_scale_and_an_offset_train_by_statistics_that_no_batch_changes(target: Any) -> None:
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal((2, 3, 4, 5), np.float32), *rng.standard_normal((2, 3), np.float32)]
    fixed = [initializer(name, ConstantTensor(np.full(3, value, np.float32))) for name, value in (("m", 0), ("v", 1))]

    def build(*inputs: Value) -> Value:
        return apply("BatchNormalization", *inputs, *fixed, name="y", epsilon=0.0)

    def definition(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        return x * gamma[:, None, None] + beta[:, None, None]

    assert gradient_error(build, definition, arrays, rng, target=target) <= GRADIENT


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 3)] * 3), st.tuples(*[st.integers(1, 11)] * 2), opsets, seeds)
def test_max_pool(window: tuple[int, int, int], size: tuple[int, int], opset: int, seed: int) -> None:
    kernel, stride, pad = window[0], window[1], min(window[2], window[0]) - 1
    size = (max(size[0], kernel), max(size[1], kernel))
    rng = np.random.default_rng(seed)
    # All different by more than the finite difference, so that no winner changes.
    x = rng.permutation(2 * 3 * size[0] * size[1]).reshape(2, 3, *size).astype(np.float32)

    def definition(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        return windows[:, :, ::stride, ::stride].max(axis=(4, 5))

    build = operator("MaxPool", kernel_shape=(kernel,) * 2, strides=(stride,) * 2, pads=(pad,) * 4)
    assert gradient_error(build, definition, [x], rng, opset=opset) <= GRADIENT


@settings(max_examples=20, deadline=None)
@given(*[st.integers(1, 4)] * 2, *[st.integers(1, 9)] * 2, seeds)
def test_subsampling(down: int, right: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, height, width), np.float32)
    build = operator("MaxPool", kernel_shape=(1, 1), strides=(down, right))
    assert gradient_error(build, lambda x: x[:, :, ::down, ::right], [x], rng) <= GRADIENT


def test_of_equal_values_in_a_window_one_gets_the_adjoint() -> None:
    x = np.zeros((1, 1, 5, 5), np.float32)
    build = operator("MaxPool", kernel_shape=(3, 3), strides=(2, 2))
    (dx,) = gradients(build, [x], np.array([[[[1, 2], [4, 8]]]], np.float32))
    assert dx.sum() == 15
    assert np.count_nonzero(dx) == 4


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.tuples(*[st.integers(0, 3)] * 2), st.tuples(*[st.integers(1, 4)] * 2), seeds)
def test_average_pool(stride: int, beyond: tuple[int, int], windows: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = windows
    height, width = (count * stride + min(rest, stride - 1) for count, rest in zip(windows, beyond, strict=True))
    x = rng.standard_normal((2, 3, height, width), np.float32)

    def definition(x: np.ndarray) -> np.ndarray:
        kept = x[:, :, : rows * stride, : columns * stride]
        return kept.reshape(2, 3, rows, stride, columns, stride).mean((3, 5))

    build = operator("AveragePool", kernel_shape=(stride,) * 2, strides=(stride,) * 2)
    assert gradient_error(build, definition, [x], rng) <= GRADIENT


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.tuples(*[st.integers(1, 9)] * 2), seeds)
def test_padding_does_not_count_in_an_average_pool(stride: int, size: tuple[int, int], seed: int) -> None:
    """TensorFlow's SAME, whose windows at the border are as large as the map leaves them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *size), np.float32)
    padding = same_padding(FeatureMap(3, *size), stride, stride)
    border = ((0, 0), (0, 0), (padding.top, padding.bottom), (padding.left, padding.right))

    def definition(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, border, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (stride, stride), axis=(2, 3))
        return np.nanmean(windows[:, :, ::stride, ::stride], axis=(4, 5))

    pads = (padding.top, padding.left, padding.bottom, padding.right)
    build = operator("AveragePool", kernel_shape=(stride,) * 2, strides=(stride,) * 2, pads=pads)
    assert gradient_error(build, definition, [x], rng) <= GRADIENT


def test_an_average_pool_whose_windows_overlap_has_no_gradient() -> None:
    x = np.ones((1, 1, 5, 5), np.float32)
    with pytest.raises(GraphError, match="overlap"):
        gradients(operator("AveragePool", kernel_shape=(3, 3), strides=(2, 2)), [x], x[:, :, :2, :2])


def softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x - x.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def pads(name: str, *values: int) -> Value:
    return apply("Constant", name=name, value_ints=values)


def number(name: str, value: float) -> Value:
    return initializer(name, ConstantTensor(np.array(value, np.float32)))


SIMPLE = {
    "Add": (operator("Add"), np.add, [(2, 3, 4, 5), (2, 3, 4, 5)]),
    "Add, broadcast": (operator("Add"), np.add, [(2, 3, 4, 5), (3, 1, 1)]),
    "Clip": (
        lambda x: apply("Clip", x, number("least", 0), number("most", 0.5), name="y"),
        lambda x: np.clip(x, 0, 0.5),
        [(2, 3, 4, 5)],
    ),
    "Flatten": (operator("Flatten", axis=1), lambda x: x.reshape(2, -1), [(2, 3, 4, 5)]),
    "Gemm": (operator("Gemm", transB=1), lambda x, w: x @ w.T, [(4, 3), (5, 3)]),
    "Gemm, biased": (operator("Gemm", transB=1), lambda x, w, b: x @ w.T + b, [(4, 3), (5, 3), (5,)]),
    "GlobalAveragePool": (operator("GlobalAveragePool"), lambda x: x.mean((2, 3), keepdims=True), [(2, 3, 4, 5)]),
    "Identity": (operator("Identity"), lambda x: x, [(2, 3)]),
    "LeakyRelu": (operator("LeakyRelu", alpha=0.3), lambda x: np.where(x < 0, 0.3 * x, x), [(2, 3, 4, 5)]),
    "Mul": (operator("Mul"), np.multiply, [(2, 3, 4, 5), (2, 3, 4, 5)]),
    "Mul, broadcast": (operator("Mul"), np.multiply, [(2, 3, 4, 5), (2, 3, 1, 1)]),
    "Pad": (
        lambda x: apply("Pad", x, pads("pads", 0, 1, 2, 0, 0, 3, 0, 1), name="y", mode="constant"),
        lambda x: np.pad(x, ((0, 0), (1, 3), (2, 0), (0, 1))),
        [(2, 3, 4, 5)],
    ),
    "Pad, mirrored": (
        lambda x: apply("Pad", x, pads("pads", 0, 0, 2, 3, 0, 0, 1, 0), name="y", mode="reflect"),
        lambda x: np.pad(x, ((0, 0), (0, 0), (2, 1), (3, 0)), mode="reflect"),
        [(2, 3, 4, 5)],
    ),
    "Relu": (operator("Relu"), lambda x: np.maximum(x, 0), [(2, 3, 4, 5)]),
    "Sigmoid": (operator("Sigmoid"), lambda x: 1 / (1 + np.exp(-x)), [(2, 3, 4, 5)]),
    "Softmax": (operator("Softmax", axis=1), softmax, [(3, 4, 2, 1)]),
    "Transpose": (operator("Transpose", perm=(0, 2, 3, 1)), lambda x: x.transpose(0, 2, 3, 1), [(2, 3, 4, 5)]),
}


@pytest.mark.parametrize("label", SIMPLE)
def test_an_operator_of_one_form(label: str) -> None:
    build, definition, shapes = SIMPLE[label]
    rng = np.random.default_rng(len(label))
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]
    assert gradient_error(build, definition, arrays, rng) <= GRADIENT


@pytest.mark.parametrize(("name", "attributes", "slope"), [("Relu", {}, 0.0), ("LeakyRelu", {"alpha": 0.25}, 1.0)])
def test_slopes_at_and_around_zero(name: str, attributes: dict[str, Any], slope: float) -> None:
    """At exactly 0 as TensorFlow: ReLU's slope is 0, and `where(x < 0, a x, x)` has 1."""
    below = attributes.get("alpha", 0.0)
    x = np.array([-np.inf, -3e38, -1e-36, -0.0, 0.0, 1e-37, 3e38], np.float32)
    (dx,) = gradients(operator(name, **attributes), [x], np.full_like(x, 2))
    assert (dx / 2).tolist() == pytest.approx([below, below, below, slope, slope, 1, 1])


def test_every_operator_of_an_inference_graph_has_a_rule_that_is_tested() -> None:
    tested = {label.split(",")[0] for label in SIMPLE}
    assert set(RULES) == tested | {"AveragePool", "BatchNormalization", "Conv", "MaxPool"}


def test_the_operators_without_a_rule_are_known() -> None:
    """What training and quantisation add to a network, and what passes make of it, is not differentiated itself."""
    made_by_training = {"ArgMax", "Cast", "Concat", "ConvTranspose", "Div", "Equal", "Expand", "Gather"}
    made_by_training |= {"HardSigmoid", "LogSoftmax", "MatMul", "Pow", "ReduceSum", "Reshape", "Resize"}
    made_by_training |= {"ScatterElements", "Slice", "Sqrt", "Sub"}
    made_by_passes = {"Max", "Min", "QuantizeLinear", "DequantizeLinear", "com.microsoft:FusedConv"}
    made_by_passes |= {f"com.microsoft.nchwc:{name}" for name in ("Conv", "ReorderInput", "ReorderOutput")}
    made_around_networks = {"Ceil", "CumSum", "Floor", "Round", "Shape", "TopK"}
    assert set(OPERATORS) - set(RULES) == {"Constant"} | made_by_training | made_by_passes | made_around_networks


X = Value("x", Type("float32", (2, 3, 4, 5)))


def test_adjoints_of_a_value_used_twice_add_up() -> None:
    def build(x: Value) -> Value:
        return apply("Add", apply("Relu", x, name="a"), apply("Add", x, x, name="b"), name="y")

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 3, 4, 5), np.float32)]
    assert gradient_error(build, lambda x: np.maximum(x, 0) + 2 * x, arrays, rng) <= GRADIENT


def test_what_leads_to_nothing_wanted_is_not_differentiated() -> None:
    """Behind a pool that has no gradient, and without the convolution's own input and weights."""
    emit = Emitter("", "cpu")
    weights, biases = (Value(name, Type("float32", shape)) for name, shape in (("w", (4, 3, 1, 1)), ("b", (4,))))
    pooled = apply("AveragePool", X, name="a", kernel_shape=(3, 3), strides=(1, 1))
    y = apply("Conv", pooled, weights, biases, name="y", kernel_shape=(1, 1))
    traced = trace(Graph("g", (X, weights, biases), (y,)), {}, emit)
    seed = {traced.values[y]: Value("dy", y.type)}
    found = backward(traced, seed, [biases], emit)
    assert found[biases].node is not None
    assert found[biases].node.operator == "ReduceSum"
    with pytest.raises(GraphError, match="overlap"):
        backward(traced, seed, [X], emit)


def test_a_value_without_influence_is_an_error() -> None:
    emit = Emitter("", "cpu")
    y = apply("Relu", X, name="y")
    stranger = Value("stranger", X.type)
    traced = trace(Graph("g", (X,), (y,)), {}, emit)
    with pytest.raises(GraphError, match="the differentiated values do not depend on it @ stranger"):
        backward(traced, {traced.values[y]: Value("dy", y.type)}, [stranger], emit)


def test_an_operator_without_a_rule_is_an_error() -> None:
    y = apply("Sqrt", X, name="y")
    with pytest.raises(GraphError, match="no gradient rule for Sqrt @ y"):
        trace(Graph("g", (X,), (y,)), {}, Emitter("", "cpu"))

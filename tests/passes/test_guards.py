"""Guards of passes that no network of the catalogue reaches."""

import numpy as np
import pytest
from support.contents import single
from support.interpreter import evaluate
from support.tolerances import REWRITE, relative_error

from resnet_compile.graph import Graph, Type, Value, apply
from resnet_compile.passes.fold_batch_norm import fold_batch_norm
from resnet_compile.passes.hoist_biases import hoist_biases
from resnet_compile.passes.max_preactivation import max_preactivation

X = Value("x", Type("float32", ("batch", 4, 6, 6)))


def normed(x: Value, mean: np.ndarray, name: str = "norm") -> Value:
    """Batch normalisation of variance 1."""
    ones, zeros = np.ones(len(mean)), np.zeros(len(mean))
    contents = {"gamma": ones, "beta": zeros, "mean": mean, "variance": ones}
    statistics = [single(f"{name}/{key}", values) for key, values in contents.items()]
    return apply("BatchNormalization", x, *statistics, name=name, epsilon=1e-5)


def weights() -> Value:
    return single("weights", np.random.default_rng(0).standard_normal((4, 4, 1, 1)))


def require_equal(graph: Graph, rewritten: Graph) -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 6, 6)).astype(np.float32)
    expected, actual = (evaluate(each, x, rounded=False) for each in (graph, rewritten))
    for name, value in expected.items():
        assert relative_error(actual[name], value) <= REWRITE, name


@pytest.mark.parametrize(("mean", "done"), [(100.0, 1), (0.0, 0)])
@pytest.mark.parametrize("pools", [0, 1, 2])
def test_a_norm_behind_pools_limits_the_biases_before_them(mean: float, done: int, pools: int) -> None:
    """Biases of 100 are what a norm's mean of 100 expects; one of mean 0 would see errors ten thousand times larger."""
    x = apply("Conv", X, weights(), single("biases", np.full(4, 100.0)), name="conv", kernel_shape=(1, 1))
    for number in range(pools):
        x = apply("MaxPool", x, name=f"pool{number}", kernel_shape=(2, 2))
    graph = Graph("g", (X,), (normed(x, np.full(4, mean)),))
    result = hoist_biases(graph)
    assert result.done == done
    assert [each.startswith("conv: squared errors would grow by") for each in result.refused] == [True] * (1 - done)
    require_equal(graph, result.graph)


def test_weights_that_another_convolution_reads_are_not_folded_into() -> None:
    shared = weights()
    first, second = (apply("Conv", X, shared, name=name, kernel_shape=(1, 1)) for name in ("conv1", "conv2"))
    graph = Graph("g", (X,), (normed(first, np.ones(4), "norm1"), normed(second, np.zeros(4), "norm2")))
    result = fold_batch_norm(graph)
    refused = tuple(f"norm{each}: other nodes share the weights of conv{each}" for each in (1, 2))
    assert (result.done, result.refused) == (0, refused)
    require_equal(graph, result.graph)


def test_weights_that_another_convolution_reads_take_no_offset() -> None:
    shared = weights()
    activated = apply("Relu", normed(X, np.full(4, -0.2)), name="relu")
    first, second = (apply("Conv", x, shared, name=f"conv of {x.name}", kernel_shape=(1, 1)) for x in (activated, X))
    result = max_preactivation(Graph("g", (X,), (first, second)))
    assert (result.done, result.refused) == (0, ("relu: other nodes share the weights of conv of relu",))

"""Weights that passes find hard: gammas of both signs, zeros and tiny ones, with statistics as training leaves them."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from resnet_compile import CompileOptions, NetworkSpec, compile
from resnet_compile.graph import Graph, Value, exact
from support.contents import with_arrays
from support.interpreter import evaluate
from support.tolerances import relative_error

Signs = Literal["positive", "negative", "both"]
_TINY = (0.0, 1e-42, 1e-10)


def calibrated(spec: NetworkSpec, options: CompileOptions, signs: Signs, seed: int) -> tuple[Graph, np.ndarray]:
    """A network whose moving statistics are those of an input, but for a few per cent; and that input.

    Its gammas are of the given signs, one in four of them zero or tiny with a negative or a positive beta. Its
    convolutions have biases where the network has any.
    """
    rng = np.random.default_rng(seed)
    graph = compile(spec, options.replace(target=None, dtype="float32")).graph
    data = {value.name: _values(rng, value, value.tensor.array(), signs) for value in graph.initializers()}

    def observe(value: Value, inputs: list[Any]) -> None:
        """Sets a normalisation's statistics to those of what it reads."""
        assert value.node is not None
        if value.node.operator == "BatchNormalization":
            x = inputs[0]
            mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            # A map of few pixels hardly varies; scaled to unit variance it would be nothing but errors of before.
            variance = np.maximum(variance, np.maximum(np.square(mean), np.square(x).mean()))
            variance = np.maximum(variance, 1e-6)  # of nothing but zeros, where no epsilon is added
            for place, measured in ((3, mean), (4, variance)):
                stored = (measured * rng.uniform(0.95, 1.05, measured.shape)).astype(np.float32)
                data[value.node.input(place).name] = stored
                inputs[place] = stored.astype(np.float64)

    x = _input(rng, graph)
    evaluate(with_arrays(graph, data), x, rounded=False, observe=observe)
    return with_arrays(graph, data), x


def sensitivity(graph: Graph, x: np.ndarray, expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far half a unit in the last place of every weight moves each output: the error that float32 weights have.

    The most of four random choices of signs, since one may happen to cancel.
    """
    rng = np.random.default_rng(0)
    half_ulp = float(np.finfo(np.float32).eps) / 2
    most = dict.fromkeys(expected, 0.0)
    for _ in range(4):
        data = {value.name: exact(value) for value in graph.initializers()}
        signs = {name: rng.choice([-1.0, 1.0], values.shape) for name, values in data.items()}
        perturbed = {name: values * (1 + half_ulp * signs[name]) for name, values in data.items()}
        moved = evaluate(with_arrays(graph, perturbed), x, rounded=False)
        most = {name: max(most[name], relative_error(moved[name], values)) for name, values in expected.items()}
    return most


def _values(rng: np.random.Generator, value: Value, initial: np.ndarray, signs: Signs) -> np.ndarray:
    role = value.name.rsplit("/", 1)[-1]
    shape = initial.shape
    if role == "gamma":
        sign = {"positive": 1.0, "negative": -1.0, "both": rng.choice([-1.0, 1.0], shape)}[signs]
        gamma = sign * rng.uniform(0.3, 1.5, shape)
        return np.where(rng.random(shape) < 0.25, sign * rng.choice(_TINY, shape), gamma).astype(np.float32)
    if role in ("beta", "biases"):
        return rng.normal(0, 0.3, shape).astype(np.float32)
    return initial


def _input(rng: np.random.Generator, graph: Graph) -> np.ndarray:
    (source,) = graph.inputs
    shape = [dim if isinstance(dim, int) else 2 for dim in source.shape]
    return rng.standard_normal(shape).astype(np.float32)

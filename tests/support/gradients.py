"""Gradients of single operators: a graph of ours against finite differences of a definition in float64."""

from collections.abc import Callable, Sequence

import numpy as np

from resnet_compile.graph import Attribute, Graph, Type, Value, apply, verify
from resnet_compile.serialize import ModelFormat, to_proto
from resnet_compile.training.gradients import Emitter, Target, backward, trace
from support.models import runner

Build = Callable[..., Value]
Definition = Callable[..., np.ndarray]


def operator(name: str, **attributes: Attribute) -> Build:
    """A graph of one operator."""
    return lambda *inputs: apply(name, *inputs, name="y", **attributes)


def gradients(
    build: Build, inputs: Sequence[np.ndarray], dy: np.ndarray, *, target: Target = "cpu", opset: int = 17
) -> list[np.ndarray]:
    """The adjoints of all float32 inputs of an operator, computed by onnxruntime."""
    return trained(build, inputs, dy, target=target, opset=opset)[1]


def trained(
    build: Build, inputs: Sequence[np.ndarray], dy: np.ndarray, *, target: Target = "cpu", opset: int = 17
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What an operator gives as training applies it, and the adjoints of its inputs, computed by onnxruntime."""
    values = tuple(Value(f"x{n}", Type("float32", array.shape)) for n, array in enumerate(inputs))
    seed = Value("dy", Type("float32", dy.shape))
    emit = Emitter("", target)
    output = build(*values)
    traced = trace(Graph("operator", values, (output,)), {}, emit)
    found = backward(traced, {traced.values[output]: seed}, values, emit)
    named = tuple(apply("Identity", found[value], name=f"d{value.name}") for value in values)
    outputs = (traced.values[output], *named)
    graph = verify(Graph("operator", (*values, seed), outputs), bound=True)
    feeds = {value.name: array for value, array in zip(values, inputs, strict=True)}
    made = runner(to_proto(graph, ModelFormat(opset=opset)))({**feeds, "dy": dy})
    return made[outputs[0].name], [made[value.name] for value in named]


def gradient_error(
    build: Build,
    definition: Definition,
    inputs: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    target: Target = "cpu",
    opset: int = 17,
) -> float:
    """The error of one inner product, relative to the product of the norms.

    For a random direction v and a random output adjoint dy, <dx, v> is the derivative of <dy, f(x + h v)> by h at 0.
    """
    exact = [array.astype(np.float64) for array in inputs]
    dy = rng.standard_normal(definition(*exact).shape, np.float32)
    directions = [rng.standard_normal(array.shape) for array in inputs]
    step = 1e-5

    def along(h: float) -> float:
        moved = [array + h * v for array, v in zip(exact, directions, strict=True)]
        return float(np.sum(dy * definition(*moved)))

    expected = (along(step) - along(-step)) / (2 * step)
    found = gradients(build, inputs, dy, target=target, opset=opset)
    assert [each.shape for each in found] == [array.shape for array in inputs]
    actual = sum(float(np.sum(each * v)) for each, v in zip(found, directions, strict=True))
    norms = sum(float(np.linalg.norm(each) * np.linalg.norm(v)) for each, v in zip(found, directions, strict=True))
    return abs(actual - expected) / max(norms, float(np.linalg.norm(dy)))

"""Every pass computes the same: in float64 to the algebra, in float32 and float16 within a factor of the error."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.adversarial import Signs, calibrated, sensitivity
from support.interpreter import evaluate
from support.models import run
from support.specs import families, networks
from support.tolerances import ILL_CONDITIONED, REWRITE, REWRITE_GROWTH, REWRITE_GROWTH_OF_SMALL, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile, load_spec
from resnet_compile.graph import Graph, verify
from resnet_compile.passes import CUDA_WITH_FUSED_CONVOLUTIONS, TARGETS, Pass, optimize
from resnet_compile.precision import PRECISIONS, Float16, Float32, Int8

SIGNS = st.sampled_from(["positive", "negative", "both"])
# Of the catalogue's weights: where float32 says nothing of an output with one of them, the next is taken.
SEEDS = range(4)
SLOW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

# Targets by their passes: some have the same ones.
LISTS = list({passes: target for target, passes in TARGETS.items()}.values())


def errors(graph: Graph, x: np.ndarray, expected: dict[str, np.ndarray]) -> dict[str, float]:
    """The outputs' errors when computed in the graph's own types."""
    return {name: relative_error(value, expected[name]) for name, value in evaluate(graph, x, rounded=True).items()}


def root_mean_square(values: Iterable[float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(values)))))


class Reference:
    """What a graph computes, and how precisely it can be said."""

    def __init__(self, graph: Graph, x: np.ndarray) -> None:
        self.graph, self.x = graph, x
        self.expected = evaluate(graph, x, rounded=False)
        self.moved = sensitivity(graph, x, self.expected)

    @property
    def is_told(self) -> bool:
        """Whether float32 weights say anything of the outputs; if not, neither does a comparison."""
        return max(self.moved.values()) <= ILL_CONDITIONED

    @cached_property
    def had(self) -> float:
        """The error of the graph itself, or what half a unit in the last place of its weights makes."""
        before = errors(self.graph, self.x, self.expected)
        return root_mean_square(max(before[name], self.moved[name]) for name in self.expected)

    def require_same(self, rewritten: Graph, growth: float) -> None:
        """Asserts that a graph computes the same outputs, about as precisely."""
        verify(rewritten, bound=True)
        assert [output.name for output in rewritten.outputs] == [output.name for output in self.graph.outputs]
        assert [output.type for output in rewritten.outputs] == [output.type for output in self.graph.outputs]
        for name, value in evaluate(rewritten, self.x, rounded=False).items():
            assert relative_error(value, self.expected[name]) <= REWRITE, name
        # One of many small layers may be lucky with its roundings; a network's error is that of all its outputs.
        assert root_mean_square(errors(rewritten, self.x, self.expected).values()) <= growth * self.had


def same(graph: Graph, rewritten: Graph, x: np.ndarray, growth: float) -> bool:
    """Asserts that the two graphs compute the same outputs, one about as precisely as the other.

    Returns:
        Whether anything could be asserted.
    """
    reference = Reference(graph, x)
    if reference.is_told:
        reference.require_same(rewritten, growth)
    return reference.is_told


@pytest.mark.parametrize(
    "each",
    dict.fromkeys(TARGETS["portable"] + TARGETS["cuda"] + CUDA_WITH_FUSED_CONVOLUTIONS + Int8().passes()),
    ids=lambda each: each.__name__,
)
@SLOW
@given(networks(), SIGNS, st.integers(0, 99), st.sampled_from(["all", None]))
def test_each_pass_alone(each: Pass, spec: NetworkSpec, signs: Signs, seed: int, outputs: str | None) -> None:
    graph, x = calibrated(spec, CompileOptions(outputs=outputs), signs, seed)
    assume(same(graph, each(graph).graph, x, REWRITE_GROWTH_OF_SMALL))


@pytest.mark.parametrize("target", LISTS)
@SLOW
@given(networks(), SIGNS, st.integers(0, 99), st.sampled_from(["nchw", "nhwc"]))
def test_all_passes_of_a_target(target: str, spec: NetworkSpec, signs: Signs, seed: int, layout: str) -> None:
    graph, x = calibrated(spec, CompileOptions(layout=layout), signs, seed)
    rewritten, _ = optimize(graph, target)
    assume(same(graph, rewritten, x, REWRITE_GROWTH_OF_SMALL))


@pytest.mark.parametrize("spec", families(), ids=lambda spec: spec.name)
def test_the_catalogue(spec: NetworkSpec) -> None:
    """By the passes of every target, and those before integers."""
    for signs in ("positive", "negative", "both"):
        told = (Reference(*calibrated(spec, CompileOptions(), signs, seed)) for seed in SEEDS)
        reference = next(each for each in told if each.is_told)
        for target in LISTS:
            rewritten, applied = optimize(reference.graph, target)
            assert sum(each.done for each in applied) > 0
            reference.require_same(rewritten, REWRITE_GROWTH)
        reference.require_same(optimize(reference.graph, "cuda", fused_conv=True)[0], REWRITE_GROWTH)
        rewritten, _ = optimize(reference.graph, None, Int8().passes())
        assert not any(value.node and value.node.operator == "BatchNormalization" for value in rewritten.values())
        reference.require_same(rewritten, REWRITE_GROWTH)


@pytest.mark.parametrize("spec", families(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("target", LISTS)
def test_the_catalogue_in_float16(target: str, spec: NetworkSpec) -> None:
    """The rewritten graph in float16 against the unrewritten one in float16."""

    def growth(seed: int) -> float:
        graph, x = calibrated(spec, CompileOptions(), "positive", seed)
        expected = evaluate(graph, x, rounded=False)
        before = errors(optimize(graph, None, Float16().passes())[0], x, expected)
        after = errors(verify(optimize(graph, target, Float16().passes())[0], bound=True), x, expected)
        return max(error / before[output] for output, error in after.items())

    # The roundings of one network of a few channels may be luck: three have it on the average.
    first = growth(0)
    assert first <= REWRITE_GROWTH or np.mean([first, growth(1), growth(2)]) <= REWRITE_GROWTH


@SLOW
@given(networks())
def test_the_interpreter_computes_what_onnxruntime_does(spec: NetworkSpec) -> None:
    model = compile(spec, CompileOptions(outputs="all"))
    shape = (2, spec.input.channels, spec.input.height, spec.input.width)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    expected = run(model.to_proto(), x)
    for name, value in evaluate(model.graph, x, rounded=True).items():
        assert relative_error(value, expected[name].astype(np.float64)) <= ILL_CONDITIONED, name


def test_every_pass_of_a_precision_keeps_the_signature() -> None:
    graph, _ = calibrated(load_spec("tiny"), CompileOptions(outputs="all"), "both", 0)
    assert set(PRECISIONS.values()) == {Float32, Float16, Int8}
    half = verify(optimize(graph, None, Float16().passes())[0], bound=True)
    assert [output.type for output in half.outputs] == [output.type for output in graph.outputs]
    assert half.inputs == graph.inputs


@pytest.mark.parametrize("target", [None, *LISTS])
@pytest.mark.parametrize("outputs", ["all", None])
def test_float16_inputs_and_outputs(target: Any, outputs: Any) -> None:
    """The same as with float32 ones that are rounded outside of the graph."""
    graph, x = calibrated(load_spec("tiny"), CompileOptions(outputs=outputs), "both", 0)
    inside = optimize(graph, target, Float16().passes())[0]
    half = verify(optimize(graph, target, Float16(io="float16").passes())[0], bound=True)
    assert {value.type.dtype for value in (*half.inputs, *half.outputs)} == {"float16"}
    for value in half.values():
        if value.node and value.node.operator == "Cast":
            assert value.node.inputs[0]
            assert value.node.inputs[0].type.dtype != value.type.dtype, "a cast that does nothing"
    assert [value.name for value in half.outputs] == [value.name for value in graph.outputs]
    x = x.astype(np.float16).astype(np.float32)
    expected = evaluate(inside, x, rounded=True)
    for name, value in evaluate(half, x, rounded=True).items():
        np.testing.assert_array_equal(value, expected[name].astype(np.float16), err_msg=name)

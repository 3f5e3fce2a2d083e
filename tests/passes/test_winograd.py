"""Minimal filtering: the same convolution in float64, its error in float32, and which convolutions it takes."""

from collections import Counter
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.adversarial import calibrated
from support.contents import arrays_of, single
from support.interpreter import evaluate
from support.models import run
from support.specs import narrowed
from support.tolerances import LAYER, NETWORK, REWRITE, WINOGRAD_GROWTH, relative_error

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, Type, Value, apply, verify
from resnet_compile.passes import PassResult
from resnet_compile.passes.minimal_filtering import Axis, filtering
from resnet_compile.passes.winograd import winograd
from resnet_compile.precision import Float32

# The package's attribute of that name is the pass.
MODULE: Any = import_module("resnet_compile.passes.winograd")
FORMS = (2, 3, 4)
PADS = st.tuples(*[st.integers(0, 3)] * 4)
ON_CPU = {"target": "cpu", "batch": 1}


def everywhere(graph: Graph, made: int) -> PassResult:
    """Every convolution that the pass can take, by tiles of one size, whatever it costs; the cache has no bound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "_CACHE", float("inf"))
        return winograd(graph, tiles=(made,), most=float("inf"))


def convolution(rng: np.random.Generator, shape: tuple[int, ...], made: int, biased: bool, **attributes: Any) -> Graph:
    """A convolution of 3x3 of an input of a shape."""
    x = Value("x", Type("float32", shape))
    parameters = [single("weights", rng.standard_normal((made, shape[1], 3, 3)))]
    if biased:
        parameters.append(single("biases", rng.standard_normal(made)))
    return Graph("g", (x,), (apply("Conv", x, *parameters, name="y", kernel_shape=(3, 3), **attributes),))


@pytest.mark.parametrize("made", FORMS)
def test_the_matrices_make_a_filter(made: int) -> None:
    form = filtering(made)
    rng = np.random.default_rng(made)
    taps, read = rng.standard_normal(3), rng.standard_normal(made + 2)
    expected = np.correlate(read, taps)
    assert relative_error(form.outputs @ ((form.taps @ taps) * (form.inputs @ read)), expected) <= REWRITE


@pytest.mark.parametrize("made", FORMS)
def test_the_growth_of_errors_is_that_of_the_tolerances(made: int) -> None:
    form = filtering(made)
    sizes = np.square(form.taps).sum(1) * np.square(form.inputs).sum(1)
    growth = np.mean(np.square(form.outputs) @ sizes) / 3
    assert growth == pytest.approx(WINOGRAD_GROWTH[made], rel=0.01)


@pytest.mark.parametrize("made", FORMS)
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(3, 19), columns=st.integers(3, 19), pads=PADS, images=st.integers(1, 3), seed=st.integers(0, 99)
)
@pytest.mark.parametrize("same", [False, True])
def test_every_map_and_padding(
    made: int, rows: int, columns: int, pads: tuple[int, ...], images: int, seed: int, same: bool
) -> None:
    rng = np.random.default_rng(seed)
    padding: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if same else {"pads": pads}
    graph = convolution(rng, (images, 5, rows, columns), 4, bool(seed % 2), **padding)
    result = everywhere(graph, made)
    assert result.done == 1
    verify(result.graph, bound=True)
    assert result.graph.outputs[0].type == graph.outputs[0].type
    x = rng.standard_normal((images, 5, rows, columns), np.float32)
    (expected,) = evaluate(graph, x, rounded=False).values()
    (exactly,) = evaluate(result.graph, x, rounded=False).values()
    (rounded,) = evaluate(result.graph, x, rounded=True).values()
    assert relative_error(exactly, expected) <= REWRITE
    assert relative_error(rounded, expected) <= WINOGRAD_GROWTH[made] * LAYER


@pytest.mark.parametrize("made", FORMS)
@pytest.mark.parametrize("name", ["resnet50", "cifar_resnet20", "torchvision_resnet18"])
def test_networks_by_the_interpreter_and_by_onnxruntime(made: int, name: str) -> None:
    """Activations before and behind sums, end points that are read on, and networks that have other 3x3 layers too."""
    spec = narrowed(load_spec(name))
    options = CompileOptions(outputs="all", size=(36, 28), batch=2)
    graph, x = calibrated(spec, options, "both", 1)
    model = compile(spec, options.replace(target="cpu"), weights=arrays_of(graph))
    result = everywhere(model.graph, made)
    assert result.done >= 2
    assert len(result.told) == result.done
    expected, exactly = (evaluate(each, x, rounded=False) for each in (graph, result.graph))
    actual = run(replace(model, graph=verify(result.graph, bound=True)).to_proto(), x)
    assert list(actual) == list(expected)
    for output, value in expected.items():
        assert relative_error(exactly[output], value) <= REWRITE, output
        assert relative_error(actual[output], value) <= WINOGRAD_GROWTH[made] * NETWORK, output


def test_an_activation_that_alone_reads_it_comes_before_the_tiles_are_placed() -> None:
    graph = convolution(np.random.default_rng(0), (1, 4, 7, 9), 4, True, pads=(1, 1, 1, 1))
    (y,) = graph.outputs
    alone = Graph("g", graph.inputs, (apply("LeakyRelu", y, name="activated", alpha=0.1),))
    x = np.random.default_rng(1).standard_normal((1, 4, 7, 9)).astype(np.float32)
    for each, last in ((alone, "Transpose"), (Graph("g", graph.inputs, (y, *alone.outputs)), "LeakyRelu")):
        rewritten = everywhere(each, 4).graph
        assert rewritten.outputs[-1].maker.operator == last
        assert Counter(node.operator for node, _ in rewritten.nodes())["Conv"] == 1
        expected, actual = (evaluate(graph, x, rounded=False) for graph in (each, rewritten))
        for name, value in expected.items():
            assert relative_error(actual[name], value) <= REWRITE


@pytest.mark.parametrize(
    ("shape", "attributes", "reason"),
    [
        ((1, 8, 9, 9), {"strides": (2, 2)}, "its stride or rate is not 1"),
        ((1, 8, 9, 9), {"dilations": (2, 2)}, "its stride or rate is not 1"),
        (("batch", 8, 9, 9), {}, "its batch, rows or columns are dynamic"),
        ((1, 8, None, 9), {}, "its batch, rows or columns are dynamic"),
        ((1, 8, 9, 9), {}, "F(4x4, 3x3) would win too little: estimated 3 million multiply-adds, direct 0"),
        ((1, 512, 56, 56), {"pads": (1, 1, 1, 1)}, "its tiles would not stay in a core's cache"),
    ],
)
def test_what_is_refused_and_why(shape: tuple[Any, ...], attributes: dict[str, Any], reason: str) -> None:
    graph = convolution(np.random.default_rng(0), shape, shape[1], False, **attributes)
    result = winograd(graph)
    assert (result.done, result.refused, result.told) == (0, (f"y: {reason}",), ())
    assert list(result.graph.values()) == list(graph.values())


def test_what_is_chosen_is_told() -> None:
    model = compile("resnet50", CompileOptions(**ON_CPU, dtype=Float32(winograd=True)))
    (applied,) = (each for each in model.passes if each.name == "winograd")
    assert applied.done == len(applied.told) == 11
    told = {each.partition(": ")[0]: each.partition(": ")[2] for each in applied.told}
    assert set(told) == {
        f"resnet_v2_50/block{block}/unit_{unit}/bottleneck_v2/conv2/BatchNormalization"
        for block, units in ((2, 3), (3, 5), (4, 3))
        for unit in range(1, units + 1)
    }
    assert all(" million multiply-adds, direct " in reason for reason in told.values())


def test_tiles_at_the_border_read_no_further_than_the_map() -> None:
    axis, form = Axis(read=3, before=2, made=8), filtering(3)
    assert axis.spread(form).shape == (3 * 5, 3)
    assert not axis.spread(form)[10:].any(), "the last tile lies wholly in the padding"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"batch": 1}, "must be cpu with winograd, got none @ $.target"),
        ({"batch": 1, "target": "portable"}, "must be cpu with winograd, got portable @ $.target"),
        ({"target": "cpu"}, "must be a number with winograd, got dynamic @ $.batch"),
        ({"target": "cpu", "batch": 1, "size": "dynamic"}, "must be fixed with winograd, got dynamic @ $.size"),
    ],
)
def test_what_it_wants(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionError) as error:
        CompileOptions(**options, dtype=Float32(winograd=True))
    assert fault in str(error.value)

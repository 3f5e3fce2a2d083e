"""Streams of one range a channel: nothing changes in float, no node more, and 8 bits say more."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from support.adversarial import calibrated
from support.contents import arrays_of, single
from support.interpreter import evaluate
from support.models import run
from support.specs import families, narrowed
from support.tolerances import ILL_CONDITIONED, REWRITE, relative_error

from resnet_compile import CompileOptions, Int8, NetworkSpec, compile, load_spec
from resnet_compile.graph import Graph, Type, Value, apply, verify
from resnet_compile.passes import optimize
from resnet_compile.quantize import quantize
from resnet_compile.quantize.calibration import Observed, observe
from resnet_compile.quantize.equalization import equalize
from resnet_compile.quantize.images import CalibrationImages
from resnet_compile.quantize.placement import place


def prepared(spec: NetworkSpec, seed: int = 0) -> tuple[Graph, CalibrationImages, Mapping[str, Observed]]:
    graph, x = calibrated(spec, CompileOptions(), "both", seed)
    graph, _ = optimize(graph, None, Int8().passes())
    images, placement = CalibrationImages("images", x), place(graph, ())
    return graph, images, observe(graph, tuple(placement.sources.values()), placement.convolved, images)


def nodes(graph: Graph) -> Counter[str]:
    return Counter(node.operator for node, _ in graph.nodes())


def values_of(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every value that a node reads, by the interpreter."""
    made: dict[str, np.ndarray] = {}

    def keep(value: Value, inputs: list[Any]) -> None:
        assert value.node is not None
        made.update({source.name: read for source, read in zip(value.node.inputs, inputs, strict=True) if source})

    evaluate(graph, x, rounded=False, observe=keep)
    return made


@pytest.mark.parametrize("name", ["resnet50", "torchvision_resnet18"])
def test_what_is_observed_is_what_the_interpreter_makes(name: str) -> None:
    graph, images, observed = prepared(narrowed(load_spec(name)))
    values = values_of(graph, images.values)
    told = 0
    for each, seen in observed.items():
        if each not in values or values[each].ndim != 4:
            continue
        told += seen.mean is not None
        array = values[each].transpose(1, 0, 2, 3).reshape(values[each].shape[1], -1)
        bound = ILL_CONDITIONED * np.abs(array).max()
        np.testing.assert_allclose(seen.high, array.max(1), rtol=0, atol=bound, err_msg=each)
        # A grid has 0 whatever else it has.
        low, least = np.minimum(seen.low, 0), np.minimum(array.min(1), 0)
        np.testing.assert_allclose(low, least, rtol=0, atol=bound, err_msg=each)
        if seen.mean is not None:
            np.testing.assert_allclose(seen.mean, array.mean(1), rtol=0, atol=bound, err_msg=each)
    assert told > 10


@pytest.mark.parametrize("spec", families(), ids=lambda spec: spec.name)
def test_the_network_is_the_same_in_float(spec: NetworkSpec) -> None:
    graph, images, observed = prepared(spec)
    equal = equalize(graph, observed, ())
    assert nodes(verify(equal.graph, bound=True)) == nodes(graph)
    expected, actual = (evaluate(each, images.values, rounded=False) for each in (graph, equal.graph))
    for name, value in expected.items():
        assert relative_error(actual[name], value) <= REWRITE, name
    if all(block.unit.kind == "bottleneck_v2" for block in spec.blocks):
        assert equal.factors


def test_every_channel_of_a_stream_has_half_of_its_range_or_more() -> None:
    graph, images, observed = prepared(narrowed(load_spec("resnet50")))
    equal = equalize(graph, observed, ())
    now, values = equal.observed(observed), values_of(equal.graph, images.values)
    assert len(equal.factors) > 10
    for name, factor in equal.factors.items():
        assert factor.max() == 1
        assert factor.min() >= 1 / 16
        if name in now and name in values:
            highest = values[name].max((0, 2, 3))
            bound = ILL_CONDITIONED * np.abs(values[name]).max()
            np.testing.assert_allclose(now[name].high, highest, rtol=0, atol=bound)
    # All values that share a factor, at their largest.
    streams = {factor.tobytes(): factor for factor in equal.factors.values()}
    for key, factor in streams.items():
        members = [now[name] for name, each in equal.factors.items() if each.tobytes() == key and name in now]
        span = np.max([np.maximum(each.high, 0) - np.minimum(each.low, 0) for each in members], axis=0)
        np.testing.assert_allclose(span[(factor > 1 / 16) & (factor < 1)], span.max() / 2, rtol=1e-9)
        assert np.all(span[factor == 1] >= span.max() / 2)


def stretched(spec: NetworkSpec, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of the same network, the channels of whose streams have ranges that differ by factors of up to ten."""
    rng, made = np.random.default_rng(0), dict(weights)
    before: np.ndarray | None = None
    for block in spec.blocks:
        here = rng.lognormal(0, 1, block.args[-1].depth)
        units = sum(args.repeat for args in block.args)
        for unit in range(1, units + 1):
            scope = f"{spec.name}/{block.scope}/unit_{unit}/bottleneck_v2"
            for layer in ("conv3", "shortcut"):
                for role in ("weights", "biases"):
                    if (name := f"{scope}/{layer}/{role}") in made:
                        made[name] = made[name] * here.reshape(-1, *[1] * (made[name].ndim - 1))
            if before is not None:
                _moved(made, f"{scope}/preact", before)
            before = here
    assert before is not None
    _moved(made, f"{spec.name}/postnorm", before)
    return {name: array.astype(np.float32) for name, array in made.items()}


def _moved(weights: dict[str, np.ndarray], norm: str, factor: np.ndarray) -> None:
    """Statistics of what is so many times as large."""
    weights[f"{norm}/moving_mean"] = weights[f"{norm}/moving_mean"] * factor
    weights[f"{norm}/moving_variance"] = weights[f"{norm}/moving_variance"] * factor**2


def test_channels_of_many_ranges_lose_less() -> None:
    """The same function with streams of channels that differ costs what it cost, and more where a stream is kept, since
    it is asked for.
    """
    spec = narrowed(load_spec("resnet50"))
    graph, x = calibrated(spec, CompileOptions(), "positive", 0)
    plain = arrays_of(graph)
    blocks = ("block1", "block2", "block3", "block4", "logits")

    def error(weights: dict[str, np.ndarray], outputs: tuple[str, ...]) -> float:
        asked = CompileOptions(dtype="int8", outputs=outputs)
        return quantize(spec, asked, weights=weights, images=x).report.points[-1].error

    usual, kept, equalised = (
        error(plain, ("logits",)),
        error(stretched(spec, plain), blocks),
        error(stretched(spec, plain), ("logits",)),
    )
    assert equalised < 1.2 * usual
    assert kept > 1.5 * equalised


def test_a_block_that_is_asked_for_is_what_it_was() -> None:
    spec = narrowed(load_spec("resnet50"))
    asked = CompileOptions(dtype="int8", outputs=("block1", "logits"))
    x = np.random.default_rng(0).standard_normal((4, 3, spec.input.height, spec.input.width), np.float32)
    made = quantize(spec, asked, images=x)
    actual = run(made.model.to_proto(), x)
    expected = run(compile(spec, asked.replace(dtype="float32")).to_proto(), x)
    block = next(each for each in made.report.points if each.name.endswith("block1"))
    assert relative_error(actual[block.name], expected[block.name]) == pytest.approx(block.error, rel=1e-3)
    layout = quantize(spec, CompileOptions(dtype="int8", layout="nhwc"), images=x.transpose(0, 2, 3, 1)).report
    for here, there in zip(
        layout.points, quantize(spec, CompileOptions(dtype="int8"), images=x).report.points, strict=True
    ):
        assert here.error == pytest.approx(there.error, rel=0.02), here.name


def stream(reader: str) -> Graph:
    """A sum of two convolutions, with a reader."""
    x = Value("x", Type("float32", ("batch", 4, 5, 5)))
    rng = np.random.default_rng(0)

    def conv(name: str, source: Value, **attributes: Any) -> Value:
        group = attributes.get("group", 1)
        weights = single(f"{name}/weights", rng.standard_normal((4, 4 // group, 1, 1)))
        return apply("Conv", source, weights, name=name, kernel_shape=(1, 1), **attributes)

    total = apply("Add", conv("a", x), x if reader == "input" else conv("b", x), name="total")
    made = conv("norm", total, group=4)
    match reader:
        case "relu":
            made = apply("Add", made, apply("Relu", total, name="relu"), name="y")
        case "conv":
            made = apply("Add", made, conv("c", total), name="y")
        case "output":
            return Graph("g", (x,), (total, made))
    return Graph("g", (x,), (made,))


@pytest.mark.parametrize(
    ("reader", "refused"),
    [
        ("norm", []),
        ("relu", ["total: relu, a Relu, reads it"]),
        ("conv", ["total: c, a Conv, reads it"]),
        ("input", ["total: total reads another map"]),
        ("output", ["total: total is a requested output"]),
    ],
)
def test_what_stays_and_why(reader: str, refused: list[str]) -> None:
    graph = stream(reader)
    images = CalibrationImages("images", np.random.default_rng(1).standard_normal((3, 4, 5, 5)).astype(np.float32))
    placement = place(graph, ())
    equal = equalize(graph, observe(graph, tuple(placement.sources.values()), (), images), ())
    assert [each for each in equal.refused if each.startswith("total:")] == refused
    assert bool(equal.factors) is (not refused)
    assert equal.done == 1 - len(refused) if reader not in ("relu", "conv") else equal.done == 0

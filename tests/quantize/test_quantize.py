"""Quantised networks: their numbers against numpy's, where they compute in integers, how far they are off."""

import hashlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from packaging.version import Version
from support.contents import arrays_of
from support.interpreter import evaluate
from support.models import run
from support.specs import families, parsed, tiny_document
from support.tolerances import CALIBRATED, INT8, INTEGERS, relative_error

from resnet_compile import CompileOptions, Int8, NetworkSpec, compile, load_spec
from resnet_compile.errors import OptionError, WeightsError
from resnet_compile.graph import Graph, Value, verify
from resnet_compile.passes import optimize
from resnet_compile.quantize import QuantizedModel, quantize
from resnet_compile.quantize.calibration import observe
from resnet_compile.quantize.equalization import equalize
from resnet_compile.quantize.images import CalibrationImages
from resnet_compile.quantize.placement import place

INT8_OPTIONS = CompileOptions(dtype="int8")
# What onnxruntime makes of a network whose layers are all in integers, its float logits and what belongs to them.
INTEGER_OPERATORS = {
    "NhwcMaxPool",
    "MaxPool",
    "Pad",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "Transpose",
}
HEAD_OPERATORS = {"Conv", "DequantizeLinear", "Flatten", "Gemm", "QuantizeLinear", "Softmax"} | {
    "ReorderInput",
    "ReorderOutput",
}


def arrays(spec: NetworkSpec, count: int, seed: int) -> np.ndarray:
    shape = (count, spec.input.channels, spec.input.height, spec.input.width)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@cache
def tiny() -> QuantizedModel:
    return quantize(load_spec("tiny"), INT8_OPTIONS, images=arrays(load_spec("tiny"), 6, 1))


@cache
def prepared() -> Graph:
    """The float network that tiny's integers stand for."""
    graph = optimize(compile(load_spec("tiny")).graph, None, Int8().passes())[0]
    placement = place(graph, {"tiny/logits"})
    images = CalibrationImages("images", arrays(load_spec("tiny"), 6, 1))
    seen = observe(graph, tuple(placement.sources.values()), placement.convolved, images)
    return equalize(graph, seen, ()).graph


def observed() -> Mapping[str, tuple[np.ndarray, list[np.ndarray]]]:
    """Every value of the prepared network on tiny's images, with what its node reads, by the interpreter."""
    seen: dict[str, list[Any]] = {}
    made: dict[str, np.ndarray] = {"input": arrays(load_spec("tiny"), 6, 1).astype(np.float64)}

    def observe(value: Value, inputs: list[Any]) -> None:
        seen[value.name] = inputs
        assert value.node is not None
        for source, array in zip(value.node.inputs, inputs, strict=True):
            if source:
                made[source.name] = array

    evaluate(prepared(), arrays(load_spec("tiny"), 6, 1), rounded=False, observe=observe)
    return {name: (made[name], seen.get(name, [])) for name in made}


def optimized_operators(model: QuantizedModel, tmp_path: Path) -> Counter[str]:
    """How many nodes of each operator onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    proto = model.model.to_proto().SerializeToString()
    onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)


def test_the_grids_are_those_of_the_least_and_the_greatest_value() -> None:
    graph, values = arrays_of(tiny().model.graph), observed()
    ends = [name.removesuffix("/quantized/scale") for name in graph if name.endswith("/quantized/scale")]
    activations = [name for name in ends if f"{name}/quantized" not in graph]
    assert len(activations) > 15
    for name in activations:
        low, high = min(0.0, float(values[name][0].min())), max(0.0, float(values[name][0].max()))
        scale = float(graph[f"{name}/quantized/scale"])
        assert abs(scale - (high - low) / 255) <= CALIBRATED * scale, name
        assert abs(int(graph[f"{name}/quantized/zero_point"]) - -low / scale) <= 0.5 + 1e-3, name


def test_weights_are_the_nearest_integers_with_a_scale_for_each_output_channel() -> None:
    graph = arrays_of(tiny().model.graph)
    convolutions = [name for name in graph if "/weights/folded" in name and name.endswith("d/quantized")]
    assert len(convolutions) > 5
    for name in convolutions:
        weights = arrays_of(prepared())[name.removesuffix("/quantized")].astype(np.float64)
        scales, integers = graph[f"{name}/scale"], graph[name]
        for channel, kernel in enumerate(weights):
            np.testing.assert_allclose(scales[channel], np.abs(kernel).max() / 127, rtol=1e-6)
            assert np.abs(integers[channel] * float(scales[channel]) - kernel).max() <= 0.5001 * scales[channel]
            assert np.abs(integers[channel]).max() == 127
        assert not graph[f"{name}/zero_point"].any()


def test_biases_keep_the_mean_of_every_output_channel() -> None:
    """A 1x1 convolution has no borders, so its mean is that of the inputs by its weights: rounding must not move it."""
    graph, values = arrays_of(tiny().model.graph), observed()
    seen = 0
    for value in prepared().values():
        node = value.node
        if node is None or node.operator != "Conv" or node.attributes["kernel_shape"] != (1, 1):
            continue
        x, weights, biases = (*node.inputs, None)[:3]
        if f"{weights.name}/quantized" not in graph or node.attributes.get("strides", (1, 1)) != (1, 1):
            continue
        stem = biases.name if biases else f"{weights.name}/biases"
        rounded = graph[f"{weights.name}/quantized"] * graph[f"{weights.name}/quantized/scale"].astype(
            np.float64
        ).reshape(-1, 1, 1, 1)
        steps = graph[f"{stem}/quantized/scale"].astype(np.float64)
        shift = graph[f"{stem}/quantized"] * steps
        read = values[x.name][0].mean(axis=(0, 2, 3))
        depthwise = rounded.shape[1] == 1
        mean = (rounded[:, 0, 0, 0] * read if depthwise else rounded[:, :, 0, 0] @ read) + shift
        expected = values[value.name][0].mean(axis=(0, 2, 3))
        assert np.abs(mean - expected).max() <= steps.max() + CALIBRATED * np.abs(values[value.name][0]).max()
        seen += 1
    assert seen > 8


def test_onnxruntime_computes_what_the_integers_say() -> None:
    x = arrays(load_spec("tiny"), 4, 2)
    for model in (tiny(), quantize(next(spec for spec in families() if spec.name.startswith("cifar")), INT8_OPTIONS)):
        graph = verify(model.model.graph, bound=True)
        images = x[:, :, : graph.inputs[0].shape[2], : graph.inputs[0].shape[3]]
        actual = run(model.model.to_proto(), images)
        for name, expected in evaluate(graph, images, rounded=False).items():
            assert relative_error(actual[name], expected) <= INTEGERS, name


@pytest.mark.parametrize("spec", families(), ids=lambda spec: spec.name)
def test_the_catalogue(spec: NetworkSpec, tmp_path: Path) -> None:
    model = quantize(spec, INT8_OPTIONS)
    onnx.checker.check_model(model.model.to_proto(), full_check=True)
    x = arrays(spec, 8, 3)
    expected = run(compile(spec).to_proto(), x)
    actual = run(model.model.to_proto(), x)
    assert list(actual) == list(expected)
    logits = next(name for name in expected if name.endswith("logits"))
    assert 0 < relative_error(actual[logits], expected[logits]) <= INT8
    counts = optimized_operators(model, tmp_path)
    assert set(counts) <= INTEGER_OPERATORS | HEAD_OPERATORS
    assert counts["Conv"] + counts["Gemm"] == 1
    assert counts["QuantizeLinear"] == counts["DequantizeLinear"] == 1


@pytest.mark.parametrize("opset", range(13, 27))
def test_every_opset(opset: int) -> None:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"onnx {onnx.__version__} knows opsets to {onnx.defs.onnx_opset_version()}")
    options = CompileOptions(dtype="int8", opset=opset)
    proto = quantize(load_spec("tiny"), options, images=arrays(load_spec("tiny"), 6, 1)).model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == opset
    # It knows no opset beyond 23, and of 23 it has not the integers: its rewrites give two nodes one name.
    if opset > 22 and Version(onnxruntime.__version__) < Version("1.24"):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} cannot run integers of opset {opset}")
    x = arrays(load_spec("tiny"), 4, 2)
    for name, values in run(tiny().model.to_proto(), x).items():
        assert relative_error(run(proto, x)[name], values) <= INTEGERS


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": "nhwc", "outputs": "all"},
        {"batch": 3},
        {"size": "dynamic", "target": "cpu"},
        {"size": (40, 48), "target": "portable"},
        {"outputs": ("block1", "block1/unit_1/bottleneck_v2", "block2/unit_1/bottleneck_v2/conv1", "pool1")},
    ],
    ids=str,
)
def test_the_signature_is_that_of_the_float_network(changes: dict[str, Any]) -> None:
    options = CompileOptions(**changes)
    reference = compile(load_spec("tiny"), options)
    model = quantize(load_spec("tiny"), options.replace(dtype="int8")).model
    verify(model.graph, bound=True)
    assert [(each.name, each.type) for each in model.graph.inputs] == [
        (each.name, each.type) for each in reference.graph.inputs
    ]
    assert [(each.name, each.type) for each in model.graph.outputs] == [
        (each.name, each.type) for each in reference.graph.outputs
    ]
    free = {"batch": 2, "height": 36, "width": 44}
    shape = [dim if isinstance(dim, int) else free[dim] for dim in reference.graph.inputs[0].shape]
    x = np.random.default_rng(4).standard_normal(shape, np.float32)
    actual = run(model.to_proto(), x)
    for name, expected in run(reference.to_proto(), x).items():
        assert 0 < relative_error(actual[name], expected) <= INT8, name


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("conv1",), 1),
        (("block1",), 9),
        (("tiny/block2/unit_1", "block1/unit_2/bottleneck_v2/conv2"), 6),
    ],
)
def test_what_is_kept_in_float_has_float_weights(names: tuple[str, ...], kept: int) -> None:
    model = quantize(load_spec("tiny"), CompileOptions(dtype=Int8(keep_float=names))).model
    scopes = [f"tiny/{name.removeprefix('tiny/')}/" for name in names]
    inside = {name for name in float_weights(model.graph) if any(f"{name}/".startswith(scope) for scope in scopes)}
    assert float_weights(model.graph) == inside | {"tiny/logits/Conv"}
    assert len(inside) == kept
    assert model.format.metadata.keep_float == names


def test_unit_10_is_not_in_the_scope_of_unit_1() -> None:
    document = tiny_document()
    document["blocks"][1]["args"][0]["repeat"] = 10
    model = quantize(parsed(document), CompileOptions(dtype=Int8(keep_float=("block2/unit_1",)))).model
    kept = {name.split("/")[2] for name in float_weights(model.graph) if "/block2/" in name}
    assert kept == {"unit_1"}


def float_weights(graph: Graph) -> set[str]:
    """The names of the convolutions that read float32 weights."""
    convolutions = [value for value in graph.values() if value.node and value.node.operator == "Conv"]
    return {value.name for value in convolutions if value.node and value.node.inputs[1] in set(graph.initializers())}


def test_keeping_more_in_float_is_more_exact() -> None:
    errors = [
        quantize(load_spec("tiny"), CompileOptions(dtype=Int8(keep_float=names))).report.points[-1].error
        for names in ((), ("conv1", "block1"), ("conv1", "block1", "block2/unit_1", "postnorm", "pool5"))
    ]
    assert errors == sorted(errors, reverse=True)


def test_what_leaves_the_small_weights_of_a_channel_keeps_its_biases() -> None:
    """Gammas of 1e-30 make constants of a network's activations, which 8-bit weights must not lose."""
    spec = load_spec("tiny")
    weights = {
        parameter.name: np.full(parameter.shape, 1e-30 if parameter.name.endswith("gamma") else 0.5, np.float32)
        for parameter in compile(spec).plan.parameters
    }
    x = arrays(spec, 2, 5)
    expected = run(compile(spec, weights=weights).to_proto(), x)["tiny/logits"]
    actual = run(quantize(spec, INT8_OPTIONS, weights=weights).model.to_proto(), x)["tiny/logits"]
    assert relative_error(actual, expected) <= INT8


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    images = arrays(load_spec("tiny"), 6, 1)
    for name in ("a", "b"):
        quantize(load_spec("tiny"), INT8_OPTIONS, images=images).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_model_says_how_it_was_made() -> None:
    def said(model: QuantizedModel) -> dict[str, str]:
        keys = ("dtype", "calibration_method", "calibration_images", "calibration_data")
        return {key: model.model.format.metadata.facts()[key] for key in keys}

    digest = hashlib.sha256(arrays(load_spec("tiny"), 6, 1).tobytes()).hexdigest()
    common = {"dtype": "int8", "calibration_method": "minmax"}
    assert said(tiny()) == common | {"calibration_images": "6", "calibration_data": f"sha256:{digest}"}
    random = said(quantize(load_spec("tiny"), INT8_OPTIONS))
    assert random == common | {"calibration_images": "32", "calibration_data": "random"}


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    quantize(load_spec("tiny"), INT8_OPTIONS)
    with pytest.raises(WeightsError):
        quantize(load_spec("tiny"), INT8_OPTIONS, weights=exploding())
    assert list(tmp_path.iterdir()) == []


def exploding() -> dict[str, np.ndarray]:
    """Weights that are finite and a network that is not."""
    return {
        parameter.name: np.full(parameter.shape, 1e25, np.float32)
        for parameter in compile(load_spec("tiny")).plan.parameters
    }


def test_a_network_that_overflows_is_refused() -> None:
    with pytest.raises(WeightsError, match="a value that is not finite @ tiny/"):
        quantize(load_spec("tiny"), INT8_OPTIONS, weights=exploding())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float16"}, "dtype must be int8 to quantise, got float16 @ dtype"),
        ({"target": "cuda"}, r"target must be portable, cpu, tensorrt or npu for int8, got cuda @ \$.target"),
        ({"dtype": Int8(keep_float=("blok1",))}, r"no scope 'blok1' @ keep_float \(did you mean block1"),
        (
            {"dtype": Int8(keep_float=("conv1", "block1", "block2", "postnorm", "pool5"))},
            "leaves nothing to compute in integers",
        ),
        ({"dtype": {"kind": "int8", "io": "float16"}}, r"unknown key @ \$.dtype.io"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        quantize(load_spec("tiny"), CompileOptions(**{"dtype": "int8", **changes}))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 32, 31), np.float32), r"must be float32\[N, 3, 32, 32\], got float32\[2, 3, 32, 31\]"),
        (np.zeros((2, 3, 32, 32)), "got float64"),
        (np.zeros((0, 3, 32, 32), np.float32), r"got float32\[0, "),
        (np.full((2, 3, 32, 32), np.nan, np.float32), "not finite numbers @ images"),
    ],
)
def test_images_that_do_not_fit(images: np.ndarray, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        quantize(load_spec("tiny"), INT8_OPTIONS, images=images)


def test_compiling_points_to_quantising() -> None:
    with pytest.raises(
        OptionError, match=r"must need no calibration, got int8 @ dtype \(use resnet_compile.quantize.quantize"
    ):
        compile(load_spec("tiny"), INT8_OPTIONS)
    with pytest.raises(OptionError, match=r"unknown key @ \$.dtype.keep_float"):
        CompileOptions(dtype={"kind": "float32", "keep_float": ("conv1",)})


def test_importing_the_room_turns_telemetry_off_and_loads_no_onnxruntime() -> None:
    code = (
        "import os, sys, resnet_compile.quantize; "
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'; assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""What the places ask of a model is in the models for them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.models import run
from support.quantised import Walk
from support.specs import families, parsed, tiny_document
from support.tolerances import SYMMETRIC, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile
from resnet_compile.errors import OptionError
from resnet_compile.graph import OPERATORS
from resnet_compile.passes import TARGETS
from resnet_compile.quantize import quantize
from resnet_compile.targets import TARGET_REQUIREMENTS

WEBGPU = set(json.loads((Path(__file__).parent / "data" / "webgpu_operators.json").read_text())["operators"])
# What onnxruntime makes an initializer of when it loads a model.
FOLDED = {"Constant"}
POOLS = {"AveragePool", "GlobalAveragePool", "MaxPool"}
BY_NAME = {spec.name: spec for spec in families()}


def images(spec: NetworkSpec, count: int, seed: int) -> np.ndarray:
    shape = (count, spec.input.channels, spec.input.height, spec.input.width)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@cache
def quantized(name: str, target: str) -> onnx.ModelProto:
    spec = BY_NAME[name]
    return quantize(spec, CompileOptions(dtype="int8", target=target), images=images(spec, 24, 1)).model.to_proto()


@pytest.mark.parametrize("name", BY_NAME)
def test_tensorrts_integers(name: str) -> None:
    walk = Walk(quantized(name, "tensorrt"))
    for node in walk.of("QuantizeLinear", "DequantizeLinear"):
        scale, zero_point = (walk.held[each] for each in node.input[1:])
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
        assert (scale > 0).all()
    for node in walk.of("Conv"):
        if walk.is_read_back(node.input[1]):
            weights = walk.maker[node.input[1]]
            assert walk.held[weights.input[0]].dtype == np.int8
            assert walk.held[weights.input[1]].shape == walk.held[weights.input[0]].shape[:1]
            assert walk.held[node.input[2]].dtype == np.float32
    assert list(walk.of("Add"))
    for node in walk.of("Add"):
        assert all(map(walk.is_read_back, node.input))
    for node in walk.of(*POOLS):
        assert walk.is_read_back(node.input[0])
        assert {reader.op_type for reader in walk.readers(node.output[0])} <= {"QuantizeLinear"}


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
@pytest.mark.parametrize("name", BY_NAME)
def test_no_float_layer_is_left_but_the_logits(name: str, target: str) -> None:
    floats = Walk(quantized(name, target)).floats()
    assert len(floats) <= 1
    assert all("/logits" in each for each in floats)


@pytest.mark.parametrize("name", BY_NAME)
def test_what_symmetry_costs(name: str) -> None:
    spec = BY_NAME[name]
    x = images(spec, 8, 2)
    expected = run(compile(spec).to_proto(), x)
    costs = {target: run(quantized(name, target), x) for target in ("cpu", "tensorrt")}
    for output in expected.keys() - {"predictions"}:
        had, has = (relative_error(made[output], expected[output]) for made in costs.values())
        assert has <= SYMMETRIC * had, output


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", BY_NAME)
def test_webgpu_has_every_operator(name: str, dtype: Any) -> None:
    model = compile(BY_NAME[name], CompileOptions(target="web", batch=2, dtype=dtype)).to_proto()
    assert {node.op_type for node in model.graph.node} <= WEBGPU | FOLDED
    for value in (*model.graph.input, *model.graph.output):
        assert all(dim.dim_value > 0 for dim in value.type.tensor_type.shape.dim)


def test_what_webgpu_lacks_is_what_its_table_does_not_list() -> None:
    own = {name for name in OPERATORS if ":" not in name}
    assert TARGET_REQUIREMENTS["web"].lacks & own == own - WEBGPU - FOLDED


def test_every_place_has_its_passes() -> None:
    assert set(TARGETS) == set(TARGET_REQUIREMENTS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "web"}, r"batch must be fixed for web, got dynamic"),
        ({"target": "npu", "dtype": "int8"}, r"batch must be fixed for npu, got dynamic"),
        ({"target": "web", "batch": 1, "size": "dynamic"}, r"size must be fixed for web, got dynamic"),
        ({"target": "web", "batch": 1, "preprocess": "model"}, r"image_size must be fixed for web, got dynamic"),
        ({"target": "web", "batch": 1, "dtype": "int8"}, r"target must be portable, cpu, tensorrt or npu for int8"),
        (
            {"target": "web", "batch": 1, "preprocess": "vgg", "image_size": (40, 40)},
            r"web has no kernels for uint8, which 'input' needs @ target \(without a target",
        ),
        ({"target": "web", "batch": 1, "top": 3}, r"web has no kernels for TopK, which 'top_classes' needs @ target"),
    ],
    ids=str,
)
def test_what_a_place_does_not_take_is_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        compile(parsed(tiny_document()), options)

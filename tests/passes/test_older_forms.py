"""A model of an old opset: valid ONNX of that opset, and bit for bit what the model of a newer one computes."""

from typing import Any

import numpy as np
import onnx
import pytest
from support.models import run
from support.specs import families, parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile
from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, Type, Value, apply, latest_form
from resnet_compile.passes import in_older_forms
from resnet_compile.quantize import quantize
from resnet_compile.serialize import OLDEST_OPSET, ModelFormat, to_proto
from resnet_compile.training import StepOptions, compile_step

OLD = range(OLDEST_OPSET, 17)
SHAPES = {"a map": (2, 5, 4, 3), "a row": (2, 5)}


def valid(graph: Graph, opset: int) -> onnx.ModelProto:
    model = to_proto(in_older_forms(graph, opset), ModelFormat(opset))
    assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import)
    onnx.checker.check_model(model, full_check=True)
    return model


def same(graph: Graph, x: np.ndarray, opset: int) -> None:
    expected, actual = (run(valid(graph, each), x) for each in (17, opset))
    for name, values in expected.items():
        assert actual[name].dtype == values.dtype
        np.testing.assert_array_equal(actual[name], values, err_msg=name)


def graph_of(operator: str, shape: tuple[int, ...], *others: Value, **attributes: Any) -> Graph:
    x = Value("x", Type("float32", shape))
    return Graph("one", (x,), (apply(operator, x, *others, name="y", **attributes),))


def integers(*numbers: int) -> Value:
    return apply("Constant", name="integers", value_ints=numbers)


@pytest.mark.parametrize("opset", OLD)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_is_over_one_axis(operator: str, shape: tuple[int, ...], opset: int) -> None:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    for axis in (1, -1):
        same(graph_of(operator, shape, axis=axis), x, opset)


@pytest.mark.parametrize("opset", OLD)
def test_axes_lists_and_parts_of_shapes(opset: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3), np.float32)
    for keep in (0, 1):
        same(graph_of("ReduceSum", x.shape, integers(1, 3), keepdims=keep), x, opset)
    same(graph_of("Reshape", x.shape, integers(2, -1, 3)), x, opset)
    same(graph_of("Pad", x.shape, integers(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect"), x, opset)
    source = Value("x", Type("float32", ("n", 5, 4, "w")))
    for start, end in ((0, 1), (1, 4), (3, 4)):
        same(Graph("one", (source,), (apply("Shape", source, name="y", start=start, end=end),)), x, opset)


@pytest.mark.parametrize("spec", families(), ids=lambda spec: spec.name)
def test_every_network_in_the_oldest_opset(spec: NetworkSpec) -> None:
    models = [compile(spec, CompileOptions(opset=opset, outputs="all")).to_proto() for opset in (OLDEST_OPSET, 17)]
    onnx.checker.check_model(models[0], full_check=True)
    x = np.random.default_rng(0).random((2, spec.input.channels, spec.input.height, spec.input.width), np.float32)
    expected, actual = (run(model, x) for model in reversed(models))
    # Equal to the bit in the newest onnxruntime; the oldest takes some means of the two forms in another order.
    for name, values in expected.items():
        assert relative_error(actual[name], values) <= NETWORK, name


@pytest.mark.parametrize("opset", OLD)
@pytest.mark.parametrize(
    "options",
    [
        {"outputs": "all", "layout": "nhwc", "size": "dynamic"},
        {"target": "cuda", "batch": 3},
        {"dtype": "float16", "top": 3},
        {"preprocess": "inception"},
        {"preprocess": "model"},
        {"preprocess": "mlperf"},
        {"map": True},
    ],
    ids=str,
)
def test_what_stands_around_a_network(options: dict[str, Any], opset: int) -> None:
    document, images = tiny_document(), "preprocess" in options
    # A sum over all but the first axis.
    document["input"]["preprocess"] = {
        "resize": {"kind": "stretch", "filter": "nearest"},
        "values": {"kind": "standardise"},
    }
    if options.pop("map", False):
        document["head"] |= {"global_pool": False, "spatial_squeeze": False}
    spec = parsed(document)
    if options.get("preprocess") == "mlperf" and opset < 12:
        words = r"opset 11 cannot express 'preprocess/.*', a Min of whole numbers @ opset \(opset 12 can\)"
        with pytest.raises(OptionError, match=words):
            compile(spec, CompileOptions(opset=opset, **options))
        return
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (3, 37, 51, 3), np.uint8) if images else generator.random((3, 3, 32, 32), np.float32)
    x = x.transpose(0, 2, 3, 1) if options.get("layout") == "nhwc" else x
    models = [compile(spec, CompileOptions(opset=each, **options)).to_proto() for each in (17, opset)]
    onnx.checker.check_model(models[1], full_check=True)
    expected, actual = (run(model, np.ascontiguousarray(x)) for model in models)
    for name, values in expected.items():
        np.testing.assert_array_equal(actual[name], values, err_msg=name)


def test_what_an_opset_cannot_say_is_one_line() -> None:
    spec = parsed(tiny_document())
    words = r"opset 12 cannot express weights with a scale for each channel @ opset \(opset 13 can\)"
    with pytest.raises(OptionError, match=words):
        quantize(spec, CompileOptions(dtype="int8", opset=12))
    words = r"opset 15 cannot express '.*', a ScatterElements with reduction @ opset \(opset 16 can\)"
    with pytest.raises(OptionError, match=words):
        compile_step(spec, StepOptions(batch=2, opset=15))


def test_the_form_that_came_last_is_told() -> None:
    graph = graph_of("Softmax", (2, 5, 4, 3), axis=1)
    assert latest_form(graph) == (13, "Softmax over an axis before the last", "y")
    assert latest_form(in_older_forms(graph, 12)) == (0, "", "")
    assert in_older_forms(graph, 13).outputs == graph.outputs

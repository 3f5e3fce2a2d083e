"""Graphs of whole networks: shapes that three judges agree on, names, outputs, layouts."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.models import run
from support.specs import networks, parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile, plan_network
from resnet_compile.errors import OptionError
from resnet_compile.graph import listing, verify
from resnet_compile.lower import lower
from resnet_compile.plan.names import resolve_outputs


def dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(["nchw", "nhwc"]), st.integers(1, 2))
def test_planned_shapes_are_inferred_shapes_are_computed_shapes(spec: NetworkSpec, layout: str, batch: int) -> None:
    planned = plan_network(spec)
    model = compile(spec, CompileOptions(outputs="all", layout=layout)).to_proto()
    onnx.checker.check_model(model, full_check=True)

    expected = {point.name: (batch, *point.shape) for point in planned.end_points}
    if planned.head.logits is None:
        output = planned.head.pool.output if planned.head.pool else planned.blocks[-1].output
        expected[planned.features] = (batch, output.channels, output.height, output.width)
    if layout == "nhwc":
        expected = {k: (v[0], *v[2:], v[1]) if len(v) == 4 else v for k, v in expected.items()}

    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert {v.name: dims(v) for v in inferred.graph.output} == {k: ("batch", *v[1:]) for k, v in expected.items()}

    size = (spec.input.height, spec.input.width)
    shape = (batch, spec.input.channels, *size) if layout == "nchw" else (batch, *size, spec.input.channels)
    outputs = run(model, np.zeros(shape, np.float32))
    assert {name: value.shape for name, value in outputs.items()} == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.booleans(), st.sampled_from(["nchw", "nhwc"]))
def test_lowered_graphs_keep_the_rules(data: st.DataObject, dynamic: bool, layout: str) -> None:
    planned = plan_network(data.draw(networks(dynamic=dynamic)))
    verify(lower(planned, outputs=resolve_outputs(planned, "all"), dynamic_size=dynamic, layout=layout))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(dynamic=True), st.integers(1, 30), st.integers(1, 30))
def test_a_model_of_dynamic_size_is_every_size(spec: NetworkSpec, height: int, width: int) -> None:
    dynamic = compile(spec, CompileOptions(outputs="all", size="dynamic")).to_proto()
    fixed = compile(spec, CompileOptions(outputs="all", size=(height, width))).to_proto()
    x = np.random.default_rng(0).standard_normal((1, spec.input.channels, height, width), np.float32)
    expected = run(fixed, x)
    for name, value in run(dynamic, x).items():
        assert relative_error(value, expected[name]) <= NETWORK, name


def test_layouts_compute_the_same() -> None:
    spec = parsed(tiny_document())
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    nchw = run(compile(spec, CompileOptions(outputs="all")).to_proto(), x)
    nhwc = run(compile(spec, CompileOptions(outputs="all", layout="nhwc")).to_proto(), x.transpose(0, 2, 3, 1))
    assert list(nchw) == list(nhwc)
    for name, value in nchw.items():
        expected = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
        assert relative_error(nhwc[name], expected) <= NETWORK, name


def test_what_no_output_reaches_is_not_in_the_graph() -> None:
    model = compile(parsed(tiny_document()), CompileOptions(outputs=("block1",))).to_proto()
    names = {initializer.name for initializer in model.graph.initializer}
    assert "tiny/block1/unit_1/bottleneck_v2/conv1/weights" in names
    assert not any("block2" in name or "logits" in name or "postnorm" in name for name in names)


def test_batch_and_size_can_be_fixed() -> None:
    model = compile(parsed(tiny_document()), CompileOptions(batch=4, size=(40, 48))).to_proto()
    assert dims(model.graph.input[0]) == (4, 3, 40, 48)
    assert {output.name: dims(output) for output in model.graph.output} == {
        "tiny/logits": (4, 10),
        "predictions": (4, 10),
    }
    dynamic = compile(parsed(tiny_document()), CompileOptions(size="dynamic")).to_proto()
    assert dims(dynamic.graph.input[0]) == ("batch", 3, "height", "width")


def test_the_listing_of_one_unit() -> None:
    """The whole lowering of a pre-activation bottleneck that keeps its depth and strides, as text."""
    document = tiny_document()
    document["blocks"] = [
        {
            "scope": "block1",
            "unit": {"kind": "bottleneck_v2"},
            "args": [{"depth": 8, "depth_bottleneck": 4, "stride": 2}],
        }
    ]
    planned = plan_network(parsed(document))
    text = listing(lower(planned, outputs=("tiny/block1",), batch=1))
    unit = "tiny/block1/unit_1/bottleneck_v2"
    lines = [line.replace(unit, "U").split(" = ") for line in text.splitlines() if line.lstrip().startswith(unit)]
    assert [(value.strip(), made) for value, made in lines] == [
        ("U/shortcut: float32[1, 8, 4, 4]", "MaxPool(tiny/pool1) kernel_shape=(1, 1) pads=(0, 0, 0, 0) strides=(2, 2)"),
        (
            "U/preact/BatchNormalization: float32[1, 8, 8, 8]",
            "BatchNormalization(tiny/pool1, U/preact/gamma, U/preact/beta, U/preact/moving_mean, "
            "U/preact/moving_variance) epsilon=1e-05",
        ),
        ("U/preact: float32[1, 8, 8, 8]", "Relu(U/preact/BatchNormalization)"),
        (
            "U/conv1/Conv: float32[1, 4, 8, 8]",
            "Conv(U/preact, U/conv1/weights) dilations=(1, 1) group=1 kernel_shape=(1, 1) pads=(0, 0, 0, 0) "
            "strides=(1, 1)",
        ),
        (
            "U/conv1/BatchNormalization: float32[1, 4, 8, 8]",
            "BatchNormalization(U/conv1/Conv, U/conv1/BatchNorm/gamma, U/conv1/BatchNorm/beta, "
            "U/conv1/BatchNorm/moving_mean, U/conv1/BatchNorm/moving_variance) epsilon=1e-05",
        ),
        ("U/conv1: float32[1, 4, 8, 8]", "Relu(U/conv1/BatchNormalization)"),
        (
            "U/conv2/Conv: float32[1, 4, 4, 4]",
            "Conv(U/conv1, U/conv2/weights) dilations=(1, 1) group=1 kernel_shape=(3, 3) pads=(1, 1, 1, 1) "
            "strides=(2, 2)",
        ),
        (
            "U/conv2/BatchNormalization: float32[1, 4, 4, 4]",
            "BatchNormalization(U/conv2/Conv, U/conv2/BatchNorm/gamma, U/conv2/BatchNorm/beta, "
            "U/conv2/BatchNorm/moving_mean, U/conv2/BatchNorm/moving_variance) epsilon=1e-05",
        ),
        ("U/conv2: float32[1, 4, 4, 4]", "Relu(U/conv2/BatchNormalization)"),
        (
            "U/conv3: float32[1, 8, 4, 4]",
            "Conv(U/conv2, U/conv3/weights, U/conv3/biases) dilations=(1, 1) group=1 kernel_shape=(1, 1) "
            "pads=(0, 0, 0, 0) strides=(1, 1)",
        ),
        ("U: float32[1, 8, 4, 4]", "Add(U/shortcut, U/conv3)"),
    ]


def test_a_network_that_squeezes_without_pooling_has_one_size() -> None:
    document = tiny_document()
    document["input"] = {"height": 8, "width": 8}
    document["head"] = {"num_classes": 10, "global_pool": False, "spatial_squeeze": True}
    with pytest.raises(OptionError, match=r"size must be fixed for .* @ size"):
        compile(parsed(document), CompileOptions(size="dynamic"))


def test_a_network_with_average_pooled_shortcuts_has_one_size() -> None:
    """At 3x3 the convolution would give 2x2 and the pool 1x1, which ONNX's Add would broadcast without a word."""
    document = tiny_document() | {"root": None}
    args = {"depth": 5, "stride": 2}
    document["blocks"] = [{"scope": "block1", "unit": {"kind": "cifar_plain"}, "args": [args]}]
    compile(parsed(document), CompileOptions(size=(16, 16)))
    with pytest.raises(OptionError, match="average-pooled shortcuts @ size"):
        compile(parsed(document), CompileOptions(size="dynamic"))

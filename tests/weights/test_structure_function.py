"""A structure is a function: what computes something else is refused by name, and what computes the same is taken.

The files are exports of the original systems, changed node by node; what a changed file computes is what onnxruntime
makes of it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import test_golden_torch
from onnx import helper, numpy_helper
from support.functions import function
from support.models import run
from support.specs import families, parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile, open_checkpoint, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.recognise import recognise

EXPORTS = Path(__file__).resolve().parents[1] / "data" / "onnx"
BASIC = next(run for run in test_golden_torch.RUNS if run.label == "resnet_basic-0").spec
STRUCTURE = CompileOptions(naming="structure", batch=1)

Change = Callable[[onnx.ModelProto], None]


def basic() -> onnx.ModelProto:
    """timm's BasicBlock network by the tracing exporter: norms folded, names its own."""
    return onnx.load(EXPORTS / "timm_resnet_basic_tracing.onnx")


def nodes(model: onnx.ModelProto, operator: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


def give(node: onnx.NodeProto, **attributes: Any) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items() if value is not None)


def constant(model: onnx.ModelProto, values: Any) -> str:
    name = f"made/{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def replaced(model: onnx.ModelProto, old: onnx.NodeProto, *new: onnx.NodeProto) -> None:
    at = [*model.graph.node].index(old)
    model.graph.node.remove(old)
    for node in reversed(new):
        model.graph.node.insert(at, node)


def before(model: onnx.ModelProto, reader: onnx.NodeProto, operator: str, *more: Any, **attributes: Any) -> None:
    """Puts a node in front of another's first input; `more` are its constant inputs."""
    source = reader.input[0]
    made = f"made/{len(model.graph.node)}"
    inputs = [source, *(constant(model, value) for value in more)]
    node = helper.make_node(operator, inputs, [made], **attributes)
    model.graph.node.insert([*model.graph.node].index(reader), node)
    reader.input[0] = made


def saved(model: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def require_equal(spec: NetworkSpec, model: onnx.ModelProto, tmp_path: Path) -> None:
    """The weights are taken, and give what the file gives."""
    ours = compile(spec, STRUCTURE, weights=saved(model, tmp_path)).to_proto()
    shape = [axis.dim_value for axis in ours.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    theirs = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    (expected,) = run(model, image if theirs == shape else image.transpose(0, 2, 3, 1), exact=True).values()
    actual = [values for values in run(ours, image).values() if values.size == expected.size]
    errors = [relative_error(values.reshape(expected.shape), expected) for values in actual]
    assert min(errors) <= NETWORK


def require_refused(spec: NetworkSpec, model: onnx.ModelProto, tmp_path: Path, *words: str) -> None:
    with pytest.raises(WeightsError) as refused:
        compile(spec, STRUCTURE, weights=saved(model, tmp_path))
    assert len(str(refused.value).splitlines()) == 1
    for word in words:
        assert word in str(refused.value)


def relu_as(operator: str, *more: Any, **attributes: Any) -> Change:
    """Every ReLU as another activation."""

    def change(model: onnx.ModelProto) -> None:
        names = [constant(model, value) for value in more]
        for node in nodes(model, "Relu"):
            node.op_type = operator
            node.input.extend(names)
            give(node, **attributes)

    return change


def at(operator: str, index: int, **attributes: Any) -> Change:
    return lambda model: give(nodes(model, operator)[index], **attributes)


def in_front(operator: str, index: int, foreign: str, *more: Any, **attributes: Any) -> Change:
    return lambda model: before(model, nodes(model, operator)[index], foreign, *more, **attributes)


def both(*changes: Change) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for each in changes:
            each(model)

    return change


SPATIAL = np.array([0, 0, 0, 0, 0, 0, 1, 1])
# What is changed in the exported file, and words of the message: the node, what the file has, what to type.
NEAR_MISSES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "leaky": (relu_as("LeakyRelu", alpha=0.2), ("LeakyRelu '", '{"kind": "leaky_relu", "slope": 0.2}', "net/conv1")),
    "leaky by default": (relu_as("LeakyRelu"), ('"slope": 0.01',)),
    "ReLU6": (relu_as("Clip", np.float32(0), np.float32(6)), ("ReLU6", '{"kind": "relu6"}')),
    "clipped": (relu_as("Clip", np.float32(0), np.float32(5)), ("clip to 0 and 5", "cannot express")),
    "slopes": (relu_as("PRelu", np.full((1, 1, 1), 0.3, np.float32)), ('"slope": 0.3',)),
    "one ReLU": (lambda model: relu_as_one(model, 3), ("LeakyRelu", "the spec has ReLU", "unit_2")),
    "ELU": (relu_as("Elu"), ("Elu '", "the activation ReLU")),
    "no activation": (lambda model: skipped(model, nodes(model, "Relu")[1]), ("block1/unit_1",)),
    "stem's stride": (at("Conv", 0, strides=[1, 1]), ("strides 1x1, the spec 2x2", "conv1")),
    "stride": (at("Conv", 1, strides=[2, 2]), ("strides 2x2, the spec 1x1", "$.blocks[0].args", "block1/unit_1")),
    "uneven stride": (at("Conv", 1, strides=[1, 2]), ("strides 1x2",)),
    "dilation": (at("Conv", 1, dilations=[2, 2], pads=[2] * 4), ("dilations 2x2, the spec 1x1", "$.output_stride")),
    **{
        f"pads {side}": (at("Conv", 2, pads=[1 + (side == place) for place in range(4)]), ("pads", "block1/unit_1"))
        for side in range(4)
    },
    "no padding": (at("Conv", 2, pads=[0] * 4), ("the spec (1, 1, 1, 1)",)),
    "shifted": (at("Conv", 2, pads=[0, 0, 2, 2]), ("(0, 0, 2, 2)",)),
    "VALID": (at("Conv", 2, pads=None, auto_pad="VALID"), ("(0, 0, 0, 0)",)),
    "SAME where it is strided": (
        both(at("Conv", 6, pads=None, auto_pad="SAME_UPPER")),
        ("(0, 0, 1, 1)", '$.blocks[1].unit.padding to "same"'),
    ),
    "Pad before a convolution": (in_front("Conv", 2, "Pad", SPATIAL), ("(1, 1, 2, 2)",)),
    "Pad that mirrors": (
        both(at("Conv", 2, pads=[0] * 4), in_front("Conv", 2, "Pad", np.array([0, 0, 1, 1] * 2), mode="reflect")),
        ("Pad of mode reflect",),
    ),
    "Pad of ones": (
        both(at("Conv", 2, pads=[0] * 4), in_front("Conv", 2, "Pad", np.array([0, 0, 1, 1] * 2), np.float32(1))),
        ("value 1",),
    ),
    "Pad of channels": (
        in_front("MaxPool", 0, "Pad", np.array([0, 1, 0, 0, 0, 0, 0, 0])),
        ("pool1",),
    ),
    "TensorFlow's pool": (
        at("MaxPool", 0, pads=[0, 0, 1, 1]),
        ("(0, 0, 1, 1)", '{"kind": "max", "padding": "same"}'),
    ),
    "TensorFlow's pool behind a Pad": (
        both(at("MaxPool", 0, pads=[0] * 4), in_front("MaxPool", 0, "Pad", SPATIAL)),
        ("(0, 0, 1, 1)", '{"kind": "max", "padding": "same"}'),
    ),
    "Caffe's pool": (at("MaxPool", 0, pads=[0] * 4, ceil_mode=1), ("pool1", '"padding": ')),
    "pool's window": (at("MaxPool", 0, kernel_shape=[2, 2]), ("window of 2x2, the spec 3x3",)),
    "pool's stride": (at("MaxPool", 0, strides=[1, 1]), ("strides 1x1, the spec 2x2",)),
    "pool's dilation": (at("MaxPool", 0, dilations=[2, 2], pads=[1] * 4), ("pool1",)),
    "mean for a pool": (lambda model: retyped(model, "MaxPool", "AveragePool"), ("AveragePool '", "pool1")),
    "foreign node": (in_front("Conv", 3, "Neg"), ("Neg '", "block1/unit_1", "shortcut")),
    "foreign factor": (in_front("Conv", 1, "Mul", np.float32(2)), ("Mul '",)),
    "sigmoid": (in_front("Gemm", 0, "Sigmoid"), ("Sigmoid '", "logits")),
    "whole numbers": (in_front("MaxPool", 0, "Cast", to=onnx.TensorProto.INT32), ("Cast '",)),
    "turned": (in_front("Conv", 2, "Transpose", perm=[0, 1, 3, 2]), ("block1/unit_1",)),
    "product for a sum": (lambda model: retyped(model, "Add", "Mul"), ("Mul '", "a sum with the shortcut")),
    "other sum": (lambda model: shortcut_from(model, 1), ("adds something else", "block1/unit_2")),
    "maximum for a mean": (lambda model: retyped(model, "GlobalAveragePool", "GlobalMaxPool"), ("GlobalMaxPool '",)),
    "turned matrix": (lambda model: give(nodes(model, "Gemm")[0], transA=1), ("Gemm '",)),
    "softmax": (lambda model: ending(model, "Softmax"), ("Softmax '", '$.head.predictions to "softmax"')),
    "logarithm": (lambda model: ending(model, "LogSoftmax"), ("LogSoftmax '",)),
    "another domain": (lambda model: at_domain(model, "com.example"), ("com.example::Relu",)),
}


def relu_as_one(model: onnx.ModelProto, index: int) -> None:
    node = nodes(model, "Relu")[index]
    node.op_type = "LeakyRelu"
    give(node, alpha=0.1)


def skipped(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[index] = node.input[0]
    model.graph.node.remove(node)


def retyped(model: onnx.ModelProto, old: str, new: str) -> None:
    node = nodes(model, old)[0]
    node.op_type = new
    if new == "AveragePool":
        give(node, dilations=None)


def shortcut_from(model: onnx.ModelProto, index: int) -> None:
    """A sum whose shortcut starts before the ReLU."""
    add, relus = nodes(model, "Add")[index], {node.output[0]: node for node in nodes(model, "Relu")}
    side = next(side for side, name in enumerate(add.input) if name in relus)
    add.input[side] = relus[add.input[side]].input[0]


def ending(model: onnx.ModelProto, operator: str) -> None:
    output = model.graph.output[0]
    model.graph.node.append(helper.make_node(operator, [output.name], ["ended"], axis=1))
    output.name = "ended"


def at_domain(model: onnx.ModelProto, domain: str) -> None:
    nodes(model, "Relu")[0].domain = domain


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_is_refused(name: str, tmp_path: Path) -> None:
    change, words = NEAR_MISSES[name]
    model = basic()
    change(model)
    require_refused(BASIC, model, tmp_path, *words)


def as_matmul(model: onnx.ModelProto) -> None:
    (gemm,) = nodes(model, "Gemm")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == gemm.input[1])
    turned = constant(model, numpy_helper.to_array(weights).T.copy())
    product = helper.make_node("MatMul", [gemm.input[0], turned], ["product"])
    replaced(model, gemm, product, helper.make_node("Add", [gemm.input[2], "product"], [gemm.output[0]]))


def as_mean(keepdims: int, axes: list[int]) -> Change:
    def change(model: onnx.ModelProto) -> None:
        (pool,) = nodes(model, "GlobalAveragePool")
        names = [pool.input[0], constant(model, np.array(axes))]
        replaced(model, pool, helper.make_node("ReduceMean", names, [pool.output[0]], keepdims=keepdims))

    return change


def as_large_pool(model: onnx.ModelProto) -> None:
    (pool,) = nodes(model, "GlobalAveragePool")
    pool.op_type = "AveragePool"
    give(pool, kernel_shape=[1, 1])


def from_nhwc(model: onnx.ModelProto) -> None:
    """tf2onnx's form: the image NHWC, padded so, and turned before the first convolution."""
    first, graph_input = nodes(model, "Conv")[0], model.graph.input[0]
    shape = graph_input.type.tensor_type.shape.dim
    for axis, length in enumerate((shape[0].dim_value, shape[2].dim_value, shape[3].dim_value, 3)):
        shape[axis].dim_value = length
    give(first, pads=[0] * 4)
    before(model, first, "Pad", np.array([0, 3, 3, 0, 0, 3, 3, 0]))
    before(model, first, "Transpose", perm=[0, 3, 1, 2])


def with_flatten(*new: tuple[str, Any]) -> Change:
    """The Flatten as other nodes that drop rows and columns."""

    def change(model: onnx.ModelProto) -> None:
        (flatten,) = nodes(model, "Flatten")
        source, made = flatten.input[0], []
        for operator, numbers in new:
            target = flatten.output[0] if (operator, numbers) == new[-1] else f"{source}/{operator}"
            made.append(helper.make_node(operator, [source, constant(model, np.array(numbers))], [target]))
            source = target
        replaced(model, flatten, *made)

    return change


def with_computed_shape(index: int) -> Change:
    """The Flatten as a view whose first side is read off the shape of the stem's map."""

    def change(model: onnx.ModelProto) -> None:
        (flatten,) = nodes(model, "Flatten")
        stem = nodes(model, "Relu")[0].output[0]
        made = [
            helper.make_node("Shape", [stem], ["sides"]),
            helper.make_node("Gather", ["sides", constant(model, np.array(index))], ["side"]),
            helper.make_node("Unsqueeze", ["side", constant(model, np.array([0]))], ["first"]),
            helper.make_node("Concat", ["first", constant(model, np.array([-1]))], ["shape"], axis=0),
            helper.make_node("Reshape", [flatten.input[0], "shape"], [flatten.output[0]]),
        ]
        replaced(model, flatten, *made)

    return change


def with_epsilon(model: onnx.ModelProto) -> None:
    """A norm of another epsilon behind the stem, which had swallowed its own."""
    relu, rng = nodes(model, "Relu")[0], np.random.default_rng(1)
    vectors = [rng.uniform(0.5, 1.5, 64).astype(np.float32) for _ in range(4)]
    before(model, relu, "BatchNormalization", *vectors, epsilon=1e-2)


SAME_FUNCTIONS: dict[str, Change] = {
    "as it is": lambda model: None,
    "SAME_UPPER": at("Conv", 2, pads=None, auto_pad="SAME_UPPER"),
    "SAME_LOWER": at("Conv", 2, pads=None, auto_pad="SAME_LOWER"),
    "Pad": both(at("Conv", 2, pads=[0] * 4), in_front("Conv", 2, "Pad", np.array([0, 0, 1, 1] * 2))),
    "part of a Pad": both(
        at("Conv", 2, pads=[1, 0, 0, 1]), in_front("Conv", 2, "Pad", np.array([0, 0, 0, 1, 0, 0, 1, 0]))
    ),
    "Pad of lowest floats": both(
        at("MaxPool", 0, pads=[0] * 4),
        in_front("MaxPool", 0, "Pad", np.array([0, 0, 1, 1] * 2), np.finfo(np.float32).min),
    ),
    "Pad of zeros behind a ReLU": both(
        at("MaxPool", 0, pads=[0] * 4), in_front("MaxPool", 0, "Pad", np.array([0, 0, 1, 1] * 2))
    ),
    "padding that no window reads": at("MaxPool", 0, pads=[1, 1, 0, 0]),
    "ceil mode where all windows are whole": at("Conv", 0, strides=[2, 2]),
    "Clip without an upper bound": relu_as("Clip", np.float32(0)),
    "Max": relu_as("Max", np.float32(0)),
    "PRelu of zeros": relu_as("PRelu", np.zeros((1, 1, 1), np.float32)),
    "MatMul": as_matmul,
    "scaled Gemm": lambda model: give(nodes(model, "Gemm")[0], alpha=0.5, beta=2.0),
    "ReduceMean": as_mean(1, [2, 3]),
    "ReduceMean of negative axes": as_mean(0, [-1, -2]),
    "large AveragePool": as_large_pool,
    "NHWC": from_nhwc,
    "Reshape": with_flatten(("Reshape", [0, -1])),
    "Reshape of a batch of one": with_flatten(("Reshape", [1, -1])),
    "Reshape to its channels": with_flatten(("Reshape", [-1, 8])),
    "Squeeze": with_flatten(("Squeeze", [3]), ("Squeeze", [-1])),
    "computed shape": with_computed_shape(0),
    "Cast": in_front("MaxPool", 0, "Cast", to=onnx.TensorProto.FLOAT),
    "Identity": in_front("Conv", 4, "Identity"),
    "Dropout": in_front("Gemm", 0, "Dropout"),
    "Transposes": both(
        in_front("Conv", 2, "Transpose", perm=[0, 3, 1, 2]), in_front("Conv", 2, "Transpose", perm=[0, 2, 3, 1])
    ),
    "epsilon": with_epsilon,
}


@pytest.mark.parametrize("name", SAME_FUNCTIONS)
def test_the_same_function_in_another_form_is_taken(name: str, tmp_path: Path) -> None:
    model = basic()
    SAME_FUNCTIONS[name](model)
    require_equal(BASIC, model, tmp_path)


AS_READ = function(plan_network(BASIC), folded=True)


def read(model: onnx.ModelProto, tmp_path: Path) -> NetworkSpec:
    """The spec that is read off a model."""
    with open_checkpoint(saved(model, tmp_path)) as source:
        return recognise(source).spec


# Zeros around a map that a ReLU made never win; a spec says that they are there, as of Keras's pool.
@pytest.mark.parametrize("name", [name for name in SAME_FUNCTIONS if name != "Pad of zeros behind a ReLU"])
def test_the_same_function_in_another_form_is_read_as_the_same(name: str, tmp_path: Path) -> None:
    model = basic()
    SAME_FUNCTIONS[name](model)
    assert function(plan_network(read(model, tmp_path)), folded=True) == AS_READ


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_is_read_as_another_function_or_not_at_all(name: str, tmp_path: Path) -> None:
    model = basic()
    NEAR_MISSES[name][0](model)
    try:
        found = function(plan_network(read(model, tmp_path)), folded=True)
    except WeightsError as error:
        found = str(error).splitlines()
    assert found != AS_READ
    assert len(found) in (1, len(AS_READ))


@pytest.mark.parametrize("epsilon", [1e-3, 1.001e-5])
def test_epsilon_is_read_off_the_norms(epsilon: float, tmp_path: Path) -> None:
    model = onnx.load(EXPORTS / "timm_resnetv2_tracing.onnx")
    for node in nodes(model, "BatchNormalization"):
        give(node, epsilon=epsilon)
    norm = read(model, tmp_path).norm
    assert norm.kind == "batch"
    assert norm.epsilon == epsilon


def test_a_shape_that_is_not_read_off_the_batch_is_refused(tmp_path: Path) -> None:
    model = basic()
    with_computed_shape(1)(model)
    require_refused(BASIC, model, tmp_path, "Reshape '", "reshapes a map")


def test_attributes_that_became_inputs(tmp_path: Path) -> None:
    """ReLU6 and Pad as opset 9 has them; onnxruntime converts nothing, so the file is evaluated as it is."""
    spec = parsed(BASIC.model_dump(mode="json") | {"activation": {"kind": "relu6"}})
    model = basic()
    model.opset_import[0].version = 9
    both(relu_as("Clip", min=0.0, max=6.0), at("Conv", 2, pads=[0] * 4))(model)
    source = nodes(model, "Conv")[2]
    before(model, source, "Pad", pads=[0, 0, 1, 1] * 2)
    give(nodes(model, "MaxPool")[0], ceil_mode=None, dilations=None)
    require_equal(spec, model, tmp_path)
    give(nodes(model, "Pad")[0], pads=[0, 0, 1, 1, 0, 0, 1, 2])
    require_refused(spec, model, tmp_path, "(1, 1, 1, 2)")


@pytest.mark.parametrize("target", [None, "portable", "cpu"])
def test_our_own_graphs_without_metadata_are_taken(target: Any, tmp_path: Path) -> None:
    for spec in families():
        model = compile(spec, CompileOptions(target=target, batch=1)).to_proto()
        del model.metadata_props[:]
        for output in [*model.graph.output][1:]:
            model.graph.output.remove(output)
        require_equal(spec, model, tmp_path)


def own(**changes: Any) -> NetworkSpec:
    document = tiny_document() | changes
    return parsed(document)


def basic_units(**parts: Any) -> dict[str, Any]:
    args = [{"depth": 8, "stride": 1}, {"depth": 12, "stride": 2}]
    return {"blocks": [{"scope": "block1", "unit": {"kind": "torchvision_basic", **parts}, "args": args}]}


SIDE = {"input": {"height": 34, "width": 30, "channels": 3}}


def test_means_that_count_padding_are_refused(tmp_path: Path) -> None:
    spec = own(**basic_units(shortcut={"kind": "pooled_projection"}), **SIDE)
    model = compile(spec, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    (pool,) = nodes(model, "AveragePool")
    require_equal(spec, model, tmp_path)
    give(pool, pads=None, ceil_mode=1)
    require_equal(spec, model, tmp_path)
    give(pool, ceil_mode=1, count_include_pad=1)
    require_refused(spec, model, tmp_path, "AveragePool '", "counts padding", "shortcut/pool")
    give(pool, ceil_mode=0, count_include_pad=0)
    require_refused(spec, model, tmp_path, "shortcut/pool")


def test_zeros_that_win_are_no_padding_that_never_does(tmp_path: Path) -> None:
    """Keras's pool reads a border of zeros where the map has negative values; TF-slim's does not."""
    roots = {
        word: {"kind": "stem", "depth": 8, "norm": False, "pool": {"kind": "max", "padding": word}}
        for word in ("zero", "symmetric")
    }
    zero, symmetric = (own(root=root) for root in roots.values())
    model = compile(zero, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    require_equal(zero, model, tmp_path)
    require_refused(symmetric, model, tmp_path, "pads with 0, the spec with -inf", '"padding": "zero"')
    model = compile(symmetric, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    require_refused(zero, model, tmp_path, "pads with -inf, the spec with 0", '"padding": "symmetric"')
    (pool,) = nodes(model, "MaxPool")[:1]
    give(pool, pads=[0] * 4)
    before(model, pool, "Pad", np.array([0, 0, 1, 1] * 2))
    with pytest.raises(WeightsError, match="pads with 0"):
        compile(symmetric, STRUCTURE, weights=saved(model, tmp_path))
    compile(zero, STRUCTURE, weights=saved(model, tmp_path))


@pytest.mark.parametrize(
    ("starts", "steps", "equal"), [([0, 0], [2, 2], True), ([0, 1], [2, 2], False), ([0, 0], [2, 1], False)]
)
def test_every_second_row_and_column(starts: list[int], steps: list[int], equal: bool, tmp_path: Path) -> None:
    spec = parsed(tiny_document())
    model = compile(spec, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    pool = next(node for node in nodes(model, "MaxPool") if node.attribute[0].ints[0] == 1)
    given = [starts, [2**31, 2**31], [2, 3], steps]
    names = [constant(model, np.array(numbers)) for numbers in given]
    replaced(model, pool, helper.make_node("Slice", [pool.input[0], *names], [pool.output[0]]))
    if equal:
        require_equal(spec, model, tmp_path)
    else:
        require_refused(spec, model, tmp_path, "Slice '", "every 2th")


@pytest.mark.parametrize("kernel", ["filter", "mode", "shift"])
def test_another_blur_is_refused(kernel: str, tmp_path: Path) -> None:
    spec = own(**basic_units(anti_aliasing={"kind": "blur"}))
    model = compile(spec, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    require_equal(spec, model, tmp_path)
    (pad,) = nodes(model, "Pad")
    if kernel == "filter":
        tensor = next(each for each in model.graph.initializer if each.name.endswith("filters"))
        values = numpy_helper.to_array(tensor).copy()
        values[0, 0, 0, 0] += 0.01
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif kernel == "mode":
        give(pad, mode="constant")
    else:
        pad.input[1] = constant(model, np.array([0, 0, 2, 1, 0, 0, 0, 1]))
    require_refused(spec, model, tmp_path, "blur")


@pytest.mark.parametrize("theirs", [(2, 1), (1, 2), (3, 1)])
def test_other_channels_of_zeros_are_refused(theirs: tuple[int, int], tmp_path: Path) -> None:
    spec = own(**basic_units(shortcut={"kind": "padded_subsample"}))
    model = compile(spec, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    require_equal(spec, model, tmp_path)
    (pad,) = nodes(model, "Pad")
    pad.input[1] = constant(model, np.array([0, theirs[0], 0, 0, 0, theirs[1], 0, 0]))
    require_refused(spec, model, tmp_path, "Pad '", "2+2 channels")


@pytest.mark.parametrize("part", [{"kind": "squeeze_excitation", "rounding": 2}, {"kind": "efficient_channel"}, None])
def test_attention_is_compared(part: dict[str, Any] | None, tmp_path: Path) -> None:
    parts = ({"kind": "squeeze_excitation", "rounding": 2}, {"kind": "efficient_channel"}, None)
    model = compile(own(**basic_units(attention=part)), CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    for other in parts:
        spec = own(**basic_units(attention=other))
        if other == part:
            require_equal(spec, model, tmp_path)
        else:
            require_refused(spec, model, tmp_path, "block1/unit_1")
    if part:
        nodes(model, "Sigmoid")[0].op_type = "HardSigmoid"
        require_refused(own(**basic_units(attention=part)), model, tmp_path, "HardSigmoid '", "attention")


@pytest.mark.parametrize(("theirs", "ours"), [(3, 2), (2, 3)])
@pytest.mark.parametrize("num_classes", [5, None])
def test_one_unit_more_or_less_is_refused(theirs: int, ours: int, num_classes: int | None, tmp_path: Path) -> None:
    def spec(units: int) -> NetworkSpec:
        blocks = [{"scope": "block1", "unit": {"kind": "torchvision_basic"}, "args": [{"depth": 8, "repeat": units}]}]
        head = {"num_classes": num_classes, "global_pool": num_classes is not None}
        return own(blocks=blocks, head=head)

    outputs = ("tiny/logits",) if num_classes else ("tiny/block1",)
    model = compile(spec(theirs), CompileOptions(batch=1, outputs=outputs)).to_proto()
    more, fewer = "is another sum of two maps: see $.blocks", "the model ends before it"
    require_refused(spec(ours), model, tmp_path, *(() if num_classes else (more if theirs > ours else fewer,)))


def test_another_sum_and_other_groups_are_told_with_their_field(tmp_path: Path) -> None:
    doubled = basic()
    total = nodes(doubled, "Add")[0]
    total.input[1] = total.input[0]
    require_refused(BASIC, doubled, tmp_path, "see $.blocks[0].unit.shortcut and the depths and strides beside it")
    grouped = basic()
    at("Conv", 1, group=2)(grouped)
    require_refused(BASIC, grouped, tmp_path, "has 2 groups, the spec 1: the spec language cannot express that")
    bottleneck = next(run for run in test_golden_torch.RUNS if run.label == "resnet_bottleneck-0").spec
    grouped = onnx.load(EXPORTS / "timm_resnet_bottleneck_tracing.onnx")
    at("Conv", 2, group=2)(grouped)
    require_refused(bottleneck, grouped, tmp_path, "set $.blocks[0].unit.groups to 2")


def test_a_network_of_another_size_is_compared_at_its_own(tmp_path: Path) -> None:
    """TensorFlow's SAME pads the planned map and the file's differently, and by one rule."""
    odd, even = (own(input={"height": side, "width": side, "channels": 3}) for side in (33, 32))
    model = compile(odd, CompileOptions(batch=1, outputs=("tiny/logits",))).to_proto()
    for spec in (odd, even):
        again = compile(spec, STRUCTURE, weights=saved(model, tmp_path)).to_proto()
        assert list(again.graph.initializer) == list(compile(spec).to_proto().graph.initializer)


def test_names_do_not_tell_the_function(tmp_path: Path) -> None:
    """Weights that fit by name are not taken from a graph that computes something else, unless names are asked for."""
    spec, leaky = own(), own(activation={"kind": "leaky_relu", "slope": 0.2})
    compile(leaky).save(tmp_path / "theirs.onnx")
    said = r"leaky ReLU of slope 0\.2, the spec has ReLU.*; or --naming native to take the weights alone\)"
    with pytest.raises(WeightsError, match=said):
        compile(spec, weights=tmp_path / "theirs.onnx")
    taken = compile(spec, CompileOptions(naming="native"), weights=tmp_path / "theirs.onnx")
    assert list(taken.to_proto().graph.initializer) == list(compile(spec).to_proto().graph.initializer)

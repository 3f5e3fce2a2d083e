"""Networks read off ONNX graphs: our own without their metadata, other exporters', and what no spec is as."""

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import test_golden_keras
import test_golden_torch
from hypothesis import Phase, given, settings
from onnx import helper
from support.contents import arrays_of
from support.functions import function
from support.models import run
from support.slim import slim_cases
from support.specs import families, narrowed, networks
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile, load_spec, open_checkpoint, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.proof import compare_source
from resnet_compile.recognise import Recognised, recognise
from resnet_compile.spec import Input, build_spec, torchvision_bottleneck_block
from resnet_compile.verify import require_agreement
from resnet_compile.weights.structure import structure_of

EXPORTS = Path(__file__).resolve().parents[1] / "data" / "onnx"
TORCH = ("resnet_basic", "resnet_bottleneck", "resnext", "resnetv2")


def stripped(spec: NetworkSpec, options: CompileOptions | None = None) -> onnx.ModelProto:
    """A compiled network that does not say what it is."""
    model = compile(spec, options).to_proto()
    del model.metadata_props[:]
    return model


def read(model: onnx.ModelProto | Path, tmp_path: Path) -> Recognised:
    path = model if isinstance(model, Path) else tmp_path / "theirs.onnx"
    if not isinstance(model, Path):
        path.write_bytes(model.SerializeToString())
    with open_checkpoint(path) as source:
        return recognise(source)


@pytest.mark.parametrize("target", [None, "portable", "cpu"])
def test_every_family_comes_back_from_its_graph(target: str | None, tmp_path: Path) -> None:
    for spec in families():
        found = read(stripped(spec, CompileOptions(target=target)), tmp_path)
        folded = target is not None
        assert function(plan_network(found.spec), folded=folded) == function(plan_network(spec), folded=folded)
        assert folded or found.spec.norm.kind == spec.norm.kind
        assert found.assumed == ()
        assert found.told.startswith("read off the graph: ")


@pytest.mark.parametrize("name", ["resnet50", "keras_resnet50", "timm_seresnet50", "cifar_resnet20"])
def test_a_network_of_the_catalogue_is_known(name: str, tmp_path: Path) -> None:
    spec = load_spec(name)
    found = read(stripped(spec, CompileOptions(target="cpu")), tmp_path)
    assert found.spec == spec.replace(input=spec.input.replace(preprocess=None))
    assert found.told.startswith(f"read off the graph: {spec.name}, ")


@settings(max_examples=15, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(spec=networks())
def test_any_network_comes_back_from_its_graph(spec: NetworkSpec, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A norm without a scale comes back with one of ones."""
    if spec.norm.kind == "batch":
        spec = spec.replace(norm=spec.norm.replace(scale=True))
    found = read(stripped(spec), tmp_path_factory.mktemp("any"))
    assert function(plan_network(found.spec), rules=False) == function(plan_network(spec), rules=False)


def test_of_units_that_compute_the_same_those_without_more_parameters_are_taken(tmp_path: Path) -> None:
    """The CIFAR system's leaky units with biases of zeros would do for these too."""
    args = [{"depth": 4, "depth_bottleneck": 2, "stride": 1}]
    document = {
        "name": "net",
        "input": {"height": 8, "width": 8},
        "root": {"kind": "stem", "stem": {"kind": "3x3"}, "depth": 6, "norm": False},
        "blocks": [{"scope": "block1", "unit": {"kind": "bottleneck_v2"}, "args": args}],
        "activation": {"kind": "leaky_relu", "slope": 0.2},
        "head": {"num_classes": 3},
    }
    found = read(stripped(spec := build_spec(document)), tmp_path)
    assert function(plan_network(found.spec)) == function(plan_network(spec))


@pytest.mark.parametrize("exporter", ["tracing", "dynamo"])
@pytest.mark.parametrize("name", TORCH)
def test_exports_of_pytorch_come_back(name: str, exporter: str, tmp_path: Path) -> None:
    golden = next(run for run in test_golden_torch.RUNS if run.label == f"{name}-0")
    path = EXPORTS / f"timm_{name}_{exporter}.onnx"
    found = read(path, tmp_path)
    normed = any(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)
    size = {"height": golden.x.shape[2], "width": golden.x.shape[3]}
    spec = golden.spec.replace(input=golden.spec.input.replace(**size))
    assert function(plan_network(found.spec), folded=True) == function(plan_network(spec), folded=True)
    assert not normed or found.spec.norm.epsilon == spec.norm.epsilon  # type: ignore[union-attr]  # both are batch norms
    actual = run(compile(path, CompileOptions(batch=len(golden.x))).to_proto(), golden.x)
    (expected,) = run(str(path), golden.x, exact=True).values()
    assert relative_error(next(iter(actual.values())), expected) <= NETWORK


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_exports_of_tf2onnx_come_back(version: str, tmp_path: Path) -> None:
    case = next(case for case in slim_cases(version) if case.label == f"slim_{version}_root-0")
    found = read(EXPORTS / f"slim_{version}_tf2onnx.onnx", tmp_path)
    size = {"height": case.x.shape[1], "width": case.x.shape[2]}
    spec = case.spec.replace(input=case.spec.input.replace(**size))
    ours, theirs = (function(plan_network(each), folded=True) for each in (found.spec, spec))
    assert ours[:2] == theirs[:2]


@pytest.mark.parametrize("version", ["", "v2"])
def test_exports_of_keras_come_back(version: str, tmp_path: Path) -> None:
    """That of version 1 takes photographs, and prepares them by Keras's own function."""
    golden = next(run for run in test_golden_keras.RUNS if run.label == f"keras{version}-0")
    path = EXPORTS / f"keras_resnet{version}_tf2onnx.onnx"
    found = read(path, tmp_path)
    assert found.spec.input.preprocess == (None if version else "caffe")
    assert found.spec.head.predictions == "softmax"
    assert function(plan_network(found.spec), folded=True) == function(plan_network(golden.spec), folded=True)
    actual = run(compile(path).to_proto(), golden.x)
    assert relative_error(actual["network/logits"], golden.expected["net/logits"]) <= NETWORK


@pytest.mark.parametrize("exporter", ["tracing", "dynamo"])
def test_exports_of_torchvision_come_back(exporter: str, tmp_path: Path) -> None:
    found = read(path := EXPORTS / f"torchvision_bottleneck_{exporter}.onnx", tmp_path)
    published = load_spec("torchvision_resnet50")
    widths = enumerate(((4, 1, 1), (4, 2, 2), (6, 1, 2), (8, 1, 2)), 1)
    spec = published.replace(
        input=Input(height=64, width=56),
        root=published.root.replace(depth=8),  # type: ignore[union-attr]  # it has a root
        blocks=tuple(torchvision_bottleneck_block(f"block{at}", *each) for at, each in widths),
        head=published.head.replace(num_classes=10),
    )
    assert found.spec.input.preprocess == "torchvision"
    assert function(plan_network(found.spec), folded=True) == function(plan_network(spec), folded=True)
    require_agreement(compare_source(found.spec, path))


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"


@pytest.mark.skipif(not LIGHT.exists(), reason="this onnx comes without its test data")
def test_the_resnet_of_the_onnx_package_is_read(tmp_path: Path) -> None:
    """Caffe2's, opset 9: weights by ConstantOfShape, initializers among the inputs, and no epsilon quite 1e-5."""
    found = read(LIGHT, tmp_path)
    assert found.spec.name == "torchvision_resnet50"
    assert (found.spec.head.predictions, found.assumed) == ("softmax", ())
    with open_checkpoint(LIGHT) as source:
        model = compile(found.spec, weights=source)
        weights = arrays_of(model.graph)
    named = [p.name for p in model.plan.parameters if p.role == "weights"]
    assert {round(float(each), 6) for name in named for each in np.unique(weights[name])} == {0.02}


def rewritten(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A model as exporters write it for an opset: inputs as the attributes that they were, initializers as inputs."""
    model.opset_import[0].version = opset
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type == "Clip" and opset < 11:
            low, high = (float(onnx.numpy_helper.to_array(held[name])) for name in node.input[1:])
            del node.input[1:]
            node.attribute.extend([helper.make_attribute("min", low), helper.make_attribute("max", high)])
        if node.op_type == "Pad" and opset < 11:
            pads = constants[node.input[1]].attribute[0].ints
            del node.input[1:]
            node.attribute.append(helper.make_attribute("pads", pads))
        if node.op_type == "GlobalAveragePool" and opset >= 18:
            node.op_type = "ReduceMean"
            node.input.append("spatial")
        if node.op_type == "BatchNormalization" and opset < 9:
            node.attribute.append(helper.make_attribute("spatial", 1))
    if opset >= 18:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "spatial"))
    if opset < 9:
        for tensor in model.graph.initializer:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.input.append(value)
    return model


def test_a_norm_that_is_written_as_a_product_and_a_sum_comes_back(tmp_path: Path) -> None:
    """As Keras's exporter writes those that stand before convolutions."""
    spec, plain = narrowed(load_spec("keras_resnet50v2")), CompileOptions(batch=2)
    model = compile(spec, plain).to_proto()
    expected = run(model, image := np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32))
    del model.metadata_props[:]
    held = {each.name: onnx.numpy_helper.to_array(each).astype(np.float64) for each in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "BatchNormalization"]:
        gamma, beta, mean, variance = (held[name] for name in node.input[1:])
        scale = gamma / np.sqrt(variance + onnx.helper.get_node_attr_value(node, "epsilon"))
        parts = [each.reshape(1, -1, 1, 1).astype(np.float32) for each in (scale, beta - mean * scale)]
        names = [f"{node.output[0]}/{number}" for number in range(3)]
        model.graph.initializer.extend(map(onnx.numpy_helper.from_array, parts, names))
        product = helper.make_node("Mul", [names[0], node.input[0]], [names[2]])
        at = [*model.graph.node].index(node)
        model.graph.node.remove(node)
        model.graph.node.insert(at, helper.make_node("Add", [names[2], names[1]], [node.output[0]]))
        model.graph.node.insert(at, product)
    found = read(model, tmp_path)
    assert function(plan_network(found.spec), folded=True)[0] == function(plan_network(spec), folded=True)[0]
    again = run(compile(tmp_path / "theirs.onnx", plain).to_proto(), image)
    for ours, theirs in zip(again.values(), expected.values(), strict=True):
        assert relative_error(ours, theirs) <= NETWORK


@pytest.mark.parametrize("opset", [7, 9, 12, 18, 26])
def test_opsets_are_read_in_their_own_forms(opset: int, tmp_path: Path) -> None:
    """Made by hand: what exporters wrote for these opsets cannot be run here."""
    document = narrowed(load_spec("akamaster_resnet20")).model_dump(mode="json")
    for extra in ({}, {"activation": {"kind": "relu6"}}):
        spec = build_spec(document | extra)
        found = read(rewritten(stripped(spec), opset), tmp_path)
        assert function(plan_network(found.spec)) == function(plan_network(spec))


def test_images_of_any_size_are_told_as_what_is_not_told(tmp_path: Path) -> None:
    spec = narrowed(load_spec("torchvision_resnet18"))
    found = read(stripped(spec, CompileOptions(size="dynamic")), tmp_path)
    assert found.assumed == ("images of 224x224 (--size)",)
    assert found.spec.input.height == 224
    assert function(plan_network(found.spec.replace(input=spec.input))) == function(plan_network(spec))


def with_node(model: onnx.ModelProto, index: int, operator: str) -> onnx.NodeProto:
    """Puts a node behind the ReLU of an index."""
    relu = [node for node in model.graph.node if node.op_type == "Relu"][index]
    made = helper.make_node(operator, [f"{relu.output[0]}/before"], [relu.output[0]], name="foreign")
    relu.output[0] = made.input[0]
    model.graph.node.insert([*model.graph.node].index(relu) + 1, made)
    return made


@pytest.mark.parametrize(("index", "words"), [(0, "input"), (1, "no residual unit"), (4, "unit 2"), (-1, "unit 8")])
def test_a_part_without_a_word_is_named(index: int, words: str, tmp_path: Path) -> None:
    model = stripped(narrowed(load_spec("torchvision_resnet18")))
    node = with_node(model, index, "Elu")
    with pytest.raises(WeightsError) as refused:
        read(model, tmp_path)
    assert f"Elu {node.output[0]!r}" in str(refused.value)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("operator", "domain", "words"),
    [
        ("QuantizeLinear", "", "computes in 8 bits, so give the float model that it was made from"),
        ("FusedConv", "com.microsoft", "an optimiser wrote it (com.microsoft), so give the model as it was exported"),
    ],
)
@pytest.mark.parametrize("index", [0, 4, -1])
def test_a_rewritten_model_is_told_what_to_give_instead(
    index: int, operator: str, domain: str, words: str, tmp_path: Path
) -> None:
    spec = narrowed(load_spec("torchvision_resnet18"))
    model = stripped(spec)
    with_node(model, index, operator)
    next(node for node in model.graph.node if node.name == "foreign").domain = domain
    with pytest.raises(WeightsError) as refused:
        read(model, tmp_path)
    assert words in str(refused.value)
    with open_checkpoint(tmp_path / "theirs.onnx") as source, pytest.raises(WeightsError) as refused:
        structure_of(plan_network(spec), source)
    assert words in str(refused.value)


def test_what_is_no_residual_network_is_told(tmp_path: Path) -> None:
    model = stripped(narrowed(load_spec("torchvision_resnet18")))
    for node in model.graph.node:
        node.op_type = "Mul" if node.op_type == "Add" else node.op_type
    with pytest.raises(WeightsError, match="no residual unit"):
        read(model, tmp_path)


def test_a_model_of_ours_says_what_it_is(tmp_path: Path) -> None:
    spec = narrowed(load_spec("resnet50"))
    compile(spec, CompileOptions(target="cuda")).save(tmp_path / "ours.onnx")
    found = read(tmp_path / "ours.onnx", tmp_path)
    assert found == Recognised(spec, "the spec is the one in the model's metadata", ())

"""ONNX models of other exporters, matched by structure, against what the original systems computed.

Two of them fold batch normalisation and rename what they fold; none keeps the author's names throughout.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
import test_golden_torch
from support.models import run
from support.slim import SlimCase, slim_cases
from support.specs import parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile, plan_network
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import CheckpointError, WeightsError
from resnet_compile.spec import TorchvisionRoot
from resnet_compile.weights.binding import bind

EXPORTS = Path(__file__).resolve().parents[1] / "data" / "onnx"
TIMM = ("resnet_basic", "resnet_bottleneck", "resnext", "resnetv2")


def first_case(version: str) -> SlimCase:
    return next(case for case in slim_cases(version) if case.label == f"slim_{version}_root-0")


@pytest.mark.parametrize("exporter", ["tracing", "dynamo"])
@pytest.mark.parametrize("name", TIMM)
def test_exports_of_pytorch(name: str, exporter: str) -> None:
    golden = next(run for run in test_golden_torch.RUNS if run.label == f"{name}-0")
    path = EXPORTS / f"timm_{name}_{exporter}.onnx"
    options = CompileOptions(outputs=tuple(golden.expected), naming="structure")
    actual = run(compile(golden.spec, options, weights=path).to_proto(), golden.x)
    for value, expected in golden.expected.items():
        assert relative_error(actual[value], expected) <= NETWORK, value


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_exports_of_tf2onnx(version: str) -> None:
    case = first_case(version)
    options = CompileOptions(outputs="all", layout="nhwc")
    model = compile(case.spec, options, weights=EXPORTS / f"slim_{version}_tf2onnx.onnx")
    facts = {prop.key: prop.value for prop in model.to_proto().metadata_props}
    assert facts["resnet_compile.weights_naming"] == "structure"
    assert facts["resnet_compile.weights_format"] == "ONNX"
    actual = run(model.to_proto(), case.x)
    for value, expected in case.end_points.items():
        assert relative_error(actual[value], expected) <= NETWORK, value


def test_a_pool_that_pads_its_end_alone_is_no_symmetric_one() -> None:
    """The rest of the model is the same, and torchvision's network would compute something else with its weights."""
    spec = first_case("v1").spec.replace(root=TorchvisionRoot())
    with pytest.raises(WeightsError, match=r"no counterpart .*/pool1"):
        bind(plan_network(spec), open_checkpoint(EXPORTS / "slim_v1_tf2onnx.onnx"), naming="structure")


def test_at_least_one_export_has_its_norms_folded() -> None:
    counts = {
        path.stem: sum(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)
        for path in EXPORTS.glob("*.onnx")
    }
    assert counts["timm_resnet_basic_tracing"] == 0
    assert counts["timm_resnetv2_tracing"] > 0


def test_our_own_models_are_read_by_name(tmp_path: Path) -> None:
    spec = parsed(tiny_document())
    model = compile(spec, CompileOptions(seed=3))
    model.save(tmp_path / "model.onnx")
    with open_checkpoint(tmp_path / "model.onnx") as checkpoint:
        assert bind(plan_network(spec), checkpoint).facts["weights_naming"] == "native"
    again = compile(spec, weights=tmp_path / "model.onnx").to_proto()
    assert list(again.graph.initializer) == list(model.to_proto().graph.initializer)


def test_the_tensors_that_a_graph_reads_count_and_not_those_that_are_named_so(tmp_path: Path) -> None:
    plan = plan_network(parsed(tiny_document()))
    model = compile(plan.spec, CompileOptions(seed=1)).to_proto()
    norm = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    named, norm.input[4] = norm.input[4], "another"
    size = next(each.dims[0] for each in model.graph.initializer if each.name == named)
    values = np.random.default_rng(0).uniform(0.5, 2, size).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "another"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with open_checkpoint(path) as source:
        bound = bind(plan, source)
        by_name = bind(plan, source, naming="native")
        assert np.array_equal(bound.tensors[named].array(), values)
        assert (
            f"uses another tensor for {named} than its name says: the graph's are taken (--naming native"
            in bound.notes[-1]
        )
        assert np.array_equal(by_name.tensors[named].array(), np.ones(size))


def test_another_network_has_no_counterpart() -> None:
    golden = next(run for run in test_golden_torch.RUNS if run.label == "resnet_basic-0")
    with pytest.raises(WeightsError, match="no counterpart of this layer in its place @ net/"):
        compile(golden.spec, weights=EXPORTS / "timm_resnet_bottleneck_tracing.onnx")


def chain(strides: list[int], output_stride: int | None) -> NetworkSpec:
    """Units that all project, so that weights of one shape fit whatever the strides and rates."""
    document = tiny_document() | {"root": {"kind": "cifar", "depth": 8}, "output_stride": output_stride}
    args = [{"depth": 12 + 4 * at, "depth_bottleneck": 4, "stride": stride} for at, stride in enumerate(strides)]
    document["blocks"] = [{"scope": "block1", "unit": {"kind": "bottleneck_v1"}, "args": args}]
    return parsed(document)


@pytest.mark.parametrize(
    ("theirs", "ours", "unit"),
    [
        (chain([2, 1], 1), chain([1, 1], None), 2),
        (chain([1, 1], None), chain([2, 1], 1), 2),
        (chain([2, 1], None), chain([1, 1], None), 1),
        (chain([1, 2], None), chain([1, 1], None), 2),
    ],
    ids=["dilated", "not dilated", "strided", "strided later"],
)
def test_weights_of_another_rate_or_stride_are_not_taken(
    theirs: NetworkSpec, ours: NetworkSpec, unit: int, tmp_path: Path
) -> None:
    compile(theirs).save(tmp_path / "theirs.onnx")
    options = CompileOptions(naming="structure")
    again = compile(theirs, options, weights=tmp_path / "theirs.onnx").to_proto().graph.initializer
    assert list(again) == list(compile(theirs).to_proto().graph.initializer)
    with pytest.raises(WeightsError, match=f"no counterpart .* @ tiny/block1/unit_{unit}/bottleneck_v1"):
        compile(ours, options, weights=tmp_path / "theirs.onnx")


def test_a_longer_network_is_not_taken_for_its_beginning(tmp_path: Path) -> None:
    golden = next(run for run in test_golden_torch.RUNS if run.label == "resnet_basic-0")
    model = onnx.load(EXPORTS / "timm_resnet_basic_tracing.onnx")
    logits = model.graph.output[0].name
    size = golden.spec.head.num_classes
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(size, dtype=np.float32), "more"))
    model.graph.node.append(onnx.helper.make_node("MatMul", [logits, "more"], ["last"]))
    onnx.save(model, tmp_path / "more.onnx")
    with pytest.raises(
        WeightsError, match="the model has 1 more nodes with weights than the network, the first a MatMul"
    ):
        compile(golden.spec, weights=tmp_path / "more.onnx")


def test_external_data_stays_in_the_models_folder(tmp_path: Path) -> None:
    spec = parsed(tiny_document())
    folder = tmp_path / "model"
    folder.mkdir()
    compile(spec, CompileOptions(external_data=True)).save(folder / "model.onnx")
    expected = compile(spec).to_proto()
    assert compile(spec, weights=folder / "model.onnx").to_proto().graph == expected.graph
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    (tmp_path / "outside.data").write_bytes((folder / "model.onnx.data").read_bytes())
    for location in ("../outside.data", str(tmp_path / "outside.data"), "", "a/../../outside.data"):
        for tensor in model.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = location
        (folder / "moved.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(CheckpointError, match="outside the model's folder"):
            compile(spec, weights=folder / "moved.onnx")
    (folder / "link.data").symlink_to(tmp_path / "outside.data")
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = "link.data"
    (folder / "moved.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="outside the model's folder"):
        compile(spec, weights=folder / "moved.onnx")

"""Naming tables against golden variables under the original systems' own names and in their own layouts."""

import numpy as np
import pytest
import test_golden_cifar
import test_golden_keras
import test_golden_torch
from support.golden import GOLDEN, GoldenRun, variables

from resnet_compile import load_spec, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.spec import catalogue
from resnet_compile.weights.binding import bind
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.tables import KERAS_RESNETV2, NAMINGS, TF_SLIM

NAMING = {
    "timm_resnet_basic": "torchvision",
    "timm_resnet_bottleneck": "torchvision",
    "timm_resnext": "torchvision",
    "timm_wide_resnet": "torchvision",
    "timm_resnetv2": "timm-resnetv2",
    "cifar_plain": "tf-cifar",
    "cifar_bottleneck": "tf-cifar",
    "keras_resnet": "keras-resnet",
    "keras_resnetv2": "keras-resnetv2",
}


def golden(name: str) -> GoldenRun:
    """The first run in a golden file, with the variables as those tests themselves translate them."""
    system, _, network = name.partition("_")
    if system == "cifar":
        return test_golden_cifar.golden_run(network)
    if system == "keras":
        return next(run for run in test_golden_keras.RUNS if run.label == f"keras{network.removeprefix('resnet')}-0")
    return next(run for run in test_golden_torch.RUNS if run.label == f"{network}-0")


@pytest.mark.parametrize("name", NAMING)
def test_a_table_reads_the_originals_own_names_and_layouts(name: str) -> None:
    run = golden(name)
    source = variables(np.load(GOLDEN / f"{name}.npz"))
    bound = bind(plan_network(run.spec), source)
    assert bound.facts["weights_naming"] == NAMING[name]
    for parameter, tensor in bound.tensors.items():
        assert np.array_equal(tensor.array(), run.weights[parameter].reshape(tensor.shape)), parameter


def transformers_name(name: str, body: str) -> str:
    """What transformers' `ResNetModel` and its classifier call a variable of torchvision's."""
    words = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    match name.split("."):
        case ["fc", role]:
            return f"classifier.1.{role}"
        case ["conv1" | "bn1" as layer, role]:
            return f"{body}embedder.embedder.{words[layer[:-1]]}.{role}"
        case [stage, unit, "downsample", at, role]:
            return f"{body}encoder.stages.{int(stage[5:]) - 1}.layers.{unit}.shortcut.{words[at]}.{role}"
        case [stage, unit, layer, role]:
            place = f"{body}encoder.stages.{int(stage[5:]) - 1}.layers.{unit}.layer.{int(layer[-1]) - 1}"
            return f"{place}.{words[layer[:-1]]}.{role}"
    raise AssertionError(name)


@pytest.mark.parametrize(("naming", "body"), [("transformers", "resnet."), ("transformers-body", "")])
@pytest.mark.parametrize("name", ["timm_resnet_basic", "timm_resnet_bottleneck"])
def test_transformers_names_are_read(name: str, naming: str, body: str) -> None:
    run = golden(name)
    source = {transformers_name(k, body): v for k, v in variables(np.load(GOLDEN / f"{name}.npz")).items()}
    bound = bind(plan_network(run.spec), source)
    assert bound.facts["weights_naming"] == naming
    for parameter, tensor in bound.tensors.items():
        assert np.array_equal(tensor.array(), run.weights[parameter].reshape(tensor.shape)), parameter


@pytest.mark.parametrize("prefix", ["module.", "model.backbone."])
def test_prefixes_of_wrappers_are_stripped(prefix: str) -> None:
    run = golden("timm_resnet_basic")
    source = {f"{prefix}{k}": v for k, v in variables(np.load(GOLDEN / "timm_resnet_basic.npz")).items()}
    assert bind(plan_network(run.spec), source).facts["weights_naming"] == "torchvision"


def test_weights_of_another_function_are_refused_although_they_fit() -> None:
    """torchvision's weights have the names' and shapes' counterparts in slim v1, which computes something else."""
    plan = plan_network(load_spec("resnet_v1_50"))
    twin = {parameter.name: parameter for parameter in plan_network(load_spec("torchvision_resnet50")).parameters}
    table = next(naming for naming in NAMINGS if naming.name == "torchvision")
    source = {
        table.translate(name.removeprefix("torchvision_resnet50/")): np.zeros(p.shape, np.float32)
        for name, p in twin.items()
    }
    assert bind(plan_network(load_spec("torchvision_resnet50")), source).facts["weights_naming"] == "torchvision"
    with pytest.raises(
        WeightsError, match=r"has no name in the torchvision naming.*that naming is for units of kind torchvision_basic"
    ):
        bind(plan, source)


@pytest.mark.parametrize("name", catalogue())
def test_every_catalogue_network_has_a_table(name: str) -> None:
    """Besides our own names, some table of another system knows every parameter, each under a name of its own."""
    plan = plan_network(load_spec(name))
    tables = {naming.name: naming.names(plan, ()) for naming in NAMINGS if naming.name != "native"}
    whole = {table: found for table, found in tables.items() if len(found) == len(plan.parameters)}
    assert whole
    for table, found in whole.items():
        assert len({*found.values()}) == len(found), table


@pytest.mark.parametrize("naming", [KERAS_RESNETV2, TF_SLIM], ids=lambda naming: naming.name)
def test_what_object_based_checkpoints_hold_beside_variables_computes_nothing(naming: Naming) -> None:
    value = ".ATTRIBUTES/VARIABLE_VALUE"
    for path in ("optimizer/_iterations", "optimizer/_learning_rate", "opt/iter", "opt/beta_1", "opt/_variables/0"):
        assert naming.ignores(f"{path}/{value}")
    assert naming.ignores(f"keras_api/metrics/1/total/{value}")
    assert naming.ignores("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert not naming.ignores(f"layer_with_weights-3/p/{value}")
    assert not naming.ignores(f"gem/_variables_/{value}")

"""A hub's configuration tells what names cannot: which function the weights are of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import command

from resnet_compile import compile, load_spec, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.tables import TORCHVISION


def write_hub(folder: Path, config: object, spec: str = "torchvision_resnet18") -> Path:
    """A hub's folder with a network of zeros under torchvision's names, in safetensors."""
    naming: Naming = TORCHVISION
    plan = plan_network(load_spec(spec))
    header: dict[str, Any] = {}
    at = 0
    for parameter in plan.parameters:
        shape = naming.source_shape(parameter)
        end = at + 4 * int(np.prod(shape))
        name = naming.translate(parameter.name.removeprefix(f"{plan.name}/"))
        assert name is not None
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


RESNET18 = {"model_type": "resnet", "layer_type": "basic", "depths": [2, 2, 2, 2]}


@pytest.mark.parametrize(
    "config", [{"architecture": "resnet18"}, {"architecture": "resnet18", "model_args": {"aa_layer": None}}, RESNET18]
)
def test_what_agrees_is_taken_without_a_note(config: object, tmp_path: Path) -> None:
    assert compile(load_spec("torchvision_resnet18"), weights=write_hub(tmp_path, config)).notes == ()


@pytest.mark.parametrize("config", [{}, [], {"architecture": "vit"}, {"model_type": "resnet"}, {"depths": [1]}])
def test_any_other_configuration_is_left_alone(config: object, tmp_path: Path) -> None:
    (note,) = compile(load_spec("torchvision_resnet18"), weights=write_hub(tmp_path, config)).notes
    assert note.startswith("the names do not tell of anti-aliased pooling, the activation, or which convolution")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architecture": "resnetblur18"}, "of resnetblur18, another function than torchvision_resnet18"),
        (
            {"architecture": "resnet18", "model_args": {"act_layer": "silu"}},
            "of resnet18 with act_layer, another function than torchvision_resnet18",
        ),
        (RESNET18 | {"hidden_act": "gelu"}, "another function than torchvision_resnet18"),
        ({"architecture": "resnet34"}, "of resnet34, and the spec is torchvision_resnet18"),
        ({"architecture": "resnetv2_50"}, "of resnetv2_50, and the spec is torchvision_resnet18"),
    ],
)
def test_a_contradiction_names_both(config: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        compile(load_spec("torchvision_resnet18"), weights=write_hub(tmp_path, config))
    assert caught.value.where == str(tmp_path / "config.json")


def test_a_spec_of_another_name_and_size_is_the_same_function(tmp_path: Path) -> None:
    spec = load_spec("torchvision_resnet18")
    spec = spec.replace(name="mine", input=spec.input.replace(height=64, width=64), output_stride=8)
    assert compile(spec, weights=write_hub(tmp_path, {"architecture": "resnet18"})).notes == ()


def test_inspect_names_no_network_of_another_function(tmp_path: Path) -> None:
    out = command("resnet-inspect", write_hub(tmp_path, {"architecture": "resnetblur18"})).out
    assert out.splitlines()[-1] == "fits no network of the catalogue"
    assert "the weights are of resnetblur18, another function than torchvision_resnet18" in out

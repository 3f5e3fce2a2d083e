"""A hub's configuration tells what names cannot: which function the weights are of."""

from pathlib import Path

import pytest
from support.commands import command
from support.hub import write_hub

from resnet_compile import compile, load_spec
from resnet_compile.errors import WeightsError
from resnet_compile.spec import transformers_network

RESNET18 = {
    "model_type": "resnet",
    "layer_type": "basic",
    "depths": [2, 2, 2, 2],
    "hidden_sizes": [64, 128, 256, 512],
}


@pytest.mark.parametrize(
    "config", [{"architecture": "resnet18"}, {"architecture": "resnet18", "model_args": {"aa_layer": None}}, RESNET18]
)
def test_what_agrees_is_taken_without_a_note(config: object, tmp_path: Path) -> None:
    assert compile(load_spec("torchvision_resnet18"), weights=write_hub(tmp_path, config)).notes == ()


@pytest.mark.parametrize("config", [{}, [], {"architecture": "vit"}, {"model_type": "resnet"}, {"depths": [1]}])
def test_any_other_configuration_is_left_alone(config: object, tmp_path: Path) -> None:
    (note,) = compile(load_spec("torchvision_resnet18"), weights=write_hub(tmp_path, config)).notes
    assert note.startswith("the names do not determine anti-aliased pooling, the activation, or which convolution")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"architecture": "resnetblur18"},
            "for resnetblur18, which computes another function than torchvision_resnet18",
        ),
        (
            {"architecture": "resnet18", "model_args": {"act_layer": "silu"}},
            "for resnet18 with act_layer, which computes another function than torchvision_resnet18",
        ),
        (RESNET18 | {"hidden_act": "gelu"}, "with gelu, which computes another function than torchvision_resnet18"),
        (RESNET18 | {"downsample_in_first_stage": True}, "with downsample_in_first_stage, and the spec is torchvision"),
        (RESNET18 | {"hidden_sizes": [64, 128, 256, 1024]}, "basic units .*, and the spec is torchvision_resnet18"),
        ({"architecture": "resnet34"}, "for resnet34, and the spec is torchvision_resnet18"),
        ({"architecture": "resnetv2_50"}, "for resnetv2_50, and the spec is torchvision_resnet18"),
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
    assert "the weights are for resnetblur18, which computes another function than torchvision_resnet18" in out


def test_a_hint_names_no_network_of_another_function(tmp_path: Path) -> None:
    for config, hint in (({}, "the weights fit torchvision_resnet18"), ({"architecture": "resnetaa50"}, None)):
        with pytest.raises(WeightsError) as caught:
            compile(load_spec("torchvision_resnet34"), weights=write_hub(tmp_path, config))
        assert (hint or "another function") in str(caught.value)
        assert hint or "the weights fit" not in str(caught.value)
    (tmp_path / "config.json").write_text('{"architecture": "resnetblur18"}')
    with pytest.raises(WeightsError) as caught:
        compile(load_spec("resnet50"), weights=tmp_path)
    assert "the weights fit" not in str(caught.value)


def test_a_configuration_tells_which_convolution_strides(tmp_path: Path) -> None:
    fields = {"depths": [1, 2], "hidden_sizes": [16, 32], "embedding_size": 8}
    first, second = (
        transformers_network("net", **fields, downsample_in_bottleneck=strides) for strides in (True, False)
    )
    hub = write_hub(tmp_path, {"model_type": "resnet", **fields, "downsample_in_bottleneck": True}, first)
    assert compile(first, weights=hub).notes == ()
    with pytest.raises(WeightsError, match="with downsample_in_bottleneck, and the spec is net"):
        compile(second, weights=hub)


def test_an_alias_is_known_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        compile(load_spec("torchvision_resnet18"), weights=write_hub(tmp_path, {"architecture": "resnet26"}))
    assert caught.value.hint == "give transformers_resnet26 as SPEC"

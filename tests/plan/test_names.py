"""From words to names of the network: one grammar for outputs, for what stays in float and for what is frozen."""

from collections.abc import Callable
from typing import Any

import pytest
from support.specs import parsed, tiny_document

from resnet_compile import Plan, catalogue, load_spec, plan_network
from resnet_compile.errors import OptionError
from resnet_compile.plan.names import (
    end_point_words,
    feature_levels,
    frozen_parameters,
    resolve_outputs,
    resolve_scopes,
)

KIND = "bottleneck_v2"
Resolver = Callable[..., tuple[str, ...] | frozenset[str]]


def plan(**changes: Any) -> Plan:
    return plan_network(parsed(tiny_document() | changes))


def ten_blocks() -> Plan:
    """Blocks `block1` to `block10` of two units each, but for the last, which has eleven."""
    unit, args = {"kind": KIND}, {"depth": 16, "depth_bottleneck": 4, "stride": 1}
    runs = [2] * 9 + [11]
    blocks = [
        {"scope": f"block{number}", "unit": unit, "args": [args | {"repeat": units}]}
        for number, units in enumerate(runs, 1)
    ]
    return plan(blocks=blocks)


def frozen_scopes(planned: Plan, *words: str) -> set[str]:
    """The layers whose parameters are frozen."""
    frozen = frozen_parameters(planned, words)
    return {layer.scope for layer in planned.layers if {p.name for p in layer.parameters} & frozen}


def layers_below(planned: Plan, *scopes: str) -> set[str]:
    below = tuple(f"{scope}/" for scope in scopes)
    return {layer.scope for layer in planned.layers if layer.parameters and f"{layer.scope}/".startswith(below)}


@pytest.mark.parametrize("name", ["tiny", "outer/tiny", "block1"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("prefixed", [False, True])
def test_one_grammar_for_all(name: str, slash: str, prefixed: bool) -> None:
    """A block may even bear the network's name."""
    planned = plan(name=name)
    before = f"{name}/" if prefixed else ""
    for word in ("conv1", f"block1/unit_2/{KIND}", f"block2/unit_1/{KIND}/conv2"):
        written, meant = f"{before}{word}{slash}", f"{name}/{word}"
        assert resolve_outputs(planned, (written,)) == (meant,)
        assert resolve_scopes(planned, (written,)) == (meant,)
        assert frozen_scopes(planned, written) == layers_below(planned, meant)


def test_a_unit_is_found_by_its_place() -> None:
    planned = plan()
    words = ("block1/unit_2", "tiny/block2/unit_1", "block2/unit_2/conv3")
    unit = f"tiny/block1/unit_2/{KIND}"
    meant = (unit, f"tiny/block2/unit_1/{KIND}", f"tiny/block2/unit_2/{KIND}/conv3")
    assert resolve_outputs(planned, words) == meant
    assert resolve_scopes(planned, words) == meant
    assert frozen_scopes(planned, *words) == layers_below(planned, *meant)


def test_every_end_point_has_a_word_that_finds_it() -> None:
    plan = plan_network(load_spec("resnet50"))
    words = end_point_words(plan)
    assert resolve_outputs(plan, words) == tuple(point.name for point in plan.end_points)
    assert {"block3/unit_2", "block3", "conv1", "logits", "predictions"} <= {*words}
    assert not any(word.startswith("resnet") or "bottleneck" in word for word in words)


def test_block1_is_not_block10_and_unit_1_is_not_unit_10() -> None:
    planned = ten_blocks()
    assert frozen_scopes(planned, "block1") == layers_below(planned, "tiny/block1")
    assert frozen_scopes(planned, "block10/unit_1") == layers_below(planned, "tiny/block10/unit_1")
    assert len(layers_below(planned, "tiny/block1")) == 2 * 4 + 1


def test_outputs_are_values() -> None:
    wanted = ("block1", "tiny/logits", "predictions", "pool1", f"block1/unit_1/{KIND}/preact")
    resolved = ("tiny/block1", "tiny/logits", "predictions", "tiny/pool1", f"tiny/block1/unit_1/{KIND}/preact")
    assert resolve_outputs(plan(), wanted) == resolved
    assert resolve_outputs(plan(), ("tiny/predictions",)) == ("predictions",)
    assert resolve_outputs(plan(), None) == ("tiny/logits", "predictions")


def test_a_headless_network_outputs_its_features() -> None:
    assert resolve_outputs(plan(head={"num_classes": None}), None) == ("tiny/pool5",)
    assert resolve_outputs(plan(head={"num_classes": None, "global_pool": False}), None) == ("tiny/postnorm",)


def test_moving_statistics_are_frozen_too() -> None:
    names = {"gamma", "beta", "moving_mean", "moving_variance"}
    assert frozen_parameters(plan(), ("postnorm",)) == {f"tiny/postnorm/{name}" for name in names}


@pytest.mark.parametrize("word", ["blok1", "tiny/blok1", "blok1/", "block", "block1/unit_9", "tiny", "tiny/", "/", ""])
@pytest.mark.parametrize(
    ("resolver", "message"),
    [
        (resolve_outputs, "the network has no end point or layer {!r} @ outputs ("),
        (resolve_scopes, "the network has no scope {!r} @ keep_float ("),
        (frozen_parameters, "the network has no scope with parameters {!r} @ freeze ("),
    ],
)
def test_unknown_words_are_refused(word: str, resolver: Resolver, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        resolver(plan(), ("conv1", word))
    assert str(caught.value).startswith(message.format(word))


@pytest.mark.parametrize("resolver", [resolve_outputs, resolve_scopes, frozen_parameters])
def test_a_hint_names_what_the_option_takes(resolver: Resolver) -> None:
    with pytest.raises(OptionError, match=r"\(did you mean block1 or block2"):
        resolver(plan(), ("tiny/blok1",))
    with pytest.raises(OptionError, match="did you mean block1/unit_1 or "):
        resolver(plan(), ("block1/unit1",))
    with pytest.raises(OptionError, match=r"\(there is conv1, (pool1, )?block1, block2, .*, \.\.\.\)"):
        resolver(ten_blocks(), ("xyz",))


def test_only_what_has_parameters_is_frozen() -> None:
    with pytest.raises(OptionError, match=r"\(there is conv1, block1, block2, postnorm, logits\)"):
        frozen_parameters(plan(), ("xyz",))
    with pytest.raises(OptionError, match="no scope with parameters 'pool1'"):
        frozen_parameters(plan(), ("pool1",))
    with pytest.raises(OptionError, match="no end point or layer 'conv1/BatchNorm'"):
        resolve_outputs(plan(), ("conv1/BatchNorm",))


def test_everything_frozen_is_refused() -> None:
    with pytest.raises(OptionError, match="freeze leaves nothing to train @ freeze"):
        frozen_parameters(plan(), ("conv1", "block1", "block2", "postnorm", "logits"))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (("logits", "tiny/logits/"), "outputs has tiny/logits twice @ outputs"),
        (("block1/unit_1", f"block1/unit_1/{KIND}"), f"outputs has tiny/block1/unit_1/{KIND} twice"),
        ((), "outputs must not be empty @ outputs"),
    ],
)
def test_outputs_are_asked_for_once(wanted: tuple[str, ...], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        resolve_outputs(plan(), wanted)


LEVELS = {
    # slim's and Keras's second version stride at the end of a block
    "resnet50": ("block1/unit_2/bottleneck_v2", "block2/unit_3/bottleneck_v2", "block3/unit_5/bottleneck_v2", "block4"),
    "resnet_v1_101": ("block1/unit_2/{0}", "block2/unit_3/{0}", "block3/unit_22/{0}", "block4"),
    # timm's `feature_info` of `features_only` models: layer1 to layer4, and stages.0 to stages.3
    "torchvision_resnet50": ("block1", "block2", "block3", "block4"),
    "timm_resnetv2_50": ("block1", "block2", "block3", "block4"),
    "resnet101_segmentation": ("block1/unit_2/bottleneck_v2", "block2/unit_3/bottleneck_v2", "block4"),
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_those_of_multi_scale_backbones(name: str) -> None:
    planned = plan_network(load_spec(name))
    levels = feature_levels(planned)
    assert [(level.name, level.reduction) for level in levels] == [(f"C{n}", 2**n) for n in range(2, 2 + len(levels))]
    expected = [f"{planned.name}/{output}".format("bottleneck_v1") for output in LEVELS[name]]
    assert [level.output for level in levels] == expected
    assert resolve_outputs(planned, ("features", "logits")) == (*expected, f"{planned.name}/logits")


@pytest.mark.parametrize("name", [each for each in catalogue() if "1202" not in each])
def test_a_level_is_the_last_map_of_its_size(name: str) -> None:
    """Images are large enough for all sizes to differ."""
    planned = plan_network(load_spec(name))
    last = {}
    for block in planned.blocks:
        last |= {unit.output.height: unit.scope for unit in block.units} | {block.output.height: block.scope}
    found = {-(-planned.input.height // level.reduction): level.output for level in feature_levels(planned)}
    assert found == last


def test_reductions_that_are_no_powers_of_two_have_names_too() -> None:
    document = tiny_document()
    document["blocks"][0]["args"][1]["stride"] = 3
    assert [level.name for level in feature_levels(plan(blocks=document["blocks"]))] == ["C2", "reduction12"]

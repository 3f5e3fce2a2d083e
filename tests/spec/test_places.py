"""Blocks and the arguments of units by the places of their values, as TF-slim's listing has them."""

import copy
import json
from typing import Any

import jsonschema
import pytest
from support.specs import tiny_document

import resnet_compile as rc
from resnet_compile.errors import SpecError
from resnet_compile.spec import as_spec, build_spec, network_schema, parse_spec, spec_text

UNIT = rc.BottleneckV2()


def by_places(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, its blocks and their args as arrays."""
    made = copy.deepcopy(document)
    places = ("depth", "depth_bottleneck", "stride", "repeat")
    for block in made["blocks"]:
        defaults = {"depth_bottleneck": None, "stride": 1, "repeat": 1}
        block["args"] = [[({**defaults, **args})[place] for place in places] for args in block["args"]]
    made["blocks"] = [[block["scope"], block["unit"], block["args"]] for block in made["blocks"]]
    return made


def test_a_block_is_written_as_in_slims_listing() -> None:
    """`Block('block1', bottleneck, [(256, 64, 1)] * 2 + [(256, 64, 2)])` of He's network at 50 layers."""
    written = rc.Block("block1", UNIT, [(256, 64, 1)] * 2 + [(256, 64, 2)])
    args = [rc.UnitArgs(depth=256, depth_bottleneck=64, stride=stride) for stride in (1, 1, 2)]
    assert written == rc.Block(scope="block1", unit=UNIT, args=args)
    assert written.num_units == rc.resnet_v2_block("block1", base_depth=64, num_units=3, stride=2).num_units
    assert rc.UnitArgs(256, 64, repeat=3) == rc.UnitArgs(depth=256, depth_bottleneck=64, repeat=3)
    assert written.replace(args=((8, 2),)).args == (rc.UnitArgs(depth=8, depth_bottleneck=2),)


def test_a_document_of_arrays_is_the_same_spec() -> None:
    document = tiny_document()
    made = parse_spec(json.dumps(by_places(document)))
    assert made == build_spec(document)
    assert parse_spec(spec_text(made)) == made
    jsonschema.Draft202012Validator(network_schema()).validate(by_places(document))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([[256, "64", 1]], r'must be an integer, got "64" @ \$\.blocks\[0\]\.args\[0\]\.depth_bottleneck$'),
        (
            [[256, 64, 1, 1, 1]],
            r"at most 4 values \(depth, depth_bottleneck, stride, repeat\), got 5 @ \$\.blocks\[0\]\.args\[0\]$",
        ),
        ([[]], r"is required @ \$\.blocks\[0\]\.args\[0\]\.depth$"),
        ([[256]], r"depth_bottleneck is required .* @ \$\.blocks\[0\]\.args\[0\]\.depth_bottleneck$"),
    ],
)
def test_faults_of_arrays_have_the_fields_path(args: Any, message: str) -> None:
    document = by_places(tiny_document())
    document["blocks"][0][2] = args
    with pytest.raises(SpecError, match=message):
        parse_spec(json.dumps(document))
    if args != [[256]]:
        assert not jsonschema.Draft202012Validator(network_schema()).is_valid(document)


def test_faults_of_arguments() -> None:
    with pytest.raises(SpecError, match=r"^given by position and by name @ \$\.depth$"):
        rc.UnitArgs(256, depth=3)
    with pytest.raises(SpecError, match=r"^at most 3 positional values \(scope, unit, args\), got 4$"):
        rc.Block("block1", UNIT, [(256, 64)], 5)
    with pytest.raises(SpecError, match=r"got 'a' @ \$\.args\[1\]\.stride"):
        rc.Block("block1", UNIT, [(256, 64), (256, 64, "a")])


def test_a_network_is_a_spec_a_name_or_a_path(tmp_path: Any) -> None:
    spec = build_spec(tiny_document())
    path = tmp_path / "mine.json"
    path.write_text(spec_text(spec))
    for source in (spec, path, str(path)):
        assert as_spec(source) == spec
        assert rc.plan_network(source).spec == spec
        assert rc.compile(source).plan.spec == spec
    assert rc.plan_network("resnet50") == rc.plan_network(rc.load_spec("resnet50"))
    assert rc.compile("tiny", rc.CompileOptions(size=(64, 64))).plan.input.size == (64, 64)
    assert rc.quantize.quantize("tiny").model.plan.name == "tiny"
    step = rc.training.compile_step("tiny", rc.training.StepOptions(batch=2))
    assert step.plan.spec == rc.load_spec("tiny")
    with pytest.raises(SpecError, match="neither a file nor a spec of the catalogue @ tini"):
        rc.plan_network("tini")
    with pytest.raises(SpecError, match="must be a NetworkSpec, got 3"):
        rc.compile(3)  # type: ignore[arg-type]

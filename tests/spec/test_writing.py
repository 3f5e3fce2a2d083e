"""The text of a spec: what `parse_spec` reads back, without what is at its default."""

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from support.specs import networks, parsed, tiny_document

from resnet_compile import CompileOptions, NetworkSpec, catalogue, compile, load_spec, parse_spec
from resnet_compile.metadata import Metadata
from resnet_compile.spec import spec_text
from resnet_compile.training import compile_step
from resnet_compile.training.options import StepOptions


@pytest.mark.parametrize("name", catalogue())
def test_the_catalogue_is_read_back(name: str) -> None:
    """But for the place of the schema, which means nothing."""
    spec = load_spec(name)
    assert parse_spec(spec_text(spec)).model_dump() == spec.model_dump()


@given(networks())
def test_any_spec_is_read_back(spec: NetworkSpec) -> None:
    text = spec_text(spec)
    assert parse_spec(text) == spec
    assert len(text) <= len(json.dumps(spec.model_dump(mode="json"), separators=(",", ":")))


def test_defaults_change_no_letter() -> None:
    spelled = json.loads(json.dumps(load_spec("tiny").model_dump(mode="json")))
    assert spelled["norm"] == {"kind": "batch", "epsilon": 1e-5, "decay": 0.997, "scale": True, "averages": "corrected"}
    assert spec_text(parsed({**spelled, "$schema": "network.schema.json"})) == spec_text(load_spec("tiny"))


class LaterSpec(NetworkSpec):
    """The language with one more field."""

    anti_aliasing: Literal["none", "blur"] = "none"
    """Made up."""


def test_a_field_that_comes_later_changes_the_text_of_no_spec_without_it() -> None:
    document = json.dumps(tiny_document())
    before, after = parse_spec(document), LaterSpec.model_validate_json(document)
    assert spec_text(after) == spec_text(before)
    blurred = LaterSpec.model_validate_json(json.dumps({**tiny_document(), "anti_aliasing": "blur"}))
    assert json.loads(spec_text(blurred)) == {**json.loads(spec_text(before)), "anti_aliasing": "blur"}


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("root", None, None),
        ("root", {"kind": "imagenet", "depth": 64}, ...),
        ("root", {"kind": "torchvision", "depth": 64}, {"kind": "torchvision"}),
        ("norm", {"kind": "batch", "epsilon": 1e-5}, ...),
        ("norm", {"epsilon": 1e-3}, {"kind": "batch", "epsilon": 1e-3}),
        ("head", {"num_classes": None, "global_pool": True}, {"num_classes": None}),
        ("head", {"num_classes": 10, "spatial_squeeze": True}, {"num_classes": 10, "spatial_squeeze": True}),
        ("head", {"num_classes": 10, "predictions": None}, {"num_classes": 10, "predictions": None}),
        ("input", {"height": 8, "width": 9, "channels": 3, "preprocess": None}, {"height": 8, "width": 9}),
        ("weight_decay", 1e-4, ...),
        ("weight_decay", 0, 0.0),
    ],
)
def test_what_is_written(key: str, value: Any, written: Any) -> None:
    """`...` is nothing at all."""
    spec = parsed({**tiny_document(), key: value})
    document = json.loads(spec_text(spec))
    assert document.get(key, ...) == written
    assert parse_spec(spec_text(spec)) == spec
    assert [unit["unit"]["kind"] for unit in document["blocks"]] == ["bottleneck_v2", "bottleneck_v2"]


def test_models_and_training_steps_have_that_text() -> None:
    spec = load_spec("tiny")
    for made in (compile(spec), compile_step(spec, StepOptions(batch=1))):
        assert made.format.metadata.spec == spec_text(spec)
    sized = compile(spec, CompileOptions(size=(8, 9))).format.metadata
    assert json.loads(sized.spec or "")["input"]["width"] == 9
    assert sized != Metadata()

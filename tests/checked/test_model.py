"""Values that check themselves: whoever makes or changes one gets it right or gets one error of ours."""

import copy
import inspect
import json
import pickle
from typing import Any

import numpy as np
import pytest
from support.specs import tiny_document

from resnet_compile.bench import BenchOptions, Protocol
from resnet_compile.errors import OptionError, SpecError, UsageError
from resnet_compile.options import CompileOptions
from resnet_compile.runtime import SessionOptions
from resnet_compile.spec import Head, Input, NetworkSpec, load_spec, parse_spec
from resnet_compile.training import CosineSchedule, StepOptions, TrainOptions

TINY = parse_spec(json.dumps(tiny_document()))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Input, {"height": "3", "width": 3}, "height must be an integer, got '3' @ $.height"),
        (Input, {"height": 3}, "width is required @ $.width"),
        (Input, {"height": np.int64(3), "width": True}, f"height must be an integer, got {np.int64(3)!r} @ $.height; "
         "width must be an integer, got True @ $.width"),
        (Input, {"height": 3, "width": 3, "chanels": 1}, "unknown key @ $.chanels (did you mean channels?)"),
        (Head, {"num_classes": float("nan")}, "num_classes must be an integer, got nan @ $.num_classes"),
        (CompileOptions, {"batch": 0}, "batch must be at least 1 or 'dynamic', got 0 @ $.batch"),
        (CompileOptions, {"batch": None}, "batch must be an integer or 'dynamic', got None @ $.batch"),
        (CompileOptions, {"size": (0, 5)}, "size[0] must be at least 1, got 0 @ $.size[0]"),
        (CompileOptions, {"outputs": "logits"}, "outputs must be an array or 'all', got 'logits' @ $.outputs"),
        (CompileOptions, {"outputs": ["logits", 3]}, "outputs[1] must be a string, got 3 @ $.outputs[1]"),
        (TrainOptions, {"schedule": {"kind": "linear"}}, "kind must be one of 'piecewise', 'cosine', got 'linear' @ "
         "$.schedule.kind"),
        (CompileOptions, {"dtype": 16}, "dtype must be an object, got 16 @ $.dtype"),
        (StepOptions, {"optimizer": "sgd"}, "batch is required @ $.batch"),
        (TrainOptions, {"steps": 1, "epochs": 1}, "steps and epochs exclude each other @ $.epochs"),
        (TrainOptions, {"schedule": {"kind": "cosine", "peak": 1.0, "steps": 0}}, "steps must be at least 1, got 0 @ "
         "$.schedule.steps"),
        (CosineSchedule, {"peak": float("inf"), "steps": 5}, "peak must be a finite number, got inf @ $.peak"),
        (SessionOptions, {"threads": "x"}, "threads must be an integer, got 'x' @ $.threads"),
        (BenchOptions, {"batches": 3}, "batches must be an array, got 3 @ $.batches"),
        (BenchOptions, {"protocol": {"steps": 0}}, "steps must be at least 1, got 0 @ $.protocol.steps"),
        (Protocol, {"steps": 1.5}, "steps must be an integer, got 1.5 @ $.steps"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_error_with_every_fault(kind: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**values)
    assert str(caught.value) == message
    assert type(caught.value) is (SpecError if kind in (Input, Head) else OptionError)


def test_a_path_begins_at_the_root_and_has_no_union_tags() -> None:
    document = tiny_document()
    document["root"] = {"kind": "cifar", "depht": 4}
    document["blocks"][1]["args"][0]["stride"] = "2"
    document["input"]["height"] = 0
    faults = (
        "height must be at least 1, got 0 @ $.input.height; unknown key @ $.root.depht (did you mean depth?); "
        "stride must be an integer, got {} @ $.blocks[1].args[0].stride"
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(json.dumps(document))
    assert str(caught.value) == faults.format('"2"')
    with pytest.raises(SpecError) as caught:
        NetworkSpec(**document)
    assert str(caught.value) == faults.format("'2'")
    assert caught.value.where == "$.input.height"


def test_a_persons_faults_are_all_told_and_a_machines_are_counted() -> None:
    document = tiny_document()
    document["blocks"] = [{"scope": "a b", "unit": {"kind": "vgg"}, "args": []}] * 10
    with pytest.raises(SpecError) as caught:
        parse_spec(json.dumps(document))
    assert str(caught.value).count(" @ ") == 30
    assert "more" not in str(caught.value)
    document["blocks"] = [{"scope": "a b", "unit": {"kind": "vgg"}, "args": []}] * 10_000
    with pytest.raises(SpecError) as caught:
        parse_spec(json.dumps(document))
    assert str(caught.value).count(" @ ") == 100
    assert str(caught.value).endswith("; and 29900 more")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 37}, "unknown key @ $.num_classes (it is a key of head)"),
        ({"output_stryde": 8}, "unknown key @ $.output_stryde (did you mean output_stride?)"),
        ({"output_stride": 8.0}, "output_stride must be an integer, got 8.0 @ $.output_stride"),
        ({"head": None}, "head must be an object, got None @ $.head"),
        ({"head": {"num_classes": 0}}, "num_classes must be at least 1, got 0 @ $.head.num_classes"),
        ({"blocks": TINY.blocks * 2}, "scope block1 is used twice @ $.blocks[2].scope"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("copied", [False, True])
def test_a_change_is_checked_as_a_whole(changes: dict[str, Any], message: str, copied: bool) -> None:
    """By `replace` and by pydantic's own way."""
    with pytest.raises(SpecError) as caught:
        TINY.model_copy(update=changes) if copied else TINY.replace(**changes)
    assert str(caught.value) == message


def test_a_change_makes_what_its_document_makes() -> None:
    document = tiny_document() | {"output_stride": 16}
    document["head"]["num_classes"] = 37
    changed = TINY.replace(output_stride=16, head=TINY.head.replace(num_classes=37))
    assert changed == parse_spec(json.dumps(document))
    assert changed.model_fields_set == parse_spec(json.dumps(document)).model_fields_set
    assert TINY.replace(head=document["head"]) == TINY.replace(head=changed.head)
    assert TINY.replace(schema_uri="other").schema_uri == "other"
    assert TINY.replace(root=None).root is None
    assert TINY.replace() == TINY
    assert CompileOptions(seed=3).replace(batch=2) == CompileOptions(seed=3, batch=2)


def test_a_value_cannot_be_changed_in_place() -> None:
    with pytest.raises(SpecError, match=r"cannot be set; replace\(\.\.\.\) makes a changed copy @ \$\.name"):
        TINY.name = "other"
    with pytest.raises(OptionError, match=r"@ \$\.sed"):
        CompileOptions().sed = 3


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (TINY, {"name": "other"}),
        (CompileOptions(seed=3), {"seed": 4}),
        (BenchOptions(batches=[1, 2]), {"protocol": Protocol(steps=1)}),
        (SessionOptions(threads=1), {"tf32": True}),
    ],
)
def test_copies_and_pickles_are_equal(value: Any, change: dict[str, Any]) -> None:
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)), value.replace()):
        assert other == value
        assert hash(other) == hash(value)
        assert other is not value
    assert value.replace(**change) != value


def test_constructors_show_their_fields() -> None:
    assert list(inspect.signature(Input).parameters) == ["height", "width", "channels", "preprocess"]


def test_where_a_spec_came_from_is_no_part_of_it() -> None:
    read = load_spec("resnet50")
    parsed = NetworkSpec.model_validate(read.model_dump()).replace(schema_uri=read.schema_uri)
    assert (read.source, parsed.source) == ("resnet50", None)
    assert read == parsed
    assert len({read, parsed}) == 1
    assert read.replace(output_stride=16).source == pickle.loads(pickle.dumps(read)).source == "resnet50"
    assert "source" not in read.model_dump()

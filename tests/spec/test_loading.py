"""Bad specs: one line each, with the path of the fault."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.specs import tiny_document

from resnet_compile import parse_spec
from resnet_compile.errors import SpecError
from resnet_compile.spec import catalogue, load_spec, read_spec
from resnet_compile.spec.catalogue import ALIASES

Break = Callable[[dict[str, Any]], Any]

FAULTS: list[tuple[Break, str, str]] = [
    (lambda d: d.update(nmae=1), "$.nmae", "unknown key"),
    (lambda d: d.pop("head"), "$.head", "is required"),
    (lambda d: d["head"].pop("num_classes"), "$.head.num_classes", "is required"),
    (lambda d: d.update(name=""), "$.name", "must match"),
    (lambda d: d.update(name="a b"), "$.name", "must match"),
    (lambda d: d.update(name="/a"), "$.name", "must match"),
    (lambda d: d.update(name="x" * 201), "$.name", "at most 200 characters"),
    (lambda d: d["input"].update(height="1"), "$.input.height", 'must be an integer, got "1"'),
    (lambda d: d["input"].update(height=True), "$.input.height", "must be an integer, got true"),
    (lambda d: d["input"].update(height=1.0), "$.input.height", "must be an integer, got 1.0"),
    (lambda d: d["input"].update(height=0), "$.input.height", "must be at least 1, got 0"),
    (lambda d: d["input"].update(width=-3), "$.input.width", "must be at least 1, got -3"),
    (lambda d: d["input"].update(width=1_000_000), "$.input.width", "must be at most 16384"),
    (lambda d: d.update(blocks=[]), "$.blocks", "must not be empty"),
    (lambda d: d.update(blocks={}), "$.blocks", "must be an array"),
    (lambda d: d["blocks"][1].update(args=[]), "$.blocks[1].args", "must not be empty"),
    (lambda d: d["blocks"][0].update(scope="a/b"), "$.blocks[0].scope", "must match"),
    (lambda d: d["blocks"][1].update(scope="block1"), "$.blocks[1].scope", "used twice"),
    (lambda d: d["blocks"][1].update(scope="logits"), "$.blocks[1].scope", "taken by the network itself"),
    (lambda d: d["blocks"][0].update(unit={"kind": "vgg"}), "$.blocks[0].unit.kind", "bottleneck_v2"),
    (lambda d: d["blocks"][0].update(unit=None), "$.blocks[0].unit", "must be an object"),
    (lambda d: d["blocks"][1]["args"][0].update(stride=0), "$.blocks[1].args[0].stride", "at least 1"),
    (lambda d: d["blocks"][1]["args"][0].update(stride=17), "$.blocks[1].args[0].stride", "at most 16"),
    (lambda d: d["blocks"][1]["args"][0].update(stride="2"), "$.blocks[1].args[0].stride", "integer"),
    (lambda d: d["blocks"][0]["args"][1].update(depth=65_537), "$.blocks[0].args[1].depth", "at most 65536"),
    (lambda d: d["blocks"][0]["args"][1].update(rate=2), "$.blocks[0].args[1].rate", "unknown key"),
    (lambda d: d["blocks"][0]["args"][1].update(repeat=10**9), "$.blocks[0].args[1].repeat", "at most 4096"),
    (
        lambda d: d["blocks"][0]["args"][1].pop("depth_bottleneck"),
        "$.blocks[0].args[1].depth_bottleneck",
        "is required in units of kind bottleneck_v2",
    ),
    (lambda d: d["norm"].update(epsilon=0), "$.norm.epsilon", "greater than 0"),
    (lambda d: d["norm"].update(epsilon="1e-5"), "$.norm.epsilon", "must be a number"),
    (lambda d: d["norm"].update(scale=1), "$.norm.scale", "must be true or false"),
    (lambda d: d["norm"].update(decay=1.0), "$.norm.decay", "less than 1"),
    (lambda d: d.update(output_stride=0), "$.output_stride", "at least 1"),
    (lambda d: d.update(weight_decay=-1e-4), "$.weight_decay", "at least 0"),
    (lambda d: d.update(root={"kind": "cifar100"}), "$.root.kind", "imagenet"),
    (lambda d: d.update(root={"kind": 3}), "$.root.kind", "imagenet"),
    (lambda d: d.update(root=[]), "$.root", "must be an object, got []"),
    (lambda d: d.update(root={"kind": "cifar", "depth": 0}), "$.root.depth", "at least 1"),
    (lambda d: d["head"].update(num_classes=0), "$.head.num_classes", "at least 1"),
    (lambda d: d["head"].update(logits="fc"), "$.head.logits", "must be 'conv' or 'dense'"),
    (lambda d: d["head"].update(logits="dense", spatial_squeeze=False), "$.head.spatial_squeeze", "dense logits"),
    (lambda d: d["head"].update(predictions="argmax"), "$.head.predictions", "must be 'softmax' or 'sigmoid'"),
    (lambda d: d.update(initializer="zeros"), "$.initializer", "must be 'slim'"),
    (lambda d: d.update(origin="two\nlines"), "$.origin", "must match"),
    (
        lambda d: d["blocks"][0].update(unit={"kind": "bottleneck_v2", "relu_leakiness": 0.2}),
        "$.blocks[0].unit.relu_leakiness",
        "unknown",
    ),
    (lambda d: d["blocks"][0].update(unit={"groups": 2}), "$.blocks[0].unit", "must be an object with a kind"),
    (
        lambda d: d["blocks"][1].update(unit={"kind": "torchvision_basic"}),
        "$.blocks[1].args[0].depth_bottleneck",
        "has no meaning in units of kind torchvision_basic",
    ),
    (
        lambda d: d["blocks"][1].update(unit={"kind": "cifar_bottleneck", "relu_leakiness": 1.0}),
        "$.blocks[1].unit.relu_leakiness",
        "less than 1",
    ),
    (
        lambda d: d["blocks"][1].update(unit={"kind": "cifar_bottleneck", "first_shortcut": True}),
        "$.blocks[1].unit.first_shortcut",
        "must be 'activated' or 'raw'",
    ),
]


@pytest.mark.parametrize(("fault", "path", "words"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_is_named_with_its_path(fault: Break, path: str, words: str) -> None:
    document = copy.deepcopy(tiny_document())
    fault(document)
    with pytest.raises(SpecError) as caught:
        parse_spec(json.dumps(document))
    assert caught.value.where == path
    assert words in caught.value.message
    assert "\n" not in str(caught.value)


def test_the_document_that_the_faults_are_made_from_is_valid() -> None:
    assert parse_spec(json.dumps(tiny_document())).name == "tiny"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"{", "line 1 column 2"),
        (b"[]", "must be an object, got []"),
        (b"null", "must be an object"),
        (b'{"name": "a", "name": "b"}', 'key "name" is given twice'),
        (b'{"weight_decay": NaN}', "NaN is not a JSON number"),
        (b'{"weight_decay": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"name": "\xff"}', "not UTF-8: byte 10 is 0xff"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, ""),
        (b'{"output_stride": ' + b"9" * 10_000 + b"}", "not JSON"),
    ],
)
def test_a_text_that_is_no_spec_is_refused_in_one_line(text: bytes, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_units_are_refused() -> None:
    document = tiny_document()
    args = {"depth": 16, "depth_bottleneck": 4, "stride": 1, "repeat": 4096}
    document["blocks"][0]["args"] = [args, args, args]
    with pytest.raises(SpecError, match=r"the network must have at most 10000 units, got 12290 @ \$\.blocks"):
        parse_spec(json.dumps(document))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read the spec: No such file"):
        read_spec(tmp_path / "none.json")
    with pytest.raises(SpecError, match="cannot read the spec: Is a directory"):
        read_spec(tmp_path)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(SpecError, match="more than 16 MiB"):
        read_spec(large)


def test_a_faulty_file_is_named_before_the_path(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(tiny_document() | {"output_stride": "8"}))
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert caught.value.where == f"{path}: $.output_stride"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("resnet18", "did you mean torchvision_resnet18 or"),
        ("ResNet-34", "did you mean torchvision_resnet34 or"),
        ("resnet18d", "did you mean timm_resnet18d?"),
        ("resnet18x", "did you mean torchvision_resnet18"),
        ("wide_resnet50_2", "did you mean torchvision_wide_resnet50_2?"),
        ("resnet20", "did you mean cifar_resnet20 or akamaster_resnet20?"),
        ("resnet50v2", "did you mean keras_resnet50v2 or tf_official_resnet50_v2?"),
        ("resnet_v1_51", "did you mean resnet_v1_50 or"),
        ("vgg16", "resnet-inspect --catalogue lists the names"),
        ("-", "resnet-inspect --catalogue lists the names"),
    ],
)
def test_a_name_that_the_catalogue_lacks_gets_a_hint(word: str, hint: str) -> None:
    with pytest.raises(SpecError, match=rf"@ {re.escape(word)} \({re.escape(hint)}"):
        load_spec(word)


def test_aliases_are_names_that_are_not_in_the_catalogue() -> None:
    assert not {*ALIASES} & {*catalogue()}
    for alias, name in ALIASES.items():
        network = load_spec(name)
        # Weights of another system may take their images otherwise.
        assert load_spec(alias).replace(input=network.input, origin=network.origin) == network
    assert load_spec("resnet_v2_50").name == "resnet_v2_50", "TF-slim's own name for it"


def test_a_name_and_its_file_are_the_same_spec() -> None:
    from resnet_compile.spec.catalogue import catalogue_folder

    assert load_spec("resnet50") == load_spec(catalogue_folder() / "resnet50.json")

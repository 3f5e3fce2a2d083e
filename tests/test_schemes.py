"""Preprocessing schemes as data: their names, their records in specs and metadata, and what is refused."""

import json
from typing import Any, get_args

import numpy as np
import pytest
from support.specs import tiny_document

from resnet_compile.errors import OptionError, SpecError
from resnet_compile.images import choose_scheme
from resnet_compile.metadata import Metadata
from resnet_compile.schemes import SCHEMES, Scheme, SchemeName, find_scheme, scheme_of_text, scheme_text
from resnet_compile.spec import NetworkSpec, build_spec, parse_spec, spec_text

RECORD = {
    "resize": {"kind": "stretch", "filter": "bicubic", "central": 0.9},
    "values": {"kind": "normalise", "divisor": 2.0, "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]},
    "channels": "bgr",
    "size": 48,
}


def spec_with(preprocess: Any) -> NetworkSpec:
    document = tiny_document()
    document["input"]["preprocess"] = preprocess
    return build_spec(document)


def test_every_name_of_the_language_has_its_scheme() -> None:
    assert tuple(SCHEMES) == get_args(SchemeName)
    for name, scheme in SCHEMES.items():
        assert find_scheme(name) is scheme
        assert spec_with(name).input.preprocess == name


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(OptionError, match=r"preprocess must be one of inception, vgg.*, got 'vgg16'"):
        find_scheme("vgg16")


@pytest.mark.parametrize("scheme", [*SCHEMES.values(), Scheme(**RECORD)], ids=[*SCHEMES, "custom"])
def test_a_record_travels_in_specs_and_metadata(scheme: Scheme) -> None:
    spec = spec_with(json.loads(scheme_text(scheme)))
    assert spec.input.preprocess == scheme
    assert parse_spec(spec_text(spec)) == spec
    metadata = Metadata(preprocess=scheme)
    assert Metadata.from_entries(metadata.entries()) == metadata


def test_text_that_begins_as_a_record_and_is_none_stays_text_of_others() -> None:
    for text in ('{"resize": 1}', "{"):
        with pytest.raises(ValueError, match=r"."):
            scheme_of_text(text)
        metadata = Metadata.from_entries({"resnet_compile.preprocess": text})
        assert (metadata.preprocess, metadata.others) == (None, {"preprocess": text})


def test_a_custom_scheme_is_what_its_record_says() -> None:
    """By Pillow and by hand: the middle of 10 x 20 without a margin of int(10 * 0.1 / 2) = 0 and 1 pixels."""
    from PIL import Image

    image = np.random.default_rng(3).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    middle = Image.fromarray(image[:, 1:19]).resize((9, 7), Image.Resampling.BICUBIC)
    expected = (np.asarray(middle, np.float64)[:, :, ::-1] / 2 - (1, 2, 3)) / (4, 5, 6)
    chosen = choose_scheme(Scheme(**RECORD), (None, None))
    assert (chosen.name, chosen.default_size) == ("custom", 48)
    np.testing.assert_allclose(chosen(image, 7, 9), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        ("vgg16", r"preprocess must be 'inception', .* or 'mlperf', got 'vgg16' @ \$\.input\.preprocess"),
        (5, r"preprocess must be an object, got 5 @ \$\.input\.preprocess"),
        ({**RECORD, "resize": {"kind": "area"}}, r"got 'area' @ \$\.input\.preprocess\.resize\.kind"),
        ({**RECORD, "crop": 1}, r"unknown key @ \$\.input\.preprocess\.crop \(it is a key of resize\)"),
        ({**RECORD, "values": {"kind": "normalise", "mean": [0.0, 0.0]}}, r"required @ .*\.values\.mean\[2\]"),
        (
            {**RECORD, "values": {"kind": "normalise", "std": [1.0, 1.0, 0.0]}},
            r"greater than 0.* @ .*\.values\.std\[2\]",
        ),
    ],
)
def test_a_faulty_scheme_is_refused_at_its_path(preprocess: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        spec_with(preprocess)


def test_a_description_says_every_number() -> None:
    assert Scheme(**RECORD).description == (
        "central 0.9 of each side, bicubic to the size, BGR, x / 2, mean 1/2/3, std 4/5/6"
    )
    assert SCHEMES["torchvision"].description == (
        "short side to size / 0.875 by bilinear, central crop, x / 255, mean 0.485/0.456/0.406, std 0.229/0.224/0.225"
    )

"""The rows of published weights: complete, about networks of the catalogue, and as their makers state them."""

import csv
from pathlib import Path

import pytest

import resnet_compile as rc
from resnet_compile.errors import OptionError
from resnet_compile.schemes import SCHEMES, Normalise, Scheme, ShortSide
from resnet_compile.spec.catalogue import ALIASES, catalogue_folder
from resnet_compile.spec.published import read_weights

ROWS = read_weights(catalogue_folder() / "weights.csv")
# `ImageClassification` presets of torchvision 0.29 and `pretrained_cfg` of timm 1.0.
IMAGENET = Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
BICUBIC_95 = Scheme(resize=ShortSide(filter="bicubic", crop=0.95), values=IMAGENET)


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_of_networks_of_the_catalogue(name: str) -> None:
    assert name in (*rc.catalogue(), *ALIASES)
    assert len({row.tag for row in ROWS[name]}) == len(ROWS[name])
    for row in ROWS[name]:
        assert row.link.startswith("http")
        assert row.source.startswith("http")


@pytest.mark.parametrize("name", ROWS)
def test_a_spec_takes_the_preprocessing_of_its_default_weights(name: str) -> None:
    preprocess = ROWS[name][0].preprocess
    assert preprocess is None or rc.load_spec(name).input.preprocess == preprocess


def test_the_origin_says_whose_preprocessing_it_is() -> None:
    origin = rc.load_spec("timm_seresnet50").origin
    assert origin == "timm.models.resnet.seresnet50, images as for the weights a1_in1k"


@pytest.mark.parametrize(
    ("name", "tag", "preprocess"),
    [
        ("timm_resnet50", "a1_in1k", BICUBIC_95),
        ("timm_resnet50", "tv_in1k", "torchvision"),
        ("timm_resnetv2_50", "a1h_in1k", "timm"),
        (
            "torchvision_resnet50",
            "IMAGENET1K_V2",
            BICUBIC_95.replace(resize=ShortSide(filter="bilinear", crop=0.965)),
        ),
        ("resnet_v2_50", "2017_04_14", "inception"),
        ("caffe2_resnet50", "MSRA/R-50", None),
    ],
)
def test_preprocessing_is_as_the_makers_state_it(name: str, tag: str, preprocess: str | Scheme | None) -> None:
    (row,) = [row for row in rc.published_weights(name) if row.tag == tag]
    assert row.preprocess == preprocess


def test_an_alias_has_the_weights_of_its_own_system() -> None:
    assert {row.network for row in rc.published_weights("timm_resnet18")} == {"timm_resnet18"}
    assert {row.network for row in rc.published_weights("torchvision_resnet18")} == {"torchvision_resnet18"}
    assert rc.load_spec("timm_resnet18").input.preprocess == BICUBIC_95
    assert rc.load_spec("torchvision_resnet18").input.preprocess == "torchvision"
    assert rc.published_weights("tiny") == ()


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    table = tmp_path / "weights.csv"
    row = {"network": "tiny", "tag": "x", "scheme": "vgg", "top1": "101", "link": "l", "source": "s"}
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(OptionError, match="top1 must be at most 100"):
        read_weights(table)


def test_schemes_of_rows_are_known() -> None:
    assert {row.scheme for rows in ROWS.values() for row in rows} <= {*SCHEMES, None}

"""What a hub's folder says of images: the documents are those that transformers 5.24 and timm 1.0.31 write."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import command
from support.hub import write_hub

from resnet_compile import NetworkSpec, compile, load_spec
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.quantize import quantize
from resnet_compile.schemes import SCHEMES, Normalise, Scheme, ShortSide, Stretch
from resnet_compile.weights.hub_images import hub_scheme

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVNEXT: dict[str, Any] = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": list(IMAGENET[0]),
    "image_processor_type": "ConvNextImageProcessor",
    "image_std": list(IMAGENET[1]),
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}
BIT = CONVNEXT | {
    "image_processor_type": "BitImageProcessor",
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "size": {"shortest_edge": 256},
}
VIT = CONVNEXT | {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}}
TIMM = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.95,
    "crop_mode": "center",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}
NORMALISED = Normalise(mean=IMAGENET[0], std=IMAGENET[1])
BICUBIC = Scheme(resize=ShortSide(filter="bicubic", crop=0.875), values=NORMALISED)


def said(folder: Path, preprocessor: object = None, config: object = ()) -> tuple[str | Scheme | None, str | None]:
    write_hub(folder, config or {})
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    with open_checkpoint(folder) as checkpoint:
        return hub_scheme(checkpoint)


@pytest.mark.parametrize(
    ("document", "scheme"),
    [
        (CONVNEXT, BICUBIC),
        (CONVNEXT | {"size": 224, "feature_extractor_type": "ConvNextFeatureExtractor"}, BICUBIC),
        (CONVNEXT | {"resample": 2}, "torchvision"),
        (
            CONVNEXT | {"size": {"shortest_edge": 384}},
            Scheme(resize=Stretch(filter="bicubic"), values=NORMALISED, size=384),
        ),
        (BIT, BICUBIC),
        (BIT | {"resample": 2, "crop_size": 224}, "torchvision"),
        (VIT, Scheme(resize=Stretch(filter="bicubic"), values=NORMALISED)),
        (VIT | {"do_normalize": False}, Scheme(resize=Stretch(filter="bicubic"), values=Normalise())),
        (
            VIT | {"do_rescale": False, "do_normalize": False, "do_flip_channel_order": True},
            Scheme(resize=Stretch(filter="bicubic"), values=Normalise(divisor=1.0), channels="bgr"),
        ),
    ],
)
def test_image_processors(document: object, scheme: str | Scheme, tmp_path: Path) -> None:
    assert said(tmp_path, document) == (scheme, "preprocessor_config.json")


@pytest.mark.parametrize("config", [{"pretrained_cfg": TIMM}, TIMM])
def test_timm(config: object, tmp_path: Path) -> None:
    assert said(tmp_path, config=config) == ("timm", "config.json")


@pytest.mark.parametrize("document", [None, {}, [], {"size": 224}])
def test_nothing_said(document: object, tmp_path: Path) -> None:
    assert said(tmp_path, document) == (None, None)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (CONVNEXT | {"resample": 1}, "the filter '1'"),
        (BIT | {"size": {"height": 256, "width": 256}}, "a crop without scaling by the short side"),
        (BIT | {"do_center_crop": False}, "a short side without a crop"),
        (BIT | {"crop_size": {"height": 224, "width": 192}}, "a size that is not square"),
        (VIT | {"do_pad": True}, "padding"),
        (VIT | {"rescale_offset": True}, "an offset after scaling"),
        (VIT | {"do_resize": False}, "images that are not resized"),
        (VIT | {"image_mean": [0.5]}, None),
        (VIT | {"rescale_factor": 0}, None),
        (VIT | {"size": {"height": "224", "width": []}}, "a size that is not square"),
        (VIT | {"size": {}}, None),
        (VIT | {"resample": []}, None),
    ],
)
def test_preprocessing_that_no_scheme_expresses_is_named(document: object, words: str | None, tmp_path: Path) -> None:
    unknown = (
        f"no scheme can express {words}, which preprocessor_config.json asks for; set preprocess in the spec's input"
    )
    nonsense = "the preprocessing in preprocessor_config.json makes no sense"
    assert said(tmp_path, document) == (None, unknown if words else nonsense)


def test_crop_modes_of_timm(tmp_path: Path) -> None:
    scheme, note = said(tmp_path, config=TIMM | {"crop_mode": "border"})
    assert (scheme, "the crop mode 'border'" in str(note)) == (None, True)
    square = Scheme(resize=Stretch(filter="bicubic"), values=SCHEMES["timm"].values)
    assert said(tmp_path, config=TIMM | {"crop_mode": "squash", "crop_pct": 1.0}) == (square, "config.json")


def spec_of(preprocess: Any) -> NetworkSpec:
    spec = load_spec("torchvision_resnet18")
    return spec.replace(input=spec.input.replace(preprocess=preprocess, height=32, width=32))


def test_what_a_spec_leaves_open_is_filled_told_and_recorded(tmp_path: Path) -> None:
    said(tmp_path, CONVNEXT)
    model = compile(spec_of(None), weights=tmp_path)
    assert model.notes[0] == f"images are preprocessed as preprocessor_config.json says: {BICUBIC.description}"
    assert model.format.metadata.preprocess == BICUBIC
    assert model.plan.spec.input.preprocess == BICUBIC
    quantized = quantize(spec_of(None), weights=tmp_path).model
    assert quantized.notes[0] == model.notes[0]
    assert quantized.format.metadata.preprocess == BICUBIC


def test_what_a_spec_says_stands_and_a_difference_is_told(tmp_path: Path) -> None:
    said(tmp_path, CONVNEXT)
    model = compile(spec_of("torchvision"), weights=tmp_path)
    told = "the spec preprocesses images as torchvision, but preprocessor_config.json says: short side"
    assert model.notes[0].startswith(told)
    assert '"preprocess": null' in model.notes[0]  # which the test above does
    assert model.format.metadata.preprocess == "torchvision"
    said(tmp_path, CONVNEXT | {"resample": 2, "size": {"shortest_edge": 288}})
    (note,) = compile(spec_of("torchvision"), weights=tmp_path).notes
    assert note.startswith("the names do not determine")


def test_what_cannot_be_said_matters_only_where_the_spec_says_nothing(tmp_path: Path) -> None:
    said(tmp_path, CONVNEXT | {"resample": 1})
    assert "no scheme can express" in compile(spec_of(None), weights=tmp_path).notes[0]
    assert len(compile(spec_of("torchvision"), weights=tmp_path).notes) == 1


def test_inspect_shows_it(tmp_path: Path) -> None:
    said(tmp_path, CONVNEXT)
    out = command("resnet-inspect", tmp_path).out
    assert f"\n  images: {BICUBIC.description} (preprocessor_config.json)\n" in out

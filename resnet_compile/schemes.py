"""Preprocessing schemes as data: from a decoded image to the numbers that a network was trained on.

A `Scheme` describes one completely. `images` applies it to arrays, and `lower` writes it as a graph. A model's metadata
hold its name or the scheme itself, and a spec may define its own.

The weights that each named scheme belongs to:

============= =====================================================================================================
inception     slim's ResNet v2 checkpoints (at 299). slim's factory says ``vgg`` for them; its README is right.
vgg           slim's ResNet v1 checkpoints, at 224
torchvision   torchvision's ResNet, ResNeXt and Wide ResNet weights, at 224
timm          timm's pre-activation weights with batch norm, such as ``resnetv2_50.a1h_in1k``, at 224
keras         Keras Applications' ``ResNet*V2``, at 224
caffe         Keras Applications' ``ResNet*``, at 224
cifar         the CIFAR networks of the old TensorFlow models, at 32
mlperf        MLPerf's ResNet-50, at 224, as its reference evaluates it. The network was trained with ``vgg``.
============= =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.checked import CheckedModel, Side
from resnet_compile.checked.text import parse_json
from resnet_compile.errors import OptionError

SchemeName = Literal["inception", "vgg", "torchvision", "timm", "keras", "caffe", "cifar", "mlperf"]
Filter = Literal["legacy_bilinear", "nearest", "bilinear", "bicubic", "area"]
"""The resampling filter. ``legacy_bilinear`` is TensorFlow 1's ``resize_bilinear(align_corners=False)``: no half-pixel
centres, no antialiasing, no rounding. ``area`` is OpenCV's ``INTER_AREA``: the mean of the covered pixels, rounded to 8
bits. The others are Pillow's, in 8 bits; ``bilinear`` and ``bicubic`` antialias when shrinking.
"""

LONGEST_ASPECT = 64
"""The greatest aspect ratio that Pillow's filters scale by the short side; a longer image first loses its ends.
Otherwise a strip one pixel high would become millions of pixels wide.
"""

_Fraction = Annotated[float, Field(gt=0, le=1)]
_Colours = Annotated[tuple[float, float, float], Field(strict=False)]
_Deviations = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    Field(strict=False),
]


class Stretch(CheckedModel):
    """Resizes the middle of the image to the network's size, ignoring its aspect ratio."""

    kind: Literal["stretch"] = "stretch"

    filter: Filter
    """The resampling filter."""

    central: _Fraction = 1.0
    """The part of each side that is kept, the margins truncated to whole pixels."""


class ShortSide(CheckedModel):
    """Scales the image by its short side, then crops the middle.

    The short side becomes `size / crop`, where `size` is the longer side of the network's input. The filter decides the
    rounding. Pillow's filters round as torchvision: both sides truncated, margins rounded half to even. The legacy
    filter rounds as slim: both sides rounded, margins truncated. The area filter rounds as MLPerf: all truncated.
    """

    kind: Literal["short_side"] = "short_side"

    filter: Filter
    """The resampling filter."""

    crop: _Fraction
    """The network's size over the scaled short side."""


class Normalise(CheckedModel):
    """``(x / divisor - mean) / std``, for pixels x from 0 to 255."""

    kind: Literal["normalise"] = "normalise"

    divisor: Annotated[float, Field(gt=0)] = 255.0
    """The divisor of the pixels: 255 brings them into 0 to 1."""

    mean: _Colours = (0.0, 0.0, 0.0)
    """Subtracted after the division: one number per channel, in the network's order of channels."""

    std: _Deviations = (1.0, 1.0, 1.0)
    """The divisor after the subtraction: one number per channel likewise."""

    @property
    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The factor of a pixel and what is added to it, a number per channel."""
        scale = tuple(1 / (self.divisor * std) for std in self.std)
        return scale, tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))


class Standardise(CheckedModel):
    """``(x - mean) / max(std, 1 / sqrt(count))`` over all pixels and channels of each image."""

    kind: Literal["standardise"] = "standardise"


class Scheme(CheckedModel):
    """One preprocessing scheme.

    Raises:
        OptionError: A field is wrong.
    """

    resize: Annotated[Stretch | ShortSide, Field(discriminator="kind")]
    """How an image of any size is resized to the network's."""

    values: Annotated[Normalise | Standardise, Field(discriminator="kind")]
    """How pixels from 0 to 255 are normalised."""

    channels: Literal["rgb", "bgr"] = "rgb"
    """The network's order of colour channels."""

    size: Side = 224
    """Side, in pixels, of the square input for networks whose size is dynamic."""

    @property
    def description(self) -> str:
        """The scheme in one line, for a reader."""
        return f"{_resizing(self.resize)}, {'' if self.channels == 'rgb' else 'BGR, '}{_scaling(self.values)}"


def _resizing(resize: Stretch | ShortSide) -> str:
    word = {"legacy_bilinear": "legacy bilinear", "nearest": "nearest neighbour"}.get(resize.filter, resize.filter)
    if isinstance(resize, ShortSide):
        return f"short side to size / {resize.crop:g} by {word}, central crop"
    return f"{f'central {resize.central:.4g} of each side, ' if resize.central < 1 else ''}{word} to the size"


def _scaling(values: Normalise | Standardise) -> str:
    if isinstance(values, Standardise):
        return "standardised image by image"
    steps = [f"x / {values.divisor:g}"] if values.divisor != 1 else []
    for word, numbers, idle in (("mean", values.mean, 0), ("std", values.std, 1)):
        if set(numbers) != {idle}:
            told = numbers[:1] if len(set(numbers)) == 1 else numbers
            steps.append(f"{word} {'/'.join(f'{number:g}' for number in told)}")
    return ", ".join(steps)


_HALF = (0.5, 0.5, 0.5)
_SIGNED = Normalise(divisor=255.0, mean=_HALF, std=_HALF)

SCHEMES: Mapping[SchemeName, Scheme] = MappingProxyType(
    {
        # slim's `inception_preprocessing.preprocess_for_eval`.
        "inception": Scheme(resize=Stretch(filter="legacy_bilinear", central=0.875), values=_SIGNED, size=299),
        # slim's `vgg_preprocessing.preprocess_for_eval`. slim always scales the short side to 256 and so cannot crop
        # more than that; 256 is 8/7 of its 224, and other sizes keep that ratio.
        "vgg": Scheme(
            resize=ShortSide(filter="legacy_bilinear", crop=0.875),
            values=Normalise(divisor=1.0, mean=(123.68, 116.78, 103.94)),
        ),
        # `Resize`, `CenterCrop`, `ToTensor`, `Normalize`.
        "torchvision": Scheme(
            resize=ShortSide(filter="bilinear", crop=0.875),
            values=Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ),
        # timm's evaluation transform, which is made of torchvision's.
        "timm": Scheme(resize=ShortSide(filter="bicubic", crop=0.95), values=_SIGNED),
        # `load_img(target_size=...)` with its default interpolation, then `preprocess_input(mode="tf")`.
        "keras": Scheme(resize=Stretch(filter="nearest"), values=Normalise(divisor=127.5, mean=(1.0, 1.0, 1.0))),
        # The same, then `preprocess_input(mode="caffe")`.
        "caffe": Scheme(
            resize=Stretch(filter="nearest"),
            values=Normalise(divisor=1.0, mean=(103.939, 116.779, 123.68)),
            channels="bgr",
        ),
        # The evaluation input of the CIFAR system, `tf.image.per_image_standardization`. Its images have the network's
        # size; those of another are resized here.
        "cifar": Scheme(resize=Stretch(filter="bilinear"), values=Standardise(), size=32),
        # `pre_process_vgg` of MLPerf inference's reference, by OpenCV.
        "mlperf": Scheme(
            resize=ShortSide(filter="area", crop=0.875),
            values=Normalise(divisor=1.0, mean=(123.68, 116.78, 103.94)),
        ),
    }
)
"""The named schemes."""


def find_scheme(name: str) -> Scheme:
    """Finds a scheme by its name.

    Raises:
        OptionError: The scheme is unknown; the message lists the known ones.
    """
    for known, scheme in SCHEMES.items():
        if known == name:
            return scheme
    raise OptionError(f"preprocess must be one of {', '.join(SCHEMES)}, got {name!r}")


def scheme_text(scheme: str | Scheme) -> str:
    """The text that `scheme_of_text` reads back: the scheme's name, or the scheme as JSON."""
    return scheme if isinstance(scheme, str) else scheme.model_dump_json()


def scheme_of_text(text: str) -> str | Scheme:
    """Reads a scheme from a model's metadata: a name, perhaps one unknown to this version, or a scheme as JSON.

    Raises:
        ValueError: The text begins like a JSON object, but is not a scheme.
    """
    if not text.startswith("{"):
        return text
    try:
        made: Scheme = parse_json(Scheme, text)
    except OptionError as error:
        raise ValueError(str(error)) from None
    return made

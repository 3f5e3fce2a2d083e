"""The named preprocessing schemes: from a decoded image to the numbers a network was trained on.

Each scheme is a row of `SCHEMES`. All take uint8 RGB ``[H, W, 3]`` of any size and give float32 ``[height, width, 3]``;
adding the batch axis and transposing for a channels-first network are the caller's.

Which weights want which scheme:

============= =====================================================================================================
inception     slim's ResNet v2 checkpoints (at 299). slim's factory says ``vgg`` for them; its README is right.
vgg           slim's ResNet v1 checkpoints, at 224
torchvision   torchvision's ResNet, ResNeXt and Wide ResNet weights, at 224
timm          timm's pre-activation weights with batch norm, such as ``resnetv2_50.a1h_in1k``, at 224
keras         Keras Applications' ``ResNet*V2``, at 224
caffe         Keras Applications' ``ResNet*``, at 224
cifar         the CIFAR networks of the old TensorFlow models, at 32
============= =====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_compile.errors import OptionError
from resnet_compile.images.decode import RgbImage
from resnet_compile.images.resize import Crop, Pixels, legacy_bilinear, pillow_resize

_VGG_RGB_MEANS = np.array([123.68, 116.78, 103.94], np.float32)
_CAFFE_BGR_MEANS = np.array([103.939, 116.779, 123.68], np.float32)
_HALF = (0.5, 0.5, 0.5)
_LONGEST_ASPECT = 64
_LARGEST_SMALL_SIDE = 64


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """One scheme.

    Attributes:
        name: What the command line and a model's metadata call it.
        description: One line for a person.
        default_size: Side of the square that the scheme's weights were trained or evaluated at, in pixels.
        function: ``(image uint8 [H, W, 3], height, width) -> float32 [height, width, 3]``.
        normalise: The last step of it alone, for images that were brought to their size in another way, as training
            does: ``uint8 [height, width, 3] -> float32 [height, width, 3]``.
    """

    name: str
    description: str
    default_size: int
    function: Callable[[RgbImage, int, int], Pixels]
    normalise: Callable[[RgbImage], Pixels]

    def __call__(self, image: RgbImage, height: int, width: int) -> Pixels:
        """Applies the scheme: uint8 ``[H, W, 3]`` to float32 ``[height, width, 3]``."""
        return self.function(image, height, width)


def inception(image: RgbImage, height: int, width: int) -> Pixels:
    """The central 87.5 % of each side, legacy bilinear to the size whatever the aspect ratio, into [-1, 1].

    slim's ``inception_preprocessing.preprocess_for_eval``.
    """
    rows, columns = (_central_span(side, 0.875) for side in image.shape[:2])
    # TensorFlow multiplies by the reciprocal where it converts to float, before the crop and the resize.
    return _signed(legacy_bilinear(image[rows, columns], height, width, scale=1 / 255))


def vgg(image: RgbImage, height: int, width: int) -> Pixels:
    """Short side to 8/7 of the size by legacy bilinear, central crop, minus the RGB means; stays near 0..255.

    slim's ``vgg_preprocessing.preprocess_for_eval``. slim always scales the short side to 256 and so cannot crop more
    than that; 256 is 8/7 of its 224, and other sizes keep that ratio (of the longer side where they are not square).
    """
    short_side = np.float32(round(max(height, width) * 256 / 224))
    source_height, source_width = image.shape[:2]
    ratio = short_side / np.float32(min(source_height, source_width))
    new_height, new_width = (int(np.rint(np.float32(side) * ratio)) for side in (source_height, source_width))
    window = Crop((new_height - height) // 2, (new_width - width) // 2, height, width)
    return _minus_rgb_means(legacy_bilinear(image, new_height, new_width, window=window))


def short_side_crop(
    image: RgbImage,
    height: int,
    width: int,
    *,
    crop_fraction: float,
    resample: Image.Resampling,
    normalise: Callable[[RgbImage], Pixels],
) -> Pixels:
    """Short side to ``size / crop_fraction`` by Pillow, central crop, then ``(x / 255 - mean) / std``.

    torchvision's ``Resize``, ``CenterCrop``, ``ToTensor``, ``Normalize``, and timm's evaluation transform, which is
    made of them. The resized long side is truncated; half a pixel of crop offset goes to the even side, as Python
    rounds. Where the size is not square, the longer side counts.
    """
    short_side = math.floor(max(height, width) / crop_fraction)
    image = _without_far_ends(image)
    source_height, source_width = image.shape[:2]
    if source_height <= source_width:
        new_height, new_width = short_side, int(short_side * source_width / source_height)
    else:
        new_height, new_width = int(short_side * source_height / source_width), short_side
    top, left = round((new_height - height) / 2), round((new_width - width) / 2)
    resized = pillow_resize(image, new_height, new_width, resample)
    return normalise(resized[top : top + height, left : left + width])


def keras_tf(image: RgbImage, height: int, width: int) -> Pixels:
    """Nearest neighbour to the size whatever the aspect ratio, ``x / 127.5 - 1``.

    Keras's ``load_img(target_size=...)`` with its default interpolation, then ``preprocess_input(mode="tf")``.
    """
    return _signed_tf(_nearest(image, height, width))


def keras_caffe(image: RgbImage, height: int, width: int) -> Pixels:
    """Nearest neighbour to the size whatever the aspect ratio, **BGR**, minus the means; stays near 0..255.

    Keras's ``load_img(target_size=...)`` with its default interpolation, then ``preprocess_input(mode="caffe")``.
    """
    return _minus_bgr_means(_nearest(image, height, width))


def cifar(image: RgbImage, height: int, width: int) -> Pixels:
    """Per-image standardisation, ``(x - mean) / max(std, 1 / sqrt(count))`` over all pixels and channels.

    The evaluation input of the CIFAR system and TensorFlow's ``per_image_standardization``; a constant image gives
    zeros. CIFAR's own images have the network's size and are not resized; others are, by Pillow's antialiased
    bilinear filter, whatever their aspect ratio.
    """
    if image.shape[:2] != (height, width):
        image = pillow_resize(image, height, width, Image.Resampling.BILINEAR)
    return standardise(image)


def standardise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``(x - mean) / max(std, 1 / sqrt(count))`` of each image over all its pixels and channels.

    The mean and the population deviation come from integer sums, so they do not depend on the order of summing.

    Args:
        images: uint8 ``[..., H, W, 3]`` or ``[..., 3, H, W]``.

    Returns:
        float32 of the same shape.
    """
    values = images.astype(np.float64)
    axes = (-3, -2, -1)
    count = math.prod(images.shape[-3:])
    total = values.sum(axis=axes, keepdims=True)
    squares = np.square(values).sum(axis=axes, keepdims=True)
    deviation = np.sqrt(np.maximum(count * squares - total * total, 0)) / count
    values -= total / count
    values /= np.maximum(deviation, 1 / math.sqrt(count))
    return values.astype(np.float32)


def _signed(unit: Pixels) -> Pixels:
    """[0, 1] to [-1, 1], as slim does."""
    return (unit - np.float32(0.5)) * np.float32(2)


def _signed_from_bytes(image: RgbImage) -> Pixels:
    return _signed(image.astype(np.float32) * np.float32(1 / 255))


def _minus_rgb_means(image: RgbImage | Pixels) -> Pixels:
    return image.astype(np.float32, copy=False) - _VGG_RGB_MEANS


def _standard(image: RgbImage, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Pixels:
    unit = image.astype(np.float32) / np.float32(255)
    normalised: Pixels = np.divide(unit - np.array(mean, np.float32), np.array(std, np.float32))
    return normalised


def _signed_tf(image: RgbImage | Pixels) -> Pixels:
    return image.astype(np.float32, copy=False) / np.float32(127.5) - np.float32(1)


def _minus_bgr_means(image: RgbImage | Pixels) -> Pixels:
    return np.ascontiguousarray(image[:, :, ::-1], np.float32) - _CAFFE_BGR_MEANS


def _central_span(side: int, fraction: float) -> slice:
    """What ``tf.image.central_crop`` keeps of a side: the margins are truncated to whole pixels."""
    margin = int((side - side * fraction) / 2)
    return slice(margin, side - margin)


def _nearest(image: RgbImage, height: int, width: int) -> Pixels:
    return pillow_resize(image, height, width, Image.Resampling.NEAREST).astype(np.float32)


def _without_far_ends(image: RgbImage) -> RgbImage:
    """Cuts a long side to `_LONGEST_ASPECT` times the short one, equally at both ends.

    Scaled by the short side, a strip one pixel high would become millions of pixels wide, of which a central crop then
    shows a few hundred.
    """
    height, width = image.shape[:2]
    rows, columns = (max(side - _LONGEST_ASPECT * min(height, width), 0) // 2 for side in (height, width))
    return image[rows : height - rows, columns : width - columns]


def _cropped(
    name: str,
    description: str,
    fraction: float,
    resample: Image.Resampling,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Preprocessing:
    """A scheme of `short_side_crop`."""
    normalise = partial(_standard, mean=mean, std=std)
    function = partial(short_side_crop, crop_fraction=fraction, resample=resample, normalise=normalise)
    return Preprocessing(name, description, 224, function, normalise)


_BILINEAR, _BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
_ROWS = (
    Preprocessing(
        "inception", "central 87.5 %, legacy bilinear, [-1, 1]: slim ResNet v2", 299, inception, _signed_from_bytes
    ),
    Preprocessing(
        "vgg", "short side 256, legacy bilinear, crop, minus RGB means: slim ResNet v1", 224, vgg, _minus_rgb_means
    ),
    _cropped(
        "torchvision",
        "short side 256, bilinear, crop, mean and std: torchvision",
        224 / 256,
        _BILINEAR,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
    _cropped("timm", "crop 95 %, bicubic, [-1, 1]: timm pre-activation", 0.95, _BICUBIC, _HALF, _HALF),
    Preprocessing("keras", "nearest neighbour, [-1, 1]: Keras ResNet V2", 224, keras_tf, _signed_tf),
    Preprocessing("caffe", "nearest neighbour, BGR minus means: Keras ResNet V1", 224, keras_caffe, _minus_bgr_means),
    Preprocessing("cifar", "per-image standardisation: CIFAR networks", 32, cifar, standardise),
)
SCHEMES: Mapping[str, Preprocessing] = MappingProxyType({row.name: row for row in _ROWS})


def find_scheme(name: str) -> Preprocessing:
    """The scheme of that name.

    Raises:
        OptionError: There is none; the message lists those there are.
    """
    try:
        return SCHEMES[name]
    except KeyError:
        raise OptionError(f"no preprocessing scheme is called {name!r}", hint=f"one of {', '.join(SCHEMES)}") from None


def choose_scheme(name: str | None, size: tuple[int | None, int | None]) -> Preprocessing:
    """The scheme of a network.

    Args:
        name: What the network calls it; None where it names none: then it is `cifar` if neither side of the input is
            longer than 64 pixels, else `inception`.
        size: Rows and columns of its input; None where it leaves them open.

    Raises:
        OptionError: There is no scheme of that name.
    """
    small = all(side is not None and side <= _LARGEST_SMALL_SIDE for side in size)
    return find_scheme(name or ("cifar" if small else "inception"))

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
from PIL import Image

from resnet_compile.errors import OptionError
from resnet_compile.images.decode import RgbImage
from resnet_compile.images.resize import Pixels, Window, legacy_bilinear, pillow_resize

_VGG_RGB_MEANS = np.array([123.68, 116.78, 103.94], np.float32)
_CAFFE_BGR_MEANS = np.array([103.939, 116.779, 123.68], np.float32)
_TORCHVISION_MEAN = (0.485, 0.456, 0.406)
_TORCHVISION_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_LONGEST_ASPECT = 64


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """One scheme.

    Attributes:
        name: What the command line and a model's metadata call it.
        description: One line for a person.
        default_size: Side of the square that the scheme's weights were trained or evaluated at, in pixels.
        function: ``(image uint8 [H, W, 3], height, width) -> float32 [height, width, 3]``.
    """

    name: str
    description: str
    default_size: int
    function: Callable[[RgbImage, int, int], Pixels]

    def __call__(self, image: RgbImage, height: int, width: int) -> Pixels:
        """Applies the scheme: uint8 ``[H, W, 3]`` to float32 ``[height, width, 3]``."""
        return self.function(image, height, width)


def inception(image: RgbImage, height: int, width: int) -> Pixels:
    """The central 87.5 % of each side, legacy bilinear to the size whatever the aspect ratio, into [-1, 1].

    slim's ``inception_preprocessing.preprocess_for_eval``.
    """
    rows, columns = (_central_span(side, 0.875) for side in image.shape[:2])
    # TensorFlow multiplies by the reciprocal where it converts to float, before the crop and the resize.
    unit = legacy_bilinear(image[rows, columns], height, width, scale=1 / 255)
    return (unit - np.float32(0.5)) * np.float32(2)


def vgg(image: RgbImage, height: int, width: int) -> Pixels:
    """Short side to 8/7 of the size by legacy bilinear, central crop, minus the RGB means; stays near 0..255.

    slim's ``vgg_preprocessing.preprocess_for_eval``. slim always scales the short side to 256 and so cannot crop more
    than that; 256 is 8/7 of its 224, and other sizes keep that ratio (of the longer side where they are not square).
    """
    short_side = np.float32(round(max(height, width) * 256 / 224))
    source_height, source_width = image.shape[:2]
    ratio = short_side / np.float32(min(source_height, source_width))
    new_height, new_width = (int(np.rint(np.float32(side) * ratio)) for side in (source_height, source_width))
    window = Window((new_height - height) // 2, (new_width - width) // 2, height, width)
    return legacy_bilinear(image, new_height, new_width, window=window) - _VGG_RGB_MEANS


def short_side_crop(
    image: RgbImage,
    height: int,
    width: int,
    *,
    crop_fraction: float,
    resample: Image.Resampling,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Pixels:
    """Short side to ``size / crop_fraction`` by Pillow, central crop, ``(x / 255 - mean) / std``.

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
    unit = resized[top : top + height, left : left + width].astype(np.float32) / np.float32(255)
    normalised: Pixels = np.divide(unit - np.array(mean, np.float32), np.array(std, np.float32))
    return normalised


def keras_tf(image: RgbImage, height: int, width: int) -> Pixels:
    """Nearest neighbour to the size whatever the aspect ratio, ``x / 127.5 - 1``.

    Keras's ``load_img(target_size=...)`` with its default interpolation, then ``preprocess_input(mode="tf")``.
    """
    return _nearest(image, height, width) / np.float32(127.5) - np.float32(1)


def keras_caffe(image: RgbImage, height: int, width: int) -> Pixels:
    """Nearest neighbour to the size whatever the aspect ratio, **BGR**, minus the means; stays near 0..255.

    Keras's ``load_img(target_size=...)`` with its default interpolation, then ``preprocess_input(mode="caffe")``.
    """
    return np.ascontiguousarray(_nearest(image, height, width)[:, :, ::-1]) - _CAFFE_BGR_MEANS


def cifar(image: RgbImage, height: int, width: int) -> Pixels:
    """Per-image standardisation, ``(x - mean) / max(std, 1 / sqrt(count))`` over all pixels and channels.

    The evaluation input of the CIFAR system and TensorFlow's ``per_image_standardization``; a constant image gives
    zeros. CIFAR's own images have the network's size and are not resized; others are, by Pillow's antialiased
    bilinear filter, whatever their aspect ratio.
    """
    if image.shape[:2] != (height, width):
        image = pillow_resize(image, height, width, Image.Resampling.BILINEAR)
    deviation = max(float(np.std(image)), 1 / math.sqrt(image.size))
    return ((image - np.mean(image)) / deviation).astype(np.float32)


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


_torchvision = partial(
    short_side_crop,
    crop_fraction=224 / 256,
    resample=Image.Resampling.BILINEAR,
    mean=_TORCHVISION_MEAN,
    std=_TORCHVISION_STD,
)
_timm = partial(short_side_crop, crop_fraction=0.95, resample=Image.Resampling.BICUBIC, mean=_HALF, std=_HALF)

SCHEMES: Mapping[str, Preprocessing] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Preprocessing("inception", "central 87.5 %, legacy bilinear, [-1, 1]: slim ResNet v2", 299, inception),
            Preprocessing("vgg", "short side 256, legacy bilinear, crop, minus RGB means: slim ResNet v1", 224, vgg),
            Preprocessing(
                "torchvision", "short side 256, bilinear, crop, mean and std: torchvision", 224, _torchvision
            ),
            Preprocessing("timm", "crop 95 %, bicubic, [-1, 1]: timm pre-activation", 224, _timm),
            Preprocessing("keras", "nearest neighbour, [-1, 1]: Keras ResNet V2", 224, keras_tf),
            Preprocessing("caffe", "nearest neighbour, BGR minus means: Keras ResNet V1", 224, keras_caffe),
            Preprocessing("cifar", "per-image standardisation: CIFAR networks", 32, cifar),
        )
    }
)


def find_scheme(name: str) -> Preprocessing:
    """The scheme of that name.

    Raises:
        OptionError: There is none; the message lists those there are.
    """
    try:
        return SCHEMES[name]
    except KeyError:
        raise OptionError(f"no preprocessing scheme is called {name!r}", hint=f"one of {', '.join(SCHEMES)}") from None

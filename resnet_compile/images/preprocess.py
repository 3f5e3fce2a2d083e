"""Preprocessing schemes on arrays: from a decoded image to the numbers that a network was trained on.

`resnet_compile.schemes` defines the schemes. All take uint8 RGB ``[H, W, 3]`` of any size and give float32
``[height, width, 3]``; adding the batch axis and transposing for a channels-first network are the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_compile import schemes
from resnet_compile.images.decode import RgbImage
from resnet_compile.images.resize import Crop, Pixels, area_resize, legacy_bilinear, pillow_resize
from resnet_compile.schemes import LONGEST_ASPECT, Normalise, Scheme, ShortSide, Stretch

_LARGEST_SMALL_SIDE = 64
_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A preprocessing scheme as a function.

    Attributes:
        name: The scheme's name on the command line and in metadata; `custom` if it has none.
        scheme: The scheme.
        fast: Whether large JPEGs are decoded at a fraction of their size, which changes every pixel.
    """

    name: str
    scheme: Scheme
    fast: bool = False

    @property
    def description(self) -> str:
        """One line for a person."""
        return self.scheme.description

    @property
    def default_size(self) -> int:
        """Side of the square, in pixels, for networks that leave their size open."""
        return self.scheme.size

    def least_side(self, height: int, width: int) -> int | None:
        """The `least_side` for `decode_image`: if `fast`, the shortest side that the scheme does not enlarge."""
        if not self.fast:
            return None
        resize = self.scheme.resize
        return math.ceil(max(height, width) / (resize.central if isinstance(resize, Stretch) else resize.crop))

    def __call__(self, image: RgbImage, height: int, width: int) -> Pixels:
        """Applies the scheme: uint8 ``[H, W, 3]`` to float32 ``[height, width, 3]``."""
        resize = self.scheme.resize
        if resize.filter == "legacy_bilinear":
            return self._shifted(_legacy(image, height, width, resize, _reciprocal(self.scheme)))
        resized = _by_area if resize.filter == "area" else _by_pillow
        return self.normalise(resized(image, height, width, resize))

    def normalise(self, image: RgbImage) -> Pixels:
        """The last step alone, for images that were resized in another way, as in training:
        uint8 ``[height, width, 3]`` to float32 ``[height, width, 3]``.
        """
        values = self.scheme.values
        if not isinstance(values, Normalise):
            return standardise(image)
        pixels = image.astype(np.float32)
        if self.scheme.resize.filter == "legacy_bilinear":
            return self._shifted(pixels * _reciprocal(self.scheme))
        return self._shifted(pixels / np.float32(values.divisor))

    def _shifted(self, pixels: Pixels) -> Pixels:
        """Subtracts the mean and divides by the deviation, or standardises, in the network's order of channels."""
        values = self.scheme.values
        if not isinstance(values, Normalise):
            return standardise(pixels)
        if self.scheme.channels == "bgr":
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        shifted: Pixels = np.divide(pixels - np.array(values.mean, np.float32), np.array(values.std, np.float32))
        return shifted


def _reciprocal(scheme: Scheme) -> np.float32:
    """The factor 1 / divisor: TensorFlow applies it on conversion to float, before resizing; users of Pillow after."""
    return np.float32(1 / scheme.values.divisor) if isinstance(scheme.values, Normalise) else np.float32(1)


def _legacy(image: RgbImage, height: int, width: int, resize: Stretch | ShortSide, scale: np.float32) -> Pixels:
    """TensorFlow's resize of the middle or of the whole; only the pixels in the crop are computed."""
    if isinstance(resize, Stretch):
        return legacy_bilinear(_middle(image, resize.central), height, width, scale=float(scale))
    short_side = np.float32(round(max(height, width) / resize.crop))
    source_height, source_width = image.shape[:2]
    ratio = short_side / np.float32(min(source_height, source_width))
    new_height, new_width = (int(np.rint(np.float32(side) * ratio)) for side in (source_height, source_width))
    window = Crop((new_height - height) // 2, (new_width - width) // 2, height, width)
    return legacy_bilinear(image, new_height, new_width, window=window, scale=float(scale))


def _by_area(image: RgbImage, height: int, width: int, resize: Stretch | ShortSide) -> RgbImage:
    """OpenCV's resize of the middle or by the short side; only the pixels in the crop are computed."""
    if isinstance(resize, Stretch):
        return area_resize(_middle(image, resize.central), height, width)
    short_side = math.floor(max(height, width) / resize.crop)
    new_height, new_width = (short_side * side // min(image.shape[:2]) for side in image.shape[:2])
    window = Crop((new_height - height) // 2, (new_width - width) // 2, height, width)
    return area_resize(image, new_height, new_width, window=window)


def _by_pillow(image: RgbImage, height: int, width: int, resize: Stretch | ShortSide) -> RgbImage:
    """Pillow's resize, of the middle or by the short side; an image of that size already is unchanged."""
    resample = _PILLOW[resize.filter]
    if isinstance(resize, Stretch):
        middle = _middle(image, resize.central)
        return middle if middle.shape[:2] == (height, width) else pillow_resize(middle, height, width, resample)
    short_side = math.floor(max(height, width) / resize.crop)
    image = _without_far_ends(image)
    source_height, source_width = image.shape[:2]
    if source_height <= source_width:
        new_height, new_width = short_side, int(short_side * source_width / source_height)
    else:
        new_height, new_width = int(short_side * source_height / source_width), short_side
    top, left = round((new_height - height) / 2), round((new_width - width) / 2)
    return pillow_resize(image, new_height, new_width, resample)[top : top + height, left : left + width]


def standardise(images: NDArray[np.uint8] | Pixels) -> NDArray[np.float32]:
    """``(x - mean) / max(std, 1 / sqrt(count))`` of each image over all its pixels and channels.

    The mean and the population deviation come from sums in float64, which are exact for integers, so the order of
    summing does not matter.

    Args:
        images: ``[..., H, W, 3]`` or ``[..., 3, H, W]``, usually uint8.

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


def _middle(image: RgbImage, fraction: float) -> RgbImage:
    """The part that ``tf.image.central_crop`` keeps; margins are truncated to whole pixels."""
    rows, columns = (int((side - side * fraction) / 2) for side in image.shape[:2])
    return image[rows : image.shape[0] - rows, columns : image.shape[1] - columns]


def _without_far_ends(image: RgbImage) -> RgbImage:
    """Cuts a long side to `LONGEST_ASPECT` times the short one, equally at both ends."""
    height, width = image.shape[:2]
    rows, columns = (max(side - LONGEST_ASPECT * min(height, width), 0) // 2 for side in (height, width))
    return image[rows : height - rows, columns : width - columns]


SCHEMES: Mapping[str, Preprocessing] = MappingProxyType(
    {name: Preprocessing(name, scheme) for name, scheme in schemes.SCHEMES.items()}
)
"""The named schemes."""

CUSTOM = "custom"
"""The name shown for a scheme without a name."""


def find_scheme(name: str) -> Preprocessing:
    """Finds a scheme by its name; raises as `schemes.find_scheme`."""
    schemes.find_scheme(name)
    return SCHEMES[name]


def choose_scheme(scheme: str | Scheme | None, size: tuple[int | None, int | None]) -> Preprocessing:
    """Chooses the scheme of a network.

    Args:
        scheme: The network's scheme, or its name. None chooses by size: `cifar` if neither side of the input is longer
            than 64 pixels, else `inception`.
        size: Rows and columns of the input; None for a dynamic side.

    Raises:
        OptionError: There is no scheme of that name.
    """
    if isinstance(scheme, Scheme):
        return Preprocessing(CUSTOM, scheme)
    small = all(side is not None and side <= _LARGEST_SMALL_SIDE for side in size)
    return find_scheme(scheme or ("cifar" if small else "inception"))


def guess_note(scheme: str | Scheme | None, size: tuple[int | None, int | None]) -> str | None:
    """A note for the user if a spec has no scheme: which one `choose_scheme` takes; otherwise None."""
    if scheme is not None:
        return None
    return f"the spec names no preprocessing scheme; images are prepared by a guess, {choose_scheme(None, size).name}"

"""Decoding images, preprocessing them by named schemes, and class labels."""

from resnet_compile.images.decode import RgbImage, decode_image
from resnet_compile.images.find import find_images
from resnet_compile.images.preprocess import (
    SCHEMES,
    Preprocessing,
    choose_scheme,
    find_scheme,
    guess_note,
    standardise,
)
from resnet_compile.images.resize import pillow_resize
from resnet_compile.images.thumbnail import picture, thumbnail
from resnet_compile.labels import align_labels, load_labels

__all__ = [
    "SCHEMES",
    "Preprocessing",
    "RgbImage",
    "align_labels",
    "choose_scheme",
    "decode_image",
    "find_images",
    "find_scheme",
    "guess_note",
    "load_labels",
    "picture",
    "pillow_resize",
    "standardise",
    "thumbnail",
]

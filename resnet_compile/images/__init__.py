"""Images on their way to a network: decoding, the named preprocessing schemes and class labels; knows no networks."""

from resnet_compile.images.decode import RgbImage, decode_image
from resnet_compile.images.find import find_images
from resnet_compile.images.labels import align_labels, load_labels
from resnet_compile.images.preprocess import SCHEMES, Preprocessing, find_scheme

__all__ = [
    "SCHEMES",
    "Preprocessing",
    "RgbImage",
    "align_labels",
    "decode_image",
    "find_images",
    "find_scheme",
    "load_labels",
]

"""Decoding any image that Pillow opens to RGB pixels.

Pixels follow TensorFlow's ``decode_image(channels=3)``, which the original systems used, wherever that is defined:

- transparency is dropped, not composited: the colour stored under a transparent pixel is what the network sees;
- 16-bit samples keep their high byte;
- greyscale is repeated over the three channels, a palette is looked up;
- of an animation or a multi-page file the first frame is taken.

JPEG pixels equal TensorFlow's with ``dct_method="INTEGER_ACCURATE"``; its default is the fast transform, which moves
them by up to a few levels of 255.

One thing differs on purpose. TensorFlow ignores the EXIF orientation tag; here it is applied, since every viewer
applies it and a classifier should see what its user sees. ``exif_orientation=False`` restores the original.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from resnet_compile.errors import ImageError

RgbImage = NDArray[np.uint8]
"""Pixels ``[H, W, 3]``, uint8, RGB, the first row on top."""

# Exceptions that Pillow's format plugins do not catch when they parse a damaged file.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# `warnings.catch_warnings` swaps state of the whole process, and decoding runs on several threads.
_header_lock = threading.Lock()


def decode_image(
    source: str | os.PathLike[str] | bytes, *, exif_orientation: bool = True, least_side: int | None = None
) -> RgbImage:
    """Decodes one image.

    Args:
        source: A file's path, or the bytes of a file.
        exif_orientation: Turn and mirror the pixels as the file's EXIF orientation says.
        least_side: Decode a JPEG by libjpeg's scaled transforms at 1/8, 1/4 or 1/2 of its size: the smallest at which
            no side is shorter than this. The pixels differ from those of the full size. None for the full size.

    Returns:
        uint8 ``[H, W, 3]``, RGB, C-contiguous.

    Raises:
        ImageError: The file is missing, not an image, damaged or truncated, claims more pixels than Pillow's
            decompression-bomb limit (twice ``PIL.Image.MAX_IMAGE_PIXELS``, 179 million), or has samples without an
            agreed range (32-bit integers, floating point).
    """
    name = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
    with _errors_naming(name):
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        with _header_lock, warnings.catch_warnings():
            # Pillow warns at half the bomb limit and of odd metadata; the pixels are right in both cases.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
        with image:
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            image.load()
            if exif_orientation:
                ImageOps.exif_transpose(image, in_place=True)
            return np.ascontiguousarray(_rgb(image, name))


def _rgb(image: Image.Image, name: str) -> RgbImage:
    """The pixels of a loaded image of any mode."""
    # Pillow opens some 16-bit files as 32-bit integers; these two formats have no wider samples.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow's own conversion clips to 255, which turns most of a 16-bit image white.
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        kind = "32-bit integer" if image.mode == "I" else "floating-point"
        raise ImageError(
            f"{kind} samples have no agreed range", where=name, hint="convert the image to 8 or 16 bits per sample"
        )
    if image.mode in ("P", "PA"):
        # Straight to RGB, Pillow warns of palettes with transparency; by way of RGBA it looks up the same colours.
        image = image.convert("RGBA")
    elif image.mode.endswith("a"):
        # RGBa and La hold colours multiplied by their alpha.
        image = image.convert(image.mode.upper())
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


@contextmanager
def _errors_naming(name: str) -> Iterator[None]:
    """Turns any exception of reading and decoding into an `ImageError` that names the file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        hint = "an image this large is refused before it is decoded; scale it down first"
        raise ImageError(f"too many pixels: {_sentence(error)}", where=name, hint=hint) from error
    except UnidentifiedImageError as error:
        raise ImageError("not an image of a known format", where=name) from error
    except MemoryError as error:
        raise ImageError("not enough memory to decode the image", where=name) from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"cannot read the image: {error.strerror}", where=name) from error
        raise ImageError(f"damaged image: {_sentence(error)}", where=name) from error


def _sentence(error: Exception) -> str:
    """An exception's text on one line, or its class if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__

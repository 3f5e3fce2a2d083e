"""Small copies of images, for pages."""

from __future__ import annotations

import io

from PIL import Image

from resnet_compile.images.decode import RgbImage


def thumbnail(image: RgbImage, side: int) -> bytes:
    """A JPEG file of the image, whose longer side is at most so many pixels."""
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()

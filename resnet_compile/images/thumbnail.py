"""Small copies of images, for pages and notebooks."""

from __future__ import annotations

import base64
import io

from PIL import Image

from resnet_compile.images.decode import RgbImage


def thumbnail(image: RgbImage, side: int) -> bytes:
    """The image as a JPEG file whose longer side is at most `side` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def picture(jpeg: bytes) -> str:
    """A self-contained HTML element that shows a JPEG file."""
    source = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    return f'<img src="{source}" alt="" style="max-width:100%">'

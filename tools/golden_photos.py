"""Makes ``tests/golden/photos.npz``: what the original systems make of two photographs of odd sizes.

Runs where ``tools/golden_images.py`` does, which has the originals, with scikit-image's folder of data beside::

    python tools/golden_photos.py site-packages/skimage/data tests/golden/photos.npz

The photographs are scikit-image's ``chelsea`` (a cat, by Stefan van der Walt) and ``coffee`` (by Rachel Michetti), both
dedicated to the public domain (CC0), the second without some rows and columns so that its sides are odd.

Keys: ``photo/<name>`` the bytes of a JPEG file; ``<scheme>/<name>/<height>x<width>`` float32, every `STRIDE`-th row and
column of the result.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from golden_images import SCHEMES
from PIL import Image

SIZES = [(224, 224), (299, 299), (97, 161)]
STRIDE = 13


def main(data: Path, path: Path) -> None:
    """Writes all arrays to `path`."""
    arrays: dict[str, np.ndarray] = {"stride": np.int64(STRIDE)}
    for name, box in {"chelsea": (0, 0, 451, 300), "coffee": (0, 0, 599, 397)}.items():
        buffer = io.BytesIO()
        Image.open(data / f"{name}.png").convert("RGB").crop(box).save(buffer, "JPEG", quality=80)
        arrays[f"photo/{name}"] = np.frombuffer(buffer.getvalue(), np.uint8)
        image = np.asarray(Image.open(buffer))
        for scheme, function in SCHEMES.items():
            for height, width in SIZES:
                result = function(image, height, width)[::STRIDE, ::STRIDE]
                arrays[f"{scheme}/{name}/{height}x{width}"] = result.astype(np.float32)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

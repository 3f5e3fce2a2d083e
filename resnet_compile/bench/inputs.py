"""Inputs to time a model on: random images of the shape that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.runtime import ImageInput

DEFAULT_BATCH = 32
"""The batch size of the original benchmark, which times ResNet-152 of TF-slim."""
DEFAULT_SIZE = (224, 224)
"""The rows and columns of its images."""


def random_images(source: ImageInput, shape: tuple[int, ...], count: int, seed: int) -> list[dict[str, NDArray[Any]]]:
    """Random sets of inputs, `count` of them. Zeros would not do, since a processor multiplies them faster.

    Values are uniform on [0, 1), as the original's are. A model that takes photographs gets uniform pixels, 0 to 255.
    """
    generator = np.random.default_rng(seed)
    if source.takes_photographs:
        return [source.feed(generator.integers(0, 256, shape, np.uint8)) for _ in range(count)]
    return [source.feed(generator.random(shape, np.float32)) for _ in range(count)]

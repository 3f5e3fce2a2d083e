"""Inputs to time a model on: random images of the shape that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.runtime import ImageInput

DEFAULT_BATCH = 32
"""The original's."""
DEFAULT_SIZE = (224, 224)
"""The original's."""


def random_images(source: ImageInput, shape: tuple[int, ...], count: int, seed: int) -> list[dict[str, NDArray[Any]]]:
    """Sets of inputs, uniform on [0, 1) as the original's, or on all pixels of a model that takes photographs; random,
    since a processor multiplies zeros faster.
    """
    generator = np.random.default_rng(seed)
    if source.takes_photographs:
        return [source.feed(generator.integers(0, 256, shape, np.uint8)) for _ in range(count)]
    return [source.feed(generator.random(shape, np.float32)) for _ in range(count)]

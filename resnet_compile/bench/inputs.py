"""Inputs to time a model on: random images of the shape that it takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ModelFileError, OptionError
from resnet_compile.runtime import Session, TensorInfo

DEFAULT_BATCH = 32
"""The original's."""
DEFAULT_SIZE = (224, 224)
"""The original's."""


def image_shape(session: Session, batch: int | None, size: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape of a batch for an image network.

    Args:
        session: The network.
        batch: Images at a time; None for the model's own number, or 32 where it leaves that open.
        size: Rows and columns where the model leaves them open; None for 224 of each.

    Raises:
        ModelFileError: The model does not take one batch of images.
        OptionError: The model takes batches of another size.
    """
    infos = list(session.inputs.values())
    if len(infos) != 1:
        raise ModelFileError(f"not an image network: it has {len(infos)} inputs, not one")
    info = infos[0]
    # The number of channels is always known, as weights depend on it.
    if len(info.shape) != 4 or not info.dtype.startswith("float") or not _known(info, 1) | _known(info, 3):
        raise ModelFileError(f"not an image network: its input is {info}")
    own = info.shape[0] if isinstance(info.shape[0], int) else None
    if own and batch not in (None, own):
        raise OptionError(f"the model takes {own} images at a time, not {batch}")
    rows, columns = size or DEFAULT_SIZE
    open_axes = (DEFAULT_BATCH, 0, rows, columns) if _known(info, 1) else (DEFAULT_BATCH, rows, columns, 0)
    shape = [axis if isinstance(axis, int) else default for axis, default in zip(info.shape, open_axes, strict=True)]
    return (batch or shape[0], *shape[1:])


def _known(info: TensorInfo, axis: int) -> bool:
    return isinstance(info.shape[axis], int)


def random_images(
    info: TensorInfo, shape: tuple[int, ...], count: int, seed: int
) -> list[dict[str, NDArray[np.float32]]]:
    """Sets of inputs, uniform on [0, 1) as the original's; random, since a processor multiplies zeros faster."""
    generator = np.random.default_rng(seed)
    return [{info.name: generator.random(shape, np.float32).astype(info.dtype, copy=False)} for _ in range(count)]

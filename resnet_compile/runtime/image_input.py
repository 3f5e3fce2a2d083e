"""The image input of a model, found by the model's metadata or else by the input's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ImageError, ModelFileError, OptionError
from resnet_compile.metadata import Metadata
from resnet_compile.runtime.session import Session
from resnet_compile.schemes import Scheme


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The one input of an image network.

    Attributes:
        name: Its name in the graph.
        dtype: Its type, by NumPy's name.
        batch: Images at a time; None for any number.
        channels: The channels of a pixel.
        height: Rows; None for any number.
        width: Columns; None for any number.
        channels_last: Whether its layout is NHWC; else it is NCHW.
        preprocess: The preprocessing scheme; None if the model names none.
    """

    name: str
    dtype: str
    batch: int | None
    channels: int
    height: int | None
    width: int | None
    channels_last: bool
    preprocess: str | Scheme | None = None

    @property
    def takes_photographs(self) -> bool:
        """Whether the model takes decoded images, uint8, and preprocesses them itself."""
        return self.dtype == "uint8"

    def batch_size(self, asked: int | None, default: int) -> int:
        """The batch size: `asked`, else the model's own, else the default.

        Raises:
            OptionError: The model's own batch size is another.
        """
        if self.batch and asked not in (None, self.batch):
            raise OptionError(f"batch must be the model's {self.batch}, got {asked}")
        return asked or self.batch or default

    def size(self, default: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns. Those that the model leaves open are the default's."""
        return self.height or default[0], self.width or default[1]

    def shape(self, batch: int, default: tuple[int, int]) -> tuple[int, ...]:
        """The shape of a batch. Rows and columns that the model leaves open are the default's."""
        rows, columns = self.size(default)
        return (batch, rows, columns, self.channels) if self.channels_last else (batch, self.channels, rows, columns)

    def photograph(self, image: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """Returns a decoded image ``[H, W, 3]`` if it has the size that the model takes.

        Raises:
            ImageError: The image has another size.
        """
        for side, taken in zip(image.shape, (self.height, self.width), strict=False):
            if taken not in (None, side):
                size, takes = "x".join(map(str, image.shape[:2])), f"{self.height or '?'}x{self.width or '?'}"
                raise ImageError(f"the image must be {takes} for this model, got {size}", where=where)
        return image

    def laid_out(self, images: NDArray[Any]) -> NDArray[Any]:
        """Images ``[N, H, W, C]`` in the layout that the model takes."""
        return np.ascontiguousarray(images if self.channels_last else images.transpose(0, 3, 1, 2))

    def feed(self, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The inputs of `Session.run` for a batch. If the model takes more images, copies fill the batch up."""
        if self.batch and len(images) < self.batch:
            images = np.resize(images, (self.batch, *images.shape[1:]))
        return {self.name: images.astype(self.dtype, copy=False)}


def image_input(session: Session, *, channels: int | None = None) -> ImageInput:
    """The image input of a model. Its metadata tell the layout; without them, the axis of length 3 does.

    Args:
        session: The model.
        channels: The number of channels that the model must take; None for any.

    Raises:
        ModelFileError: The model is not an image network, or takes another number of channels.
    """
    infos = list(session.inputs.values())
    if len(infos) != 1:
        raise ModelFileError(f"not an image network: it has {len(infos)} inputs, not one")
    (info,) = infos
    refusal = ModelFileError(f"not an image network: its input is {info}")
    if len(info.shape) != 4 or not info.dtype.startswith(("float", "uint8")):
        raise refusal
    batch, first, second, last = (axis if isinstance(axis, int) else None for axis in info.shape)
    said = Metadata.from_entries(session.metadata)
    # For a model of photographs, the metadata's layout is that of its outputs.
    told = None if info.dtype == "uint8" else said.layout
    channels_last = (told or ("nhwc" if first is None or last == 3 != first else "nchw")) == "nhwc"
    height, width, found = (first, second, last) if channels_last else (second, last, first)
    if found is None:  # a network's channels are never open, since weights depend on them
        raise refusal
    if channels not in (None, found):
        raise ModelFileError(f"the network must take {channels} channels, got {found}: its input is {info}")
    return ImageInput(info.name, info.dtype, batch, found, height, width, channels_last, said.preprocess)

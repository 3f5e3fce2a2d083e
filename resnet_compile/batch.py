"""Classifying columns of images: plain callables for engines that map functions over batches, such as Ray Data.

A batch maps each column's name to an array with a row for each image. `Classifier` adds columns to it. `Decoder` does
the part of its work that needs no network, for a stage of its own. Both know nothing of any engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.classify import (
    Computed,
    Preparation,
    classification_output,
    probabilities,
    run_prepared,
    top_classes,
)
from resnet_compile.errors import ImageError, OptionError
from resnet_compile.images import choose_scheme
from resnet_compile.labels import align_labels
from resnet_compile.metadata import read_model
from resnet_compile.runtime import Session, SessionOptions, image_input

Batch = Mapping[str, NDArray[Any]]
NO_CLASS = -1
"""The class at ranks for which there is none: those of a broken image, and those past the number of classes."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes and prepares the images of a batch.

    Attributes:
        prepare: How the model takes images.
    """

    prepare: Preparation

    def __call__(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Replaces the column ``image`` with ``prepared`` and ``error``.

        Args:
            batch: ``image`` holds paths, the contents of files, or pixels, uint8 ``[H, W, 3]``. Other columns stay.

        Returns:
            ``prepared`` is ``[N, H, W, 3]``, or an array of ``[H, W, 3]`` if a model of photographs got several sizes.
            ``error`` is text, empty if the image could be read.
        """
        source, made = self.prepare.source, []
        for image in batch["image"]:
            name = image if isinstance(image, str) else "image"
            made.append(self.prepare(name, image))
        if source.takes_photographs:
            blank = np.zeros((source.height or 1, source.width or 1, 3), np.uint8)
        else:
            blank = np.zeros((*self.prepare.size, 3), np.float32)
        errors = [str(each) if isinstance(each, ImageError) else "" for each in made]
        rows = [blank if isinstance(each, ImageError) else each for each in made]
        others = {name: column for name, column in batch.items() if name != "image"}
        return {**others, "prepared": _column(rows), "error": np.array(errors, np.object_)}


def _column(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    column = np.empty(len(rows), np.object_)
    column[:] = rows
    return column


class Classifier:
    """Classifies the images of a batch.

    Attributes:
        decoder: The stage that this model needs before it, if it shall not decode by itself.

    Args:
        model: An ONNX file or its bytes.
        top: The number of classes for each image.
        device: As for `Session.open`.
        labels: The names of the classes; None for the model's own.
        preprocess: The preprocessing scheme; None for the model's own.
        options: Settings of the session.

    Raises:
        OptionError: The model has no classification output, or names no preprocessing scheme and none is given.
        ModelFileError: onnxruntime cannot load the model, or it does not take RGB images.
        DeviceError: The device is not usable.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        top: int = 5,
        device: str = "auto",
        labels: Sequence[str] | None = None,
        preprocess: str | None = None,
        options: SessionOptions | None = None,
    ) -> None:
        self._session = Session.open(model, device, options)
        interface = read_model(model if isinstance(model, bytes) else Path(model))
        self._output = classification_output(self._session)
        self._softmax = self._output in interface.softmaxes
        self._top, self._labels = top, labels or interface.metadata.labels
        self._source = image_input(self._session, channels=3)
        scheme = preprocess or self._source.preprocess
        if scheme is None and not self._source.takes_photographs:
            hint = "preprocess='torchvision', or the scheme that it was trained with"
            raise OptionError("the model names no preprocessing scheme", where="preprocess", hint=hint)
        size = (self._source.height, self._source.width)
        self.decoder = Decoder(Preparation(self._source, choose_scheme(scheme, size)))

    def __call__(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Classifies a batch, as `Decoder` takes it or as it gives it.

        Returns:
            ``class`` int64, ``probability`` float64 and, if the classes have names, ``label``: ``[N, top]``, best
            first; `NO_CLASS`, NaN and empty where there is none. ``error`` as from `Decoder`. The other columns.
        """
        if "prepared" not in batch:
            batch = self.decoder(batch)
        shape = (len(batch["error"]), self._top)
        classes, chances = np.full(shape, NO_CLASS), np.full(shape, np.nan)
        labels = np.full(shape, "", np.object_)
        given = ((at, "", image) for at, image in enumerate(batch["prepared"]) if not batch["error"][at])
        size = self._source.batch_size(None, shape[0])
        for run in run_prepared(self._session, self._source, given, size, [self._output]):
            assert isinstance(run, Computed)  # broken images were left out
            rows = probabilities(self._output, run.outputs[self._output], softmax=self._softmax)
            names = align_labels(self._labels, rows.shape[1]) if self._labels else None
            for at, row in zip(run.positions, rows, strict=True):
                for rank, (index, chance) in enumerate(top_classes(row, self._top)):
                    classes[at, rank], chances[at, rank] = index, chance
                    labels[at, rank] = names[index] if names else ""
        others = {name: column for name, column in batch.items() if name != "prepared"}
        named = {"label": labels} if self._labels else {}
        return {**others, "class": classes, "probability": chances, **named}

"""Classifying images from Python with a model from a file or one just compiled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.classify import (
    DEFAULT_BATCH,
    Skipped,
    classification_output,
    probabilities,
    run_images,
    top_classes,
)
from resnet_compile.compiler import CompiledModel
from resnet_compile.errors import ImageError, OptionError
from resnet_compile.guess import guess_scheme
from resnet_compile.images import choose_scheme, decode_image, find_images, picture, thumbnail
from resnet_compile.labels import align_labels, load_labels
from resnet_compile.metadata import UNTRAINED, Metadata
from resnet_compile.notebook import Markup, html_table
from resnet_compile.runtime import Session, SessionOptions, image_input

DEFAULT_TOP = 5
"""The default number of classes per image."""
_SIDE, _SHOWN = 160, 50
"""The side of a picture in a notebook, in pixels, and how many predictions a notebook shows."""

Image = str | os.PathLike[str] | NDArray[Any]
"""A file, or pixels: uint8 ``[H, W, 3]``, RGB."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A predicted class.

    Attributes:
        index: The index of the class.
        label: The name of the class, or the index as text if the model has no names.
        probability: From 0 to 1.
    """

    index: int
    label: str
    probability: float

    def __str__(self) -> str:
        return f"{self.label} {self.probability:.4f}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's prediction for one image.

    Attributes:
        image: The file, or the image's position in the argument.
        guesses: The most probable classes, best first.
        note: A caveat for the user: the model is untrained, or its preprocessing scheme was guessed.
        jpeg: A thumbnail for notebooks, if pixels were given; a file's thumbnail is made when it is shown.
    """

    image: str
    guesses: tuple[Guess, ...]
    note: str | None = None
    jpeg: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """The most probable class's name."""
        return self.guesses[0].label

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.image}: {', '.join(map(str, self.guesses))}{note}"

    def _repr_html_(self) -> str:
        rows = [(guess.label, guess.index, guess.probability) for guess in self.guesses]
        told = html_table(f"{self.image} {self.note or ''}", ("label", "class", "probability"), rows)
        return f"{self.picture()}{told}"

    def picture(self) -> str:
        """The image as an HTML element; empty if its file is gone."""
        try:
            return picture(self.jpeg or thumbnail(decode_image(self.image), _SIDE))
        except ImageError:
            return ""


class Predictions(tuple[Prediction, ...]):
    """A model's predictions for several images, in their order."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        rows = [
            (Markup(each.picture()), each.image, each.label, each.guesses[0].index, each.guesses[0].probability)
            for each in self[:_SHOWN]
        ]
        title = f"{len(self)} images" if len(self) <= _SHOWN else f"the first {_SHOWN} of {len(self):,} images"
        return html_table(title, ("", "image", "label", "class", "probability"), rows)


class Model:
    """A model that is ready to predict. `load_model` makes one.

    Attributes:
        session: The model, open on its device.
        metadata: How the model was made.
        labels: The names of its classes; empty if it has none.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.metadata = Metadata.from_entries(session.metadata)
        self.labels: tuple[str, ...] = self.metadata.labels or ()

    def __repr__(self) -> str:
        outputs = ", ".join(map(str, self.session.outputs.values()))
        return f"Model({', '.join(map(str, self.session.inputs.values()))} -> {outputs}, on {self.session.device})"

    def _repr_html_(self) -> str:
        rows = [(key, text if len(text) <= 100 else f"{text[:100]}...") for key, text in self.metadata.facts().items()]
        return html_table(repr(self), ("", ""), rows)

    def predict(
        self,
        images: Image | Sequence[Image],
        *,
        top: int = DEFAULT_TOP,
        labels: Sequence[str] | str | os.PathLike[str] | None = None,
        batch: int | None = None,
    ) -> Prediction | Predictions:
        """The most probable classes of images.

        Images are preprocessed by the scheme that the model names. If it names none, the scheme is guessed, and each
        prediction's note says so.

        Args:
            images: One image, as a file or pixels, uint8 ``[H, W, 3]``: the result is a `Prediction`. Or a folder,
                several images, or pixels ``[N, H, W, 3]``: the result is `Predictions`.
            top: The number of classes for each image.
            labels: The names of the classes, or a file of them; by default the model's own.
            batch: Images at a time; by default the model's batch size, or 8 if that is dynamic.

        Raises:
            OptionError: The model has no classification output or another batch size, or there are no images.
            ImageError: An image cannot be read.
        """
        if not isinstance(top, int) or top < 1:
            raise OptionError(f"must be a whole number from 1 on, not {top!r}", where="top")
        listed, single = _listed(images)
        given = [*listed]
        output = classification_output(self.session)
        source = image_input(self.session, channels=3)
        notes, stored = [UNTRAINED] if self.metadata.untrained else [], source.preprocess
        if stored is None and not source.takes_photographs:
            guess = guess_scheme(self.session, source)
            stored = guess.scheme
            notes.append(str(guess))
        scheme = choose_scheme(stored, (source.height, source.width))
        size = source.batch_size(batch, DEFAULT_BATCH)
        made: dict[int, Prediction] = {}
        for event in run_images(self.session, given, scheme, outputs=[output], batch=size):
            if isinstance(event, Skipped):
                raise event.error
            rows = probabilities(output, event.outputs[output])
            names = self._names(labels, rows.shape[1])
            for position, path, row in zip(event.positions, event.paths, rows, strict=True):
                guesses = (Guess(index, names[index], value) for index, value in top_classes(row, top))
                pixels = given[position]
                jpeg = thumbnail(pixels, _SIDE) if isinstance(pixels, np.ndarray) else None
                made[position] = Prediction(path, tuple(guesses), "; ".join(notes) or None, jpeg)
        predictions = Predictions(made[position] for position in sorted(made))
        return predictions[0] if single else predictions

    def _names(self, labels: Sequence[str] | str | os.PathLike[str] | None, classes: int) -> Sequence[str]:
        given = load_labels(labels) if isinstance(labels, str | os.PathLike) else labels or self.labels
        return align_labels(given, classes) if given else [str(index) for index in range(classes)]


def load_model(
    model: str | os.PathLike[str] | bytes | CompiledModel,
    device: str = "auto",
    *,
    options: SessionOptions | None = None,
) -> Model:
    """Opens a model for prediction.

    Args:
        model: An ONNX file, its bytes, or a compiled network.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA unless something is known to keep it from working, else CPU.
        options: Settings of the session; None for the defaults.

    Raises:
        ModelFileError: onnxruntime cannot load the model.
        DeviceError: The device is not usable.
    """
    source = model.to_proto().SerializeToString() if isinstance(model, CompiledModel) else model
    return Model(Session.open(source, device, options))


def _listed(images: Any) -> tuple[Iterable[Image], bool]:
    """The images one by one, and whether the argument was a single image."""
    if isinstance(images, str | os.PathLike):
        found = find_images([images])
        return found, not Path(images).is_dir()
    if isinstance(images, np.ndarray):
        single = images.ndim == 3
        return [_pixels(each) for each in (images[None] if single else images)], single
    if not isinstance(images, Iterable):
        raise OptionError(f"must be files or arrays of pixels, not {type(images).__name__}", where="images")
    return [_pixels(each) if isinstance(each, np.ndarray) else each for each in images], False


def _pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        found = f"{image.dtype} {list(image.shape)}"
        hint = "pixels are uint8 [H, W, 3], RGB; Session.run takes images that are prepared"
        raise OptionError(f"{found} is no image", where="images", hint=hint)
    return image

"""Guesses the preprocessing scheme of a model whose metadata name none, and gives the reason."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_compile.runtime import ImageInput, Session
from resnet_compile.schemes import SchemeName

_LARGEST_SMALL_SIDE = 64
_SLIM_CLASSES = 1001
_INCEPTION_SIDE = 299


@dataclass(frozen=True, slots=True)
class SchemeGuess:
    """A preprocessing scheme and the reason for it.

    Attributes:
        scheme: The scheme's name.
        reason: The evidence, as the end of a sentence. For the default it says that there is none.
    """

    scheme: SchemeName
    reason: str

    def __str__(self) -> str:
        return f"the model does not say how to preprocess; guessed {self.scheme}, as {self.reason}"


def guess_scheme(session: Session, source: ImageInput) -> SchemeGuess:
    """Guesses the scheme from the model's input size, its classes and the program that exported it."""
    sides = (source.height, source.width)
    classes = {info.shape[-1] for info in session.outputs.values() if info.shape}
    if all(side is not None and side <= _LARGEST_SMALL_SIDE for side in sides):
        return SchemeGuess("cifar", f"its images are {source.height}x{source.width}")
    if session.producer == "pytorch" or source.name == "pixel_values":
        return SchemeGuess("torchvision", "PyTorch exported it")
    if _SLIM_CLASSES in classes or _INCEPTION_SIDE in sides:
        sign = f"has {_SLIM_CLASSES} classes" if _SLIM_CLASSES in classes else f"takes images of {_INCEPTION_SIDE}"
        return SchemeGuess("inception", f"it {sign}, as TF-slim's second version does")
    if session.producer in ("tf2onnx", "keras2onnx", "keras"):
        return SchemeGuess("keras", f"{session.producer} exported it")
    return SchemeGuess("inception", "nothing tells")

"""The preprocessing scheme of an ONNX model whose first nodes normalise its images."""

from __future__ import annotations

import numpy as np

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.schemes import SCHEMES, Normalise, Scheme, ShortSide
from resnet_compile.weights.structure.model import Walk
from resnet_compile.weights.structure.prologue import Prologue, prologue

_ROUNDING = 1e-5  # of a normalised pixel: the file's numbers are float32
_CHANNELS = {(0, 1, 2): "rgb", (2, 1, 0): "bgr"}
_RESIZE = ShortSide(filter="bilinear", crop=0.875)


def graph_scheme(
    source: Checkpoint, near: str | Scheme | None = None
) -> tuple[str | Scheme | None, str | None, tuple[str, ...]]:
    """The scheme that a model's first nodes are a part of. They never show how images are resized.

    Args:
        source: The model; any other checkpoint has no such nodes.
        near: The scheme that is taken if it has the model's numbers; otherwise the named one that alone has them, or a
            record.

    Returns:
        The scheme, the nodes in words, and the assumptions with their field. Without a scheme the reason; that is None
        too if the model takes images as the network does.
    """
    if not isinstance(source, OnnxCheckpoint) or len(source.inputs) != 1:
        return None, None, ()
    found, _ = prologue(Walk(source))
    if found is None or not found.nodes:
        return None, None, ()
    said = f"the model's beginning ({found})"
    channels, largest = _CHANNELS.get(tuple(found.order.tolist())), _largest_pixel(found)
    if channels is None or largest is None:
        return None, f"no scheme can express {said}; the network takes images as these nodes make them", ()
    assumed = (
        f"RGB images of 0 to {largest} before these nodes (input.preprocess)",
        "how images are resized (input.preprocess)",
    )
    record = Scheme(resize=_RESIZE, values=_values(found, largest), channels=channels)
    if near is not None and _is_alike(near, record):
        return near, said, assumed
    named = [each for each in SCHEMES if _is_alike(each, record)]
    return named[0] if len(named) == 1 else record, said, assumed


def _largest_pixel(found: Prologue) -> int | None:
    """The value of a white pixel in the model's images, 255 or 1; None if the numbers do not show it.

    Means and deviations of images of 0 to 1 are below 1, those of other images far above.
    """
    mean, std = -found.offset / found.scale, 1 / found.scale
    if std.min() <= 0 or len(std) != 3:
        return None
    if max(std.max(), np.abs(mean).max()) > 2:
        return 255
    changes = bool(mean.any() or (std != 1).any())
    return 1 if changes and mean.min() >= 0 and max(mean.max(), std.max()) <= 1 else None


def _values(found: Prologue, largest: int) -> Normalise:
    """The normalisation of pixels from 0 to 255; its divisor is 255 unless the model only subtracts means."""
    divisor = 255.0 if (found.scale != 1).any() else 1.0
    unit = largest * divisor / 255
    mean, std = ([float(f"{each:.6g}") for each in of / unit] for of in (-found.offset / found.scale, 1 / found.scale))
    return Normalise.model_validate({"divisor": divisor, "mean": mean, "std": std})


def _is_alike(scheme: str | Scheme, record: Scheme) -> bool:
    """Whether a scheme has a record's order of channels and numbers, however it resizes."""
    known = next((each for name, each in SCHEMES.items() if name == scheme), scheme)
    if not isinstance(known, Scheme) or not isinstance(known.values, Normalise) or known.channels != record.channels:
        return False
    assert isinstance(record.values, Normalise), "made above"
    pairs = zip(known.values.affine, record.values.affine, strict=True)
    return all(
        np.allclose(ours, theirs, rtol=_ROUNDING, atol=_ROUNDING * at) for at, (ours, theirs) in enumerate(pairs)
    )

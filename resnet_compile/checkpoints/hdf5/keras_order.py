"""The names of the layers in keras.applications' residual networks, by their order alone.

Keras orders the layers of a model by their distance from the output, the farthest first. Of layers with the same
distance the first input of the addition comes first: the projection precedes the last convolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# A letter for each convolution: g for 7x7, c for 3x3, a for 1x1, capital with biases. Each stack begins with a
# projection.
_VERSION_2 = re.compile(r"G(?:(?:acAA)(?:acA)*)+")
_VERSION_1 = re.compile(r"G(?:(?:ACAA)(?:ACA)*)+")
_LETTERS = {(7, 7): "g", (3, 3): "c", (1, 1): "a"}


def application_names(layers: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, str]:
    """The names of a network's convolutions and norms by the keys of their groups; empty for another network.

    `layers` has the shapes of each layer's variables.
    """
    convolutions, norms = (_of_class(layers, kind) for kind in ("conv2d", "batch_normalization"))
    letters = "".join(_letter(layers[key]) for key in convolutions)
    is_second = _VERSION_2.fullmatch(letters) is not None
    if not is_second and not _VERSION_1.fullmatch(letters):
        return {}
    units = list(_units(letters.upper()))
    named = ["conv1_conv", *(f"{unit}_{number}_conv" for unit, numbers in units for number in numbers)]
    if is_second:
        named += (f"{unit}_{place}_bn" for unit, _ in units for place in ("preact", "1", "2"))
        named.append("post_bn")
    else:
        named += [f"{name.removesuffix('conv')}bn" for name in named]
    if len(named) != len(convolutions) + len(norms) or any(len(layers[key]) != 4 for key in norms):
        return {}
    return dict(zip([*convolutions, *norms], named, strict=True))


def _of_class(layers: Mapping[str, Sequence[tuple[int, ...]]], kind: str) -> list[str]:
    """The keys of a class, sorted by number."""
    found = [key for key in layers if re.fullmatch(rf"{kind}(_\d+)?", key)]
    return sorted(found, key=lambda key: (len(key), key))


def _letter(shapes: Sequence[tuple[int, ...]]) -> str:
    letter = _LETTERS.get(shapes[0][:2], "?") if len(shapes[0]) == 4 else "?"
    return letter.upper() if len(shapes) == 2 else letter


def _units(letters: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The units of a network in order, each with the numbers of its convolutions; 0 is the projection."""
    stack, unit = 1, 0
    for found in re.finditer("ACA(A(?=AC|$))?", letters):
        projects = found[1] is not None
        stack, unit = (stack + 1, 1) if projects else (stack, unit + 1)
        yield f"conv{stack}_block{unit}", ("1", "2", "0", "3") if projects else ("1", "2", "3")

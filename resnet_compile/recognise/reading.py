"""Reads a checkpoint's names backwards by every naming table: to our names, with shapes in our layout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from resnet_compile.weights.naming import Naming
from resnet_compile.weights.source import Tensors, is_within
from resnet_compile.weights.tables import NAMINGS

Shape = tuple[int, ...]

_LAYER = r"(?P<root>conv1|stem[123]|pool1)|block(?P<block>\d+)/unit_(?P<unit>\d+)/(?P<kind>\*|\w+)/(?P<layer>[\w/]+?)"
_NAME = re.compile(
    rf"(?:{_LAYER}|postnorm|hidden/\d+|logits)(?:/BatchNorm)?/(?:weights|biases|gamma|beta|moving_mean|moving_variance)"
)


@dataclass(frozen=True)
class Reading:
    """A section of a checkpoint, read by a table.

    Attributes:
        naming: The naming table.
        prefix: The prefix of the section's names.
        shapes: The shapes, by our names without the network's name; a unit's kind is ``*`` if the names do not show it.
    """

    naming: Naming
    prefix: str
    shapes: Mapping[str, Shape]

    @cached_property
    def units(self) -> Mapping[tuple[int, int], Mapping[str, Shape]]:
        """The shapes of each unit's tensors, by the numbers of block and unit."""
        found: dict[tuple[int, int], dict[str, Shape]] = {}
        for name, shape in self.shapes.items():
            match = _NAME.fullmatch(name)
            if match and match["block"]:
                place = int(match["block"]), int(match["unit"])
                found.setdefault(place, {})[name.split("/", 3)[3]] = shape
        return dict(sorted(found.items()))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The unit kinds that the names show; empty if they show none."""
        matches = (_NAME.fullmatch(name) for name in self.shapes)
        return frozenset(match["kind"] for match in matches if match and match["kind"]) - {"*"}

    @property
    def blocks(self) -> tuple[int, ...]:
        """The number of units in each block."""
        numbers = [block for block, _ in self.units]
        return tuple(numbers.count(block) for block in dict.fromkeys(numbers))


def readings(tensors: Tensors, asked: Sequence[str]) -> list[Reading]:
    """Every section in which a table finds units, those with the most names first.

    Args:
        tensors: The source's tensors, by their plain names.
        asked: The sections to search, in the user's words; empty searches everywhere.
    """
    found = [reading for naming in NAMINGS for reading in _by_table(naming, tensors, asked)]
    return sorted(found, key=lambda reading: -len(reading.shapes))


def _by_table(naming: Naming, tensors: Tensors, asked: Sequence[str]) -> Iterator[Reading]:
    places: dict[str, dict[str, Shape]] = {}
    for name, tensor in tensors.items():
        starts = [0, *(at + 1 for at, char in enumerate(name) if char in "./")]
        for start in starts:
            prefix = name[:start]
            if asked and not any(is_within(prefix.rstrip("./"), word) for word in asked):
                continue
            for ours in naming.turned.translations(name[start:]):
                # Weights alone have several axes: timm's `downsample.1.weight` is a norm's gamma or a convolution's.
                if _NAME.fullmatch(ours) and ours.endswith("/weights") == (len(tensor.shape) > 1):
                    shape = naming.ours(tensor.shape) if ours.endswith("/weights") else tensor.shape
                    places.setdefault(prefix, {})[ours] = shape
                    break
    for prefix, shapes in places.items():
        reading = Reading(naming, prefix, _with_one_stem(shapes))
        if _counted_from_one(reading):
            yield reading


def _with_one_stem(shapes: dict[str, Shape]) -> dict[str, Shape]:
    """Moves the norm of the root's last convolution to that convolution: tables use one name for it in all stems."""
    last, other = ("stem3", "conv1") if "stem3/weights" in shapes else ("conv1", "stem3")
    return {
        (last + name.removeprefix(other) if name.startswith(f"{other}/") else name): shape
        for name, shape in shapes.items()
    }


def _counted_from_one(reading: Reading) -> bool:
    """Whether the blocks, and the units of each, are numbered from one without a gap."""
    units = [*reading.units]
    expected = [(block, unit) for block, count in enumerate(reading.blocks, 1) for unit in range(1, count + 1)]
    return bool(units) and units == expected

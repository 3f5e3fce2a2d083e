"""Published weights: their place, licence, preprocessing and accuracy.

The facts are the rows of `weights.csv`, beside the catalogue's specs. The first row of a network is its default.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from resnet_compile.checked import CheckedModel, Side
from resnet_compile.schemes import SCHEMES, Filter, Scheme, SchemeName, ShortSide
from resnet_compile.spec.network import NetworkSpec

# The parsers of columns that are not text.
_NUMBERS: dict[str, Callable[[str], Any]] = {"size": int, "crop": float, "top1": float}


class PublishedWeights(CheckedModel):
    """One file of published weights."""

    network: str
    """The network's name in the catalogue, or an alias."""

    tag: str
    """The publisher's name for these weights."""

    licence: str | None = None
    """SPDX name of the licence; None if the publisher states none for the weights."""

    scheme: SchemeName | None = None
    """The preprocessing scheme, apart from `crop` and `interpolation`; None for the spec's."""

    size: Side | None = None
    """Side of the square image, in pixels, at which `top1` was measured."""

    crop: float | None = Field(default=None, gt=0, le=1)
    """Ratio of `size` to the short side of the scaled image, before the crop."""

    interpolation: Filter | None = None
    """The filter that scales the image."""

    top1: float | None = Field(default=None, ge=0, le=100)
    """Accuracy in percent on the validation images of ImageNet, or the test images of CIFAR-10, as published."""

    link: str
    """The URL of the file."""

    source: str
    """The URL of the facts."""

    @property
    def preprocess(self) -> SchemeName | Scheme | None:
        """The preprocessing of these weights: a named scheme if one matches, else a record; None for the spec's."""
        if self.scheme is None or self.crop is None or self.interpolation is None:
            return self.scheme
        resize = ShortSide(filter=self.interpolation, crop=self.crop)
        scheme = SCHEMES[self.scheme].replace(resize=resize)
        return self.scheme if scheme == SCHEMES[self.scheme] else scheme

    def prepare(self, spec: NetworkSpec) -> NetworkSpec:
        """The spec with these weights' preprocessing, which its origin then states; unchanged if it has it."""
        if self.preprocess in (None, spec.input.preprocess):
            return spec
        return spec.replace(
            input=spec.input.replace(preprocess=self.preprocess),
            origin=f"{spec.origin}, images as for the weights {self.tag}",
        )


@cache
def read_weights(path: Path) -> dict[str, tuple[PublishedWeights, ...]]:
    """The rows of a file, by network; a network's first row is its default.

    Raises:
        OptionError: A row is wrong; the message names the column.
    """
    networks: dict[str, tuple[PublishedWeights, ...]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            facts = {column: _NUMBERS.get(column, str)(text) for column, text in row.items() if text}
            weights = PublishedWeights.model_validate(facts)
            networks[weights.network] = (*networks.get(weights.network, ()), weights)
    return networks

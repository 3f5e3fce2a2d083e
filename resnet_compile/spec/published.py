"""Published weights: where they lie, under which licence, how their images are made, how often they are right.

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

# What makes values of the columns that are no text.
_NUMBERS: dict[str, Callable[[str], Any]] = {"size": int, "crop": float, "top1": float}


class PublishedWeights(CheckedModel):
    """One file of weights that its makers give away."""

    network: str
    """The network's name in the catalogue, or an alias."""

    tag: str
    """What its makers call these weights."""

    licence: str | None = None
    """SPDX name of the licence; none where its makers state none for the weights."""

    scheme: SchemeName | None = None
    """The preprocessing scheme, save what the three columns beside it say; none for that of the spec."""

    size: Side | None = None
    """Side of the square image, in pixels, at which `top1` was measured."""

    crop: float | None = Field(default=None, gt=0, le=1)
    """`size` over the short side to which an image is scaled first."""

    interpolation: Filter | None = None
    """The filter by which it is scaled."""

    top1: float | None = Field(default=None, ge=0, le=100)
    """Accuracy in percent on the validation images of ImageNet, or the test images of CIFAR-10, as published."""

    link: str
    """Where the file is."""

    source: str
    """Where the facts are published."""

    @property
    def preprocess(self) -> SchemeName | Scheme | None:
        """How these weights take their images: a scheme of a name where one says it all, else a record."""
        if self.scheme is None or self.crop is None or self.interpolation is None:
            return self.scheme
        resize = ShortSide(filter=self.interpolation, crop=self.crop)
        scheme = SCHEMES[self.scheme].replace(resize=resize)
        return self.scheme if scheme == SCHEMES[self.scheme] else scheme

    def prepare(self, spec: NetworkSpec) -> NetworkSpec:
        """The spec with these weights' preprocessing, whose its origin then says it is; unchanged where it has that."""
        if self.preprocess in (None, spec.input.preprocess):
            return spec
        return spec.replace(
            input=spec.input.replace(preprocess=self.preprocess),
            origin=f"{spec.origin}, images as for the weights {self.tag}",
        )


@cache
def read_weights(path: Path) -> dict[str, tuple[PublishedWeights, ...]]:
    """The rows of a file, by network; a network's default is its first.

    Raises:
        OptionError: A row is wrong; the message has the column.
    """
    networks: dict[str, tuple[PublishedWeights, ...]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            facts = {column: _NUMBERS.get(column, str)(text) for column, text in row.items() if text}
            weights = PublishedWeights.model_validate(facts)
            networks[weights.network] = (*networks.get(weights.network, ()), weights)
    return networks

"""The type of a pass, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnet_compile.graph import Graph


@dataclass(frozen=True)
class PassResult:
    """The result of a pass.

    Attributes:
        graph: The new graph, which computes the same outputs.
        done: The number of places that it rewrote.
        refused: One sentence for each place that it did not rewrite, beginning with the place's name.
        told: The same for each place where it chose among rewrites.
    """

    graph: Graph
    done: int
    refused: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


Pass = Callable[[Graph], PassResult]
"""A rewrite of a graph whose initializers are all bound."""

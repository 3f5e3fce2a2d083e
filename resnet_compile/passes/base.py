"""What every pass gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnet_compile.graph import Graph


@dataclass(frozen=True)
class PassResult:
    """What a pass made of a graph.

    Attributes:
        graph: The new graph, which computes the same outputs.
        done: How many places it rewrote.
        refused: One sentence for each place that it left, beginning with the place's name.
    """

    graph: Graph
    done: int
    refused: tuple[str, ...] = ()


Pass = Callable[[Graph], PassResult]
"""A transformation of a graph whose initializers all have their contents."""

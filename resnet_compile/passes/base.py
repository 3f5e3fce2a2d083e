"""What every pass works with: its result, who reads what, and tensors derived from others when they are written.

A derived tensor is computed in float64 and rounded to float32 once, however many passes have contributed to it:
`exact` looks through to the values before the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.graph import Graph, Node, Tensor, Value

Vector = NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class VectorTensor:
    """One value for each channel, computed from other tensors when asked for.

    Attributes:
        name: The initializer's, for errors.
        shape: Its axes, of which one is the channels'.
        compute: Gives the values in float64, as many as the shape has.
    """

    name: str
    shape: tuple[int, ...]
    compute: Callable[[], Vector]

    @property
    def dtype(self) -> Literal["float32"]:
        """float32."""
        return "float32"

    def exact(self) -> NDArray[np.float64]:
        """The values before they are rounded."""
        with np.errstate(all="ignore"):
            return self.compute().reshape(self.shape)

    def array(self) -> NDArray[np.float32]:
        """The values.

        Raises:
            WeightsError: One of them is not a finite float32 number.
        """
        with np.errstate(all="ignore"):
            return _finite(self.exact().astype(np.float32), self.name)


@dataclass(frozen=True, slots=True)
class ScaledTensor:
    """Weights with one axis scaled, computed when asked for.

    Attributes:
        name: The initializer's, for errors.
        source: The weights, OIHW or OI.
        axis: The axis that is scaled: 0 for output channels, 1 for input channels.
        scale: Gives the factors, one for each place along the axis.
    """

    name: str
    source: Tensor
    axis: int
    scale: Callable[[], Vector]

    @property
    def dtype(self) -> Literal["float32"]:
        """float32."""
        return "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's."""
        return self.source.shape

    def exact(self) -> NDArray[np.float64]:
        """The values before they are rounded."""
        with np.errstate(all="ignore"):
            return exact(self.source) * self._factors()

    def array(self) -> NDArray[np.float32]:
        """The values.

        Raises:
            WeightsError: One of them is not a finite float32 number.
        """
        stored = self.source.exact() if isinstance(self.source, ScaledTensor) else self.source.array()
        values = np.empty(self.shape, np.float32)
        with np.errstate(all="ignore"):
            # Products are float64; numpy rounds them piece by piece, so no float64 copy of float32 weights is made.
            np.multiply(stored, self._factors(), out=values, casting="same_kind")
        return _finite(values, self.name)

    def _factors(self) -> NDArray[np.float64]:
        places = [1] * len(self.shape)
        places[self.axis] = -1
        return self.scale().reshape(places)


def exact(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor's values in float64, not rounded to float32 if they are derived."""
    values = tensor.exact() if isinstance(tensor, VectorTensor | ScaledTensor) else tensor.array()
    return values.astype(np.float64, copy=False)


def readers(graph: Graph) -> Mapping[Value, tuple[Value, ...]]:
    """For every value, the values that nodes make of it; an output of the graph is not a reader."""
    found: dict[Value, list[Value]] = {value: [] for value in graph.values()}
    for value in found:
        if value.node:
            for source in dict.fromkeys(filter(None, value.node.inputs)):
                found[source].append(value)
    return {value: tuple(made) for value, made in found.items()}


def made_by(value: Value | None, operator: str) -> Node | None:
    """The node that makes a value, if it is of this operator."""
    return value.node if value and value.node and value.node.operator == operator else None


def _finite(values: NDArray[Any], name: str) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise WeightsError("has values that are not finite float32 numbers", where=name)
    return values

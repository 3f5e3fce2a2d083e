"""The intermediate representation: an immutable graph of typed values.

A `Value` knows the `Node` that makes it, and a node the values that it reads, so a graph is its outputs: what they do
not reach does not exist. Nothing is ever changed in place; a pass builds new values (`rewrite`) and shares the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

DType = Literal["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"]
Dim = int | str | None
"""The length of an axis: a number, a name for a length known at run time, or None where it has no name."""
Shape = tuple[Dim, ...]
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]


class Tensor(Protocol):
    """The values of an initializer, made when they are asked for; asking from several threads is safe."""

    @property
    def dtype(self) -> DType:
        """Type of the elements."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def array(self) -> NDArray[Any]:
        """The values: C-contiguous, of `shape` and `dtype`."""


@dataclass(frozen=True, slots=True)
class Type:
    """What a value holds."""

    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an ONNX operator; its first output's name is its own.

    Attributes:
        operator: The operator's ONNX name.
        inputs: What it reads; None stands for an optional input that is left out.
        attributes: By ONNX name.
    """

    operator: str
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One tensor of the graph, an SSA value.

    Attributes:
        name: Unique in its graph.
        type: Element type and shape.
        node: The node that makes it; None for graph inputs and initializers.
        index: Which of the node's outputs it is.
        initializer: Whether its contents are part of the model, under its name.
    """

    name: str
    type: Type
    node: Node | None = None
    index: int = 0
    initializer: bool = False

    @property
    def shape(self) -> Shape:
        """Its type's."""
        return self.type.shape

    def __repr__(self) -> str:
        return f"<Value {self.name}: {self.type}>"


@dataclass(frozen=True)
class Graph:
    """A function from inputs to outputs.

    Attributes:
        name: The network's.
        inputs: In signature order.
        outputs: In signature order; a caller finds each by its value's name.
        data: The contents of initializers, by name. It may hold more than the graph reads, and before weights are bound
            it holds less.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    data: Mapping[str, Tensor] = field(default_factory=dict)

    def values(self) -> Iterator[Value]:
        """Every value that the outputs reach, what it is made from before it; iterative, as networks are deep."""
        seen: set[Value] = set()
        stack = [(value, False) for value in reversed(self.outputs)]
        while stack:
            value, ready = stack.pop()
            if ready:
                yield value
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                sources = value.node.inputs if value.node else ()
                stack.extend((source, False) for source in reversed(sources) if source and source not in seen)

    def nodes(self) -> Iterator[tuple[Node, tuple[Value, ...]]]:
        """Every node with those of its outputs that are used, in an order in which it can be run."""
        outputs: dict[Node, list[Value]] = {}
        for value in self.values():
            if value.node:
                outputs.setdefault(value.node, []).append(value)
        return ((node, tuple(sorted(made, key=lambda value: value.index))) for node, made in outputs.items())

    def initializers(self) -> Iterator[Value]:
        """Every initializer, in the order of first use."""
        return (value for value in self.values() if value.initializer)


def rewrite(graph: Graph, rule: Callable[[Value, Sequence[Value | None]], Value | None]) -> Graph:
    """The graph with some of its values replaced.

    Args:
        graph: What to rewrite.
        rule: Called for each value, sources first, with the new values of what its node reads; returns what to put in
            the value's place, or None to keep it (on its new sources).
    """
    new: dict[Value, Value] = {}
    nodes: dict[Node, Node] = {}
    for value in graph.values():
        sources = tuple(source and new[source] for source in value.node.inputs) if value.node else ()
        if (replaced := rule(value, sources)) is not None:
            new[value] = replaced
        elif value.node is None or sources == value.node.inputs:
            new[value] = value
        else:
            node = nodes.setdefault(value.node, replace(value.node, inputs=sources))
            new[value] = replace(value, node=node)
    return replace(graph, outputs=tuple(new[output] for output in graph.outputs))


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with some of its values under other names; outputs are called by theirs."""

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value.name not in names:
            return None
        node = replace(value.node, inputs=tuple(sources)) if value.node else None
        return replace(value, name=names[value.name], node=node)

    return rewrite(graph, rule)


@dataclass(frozen=True, slots=True)
class ConstantTensor:
    """Values known when the graph is built."""

    values: NDArray[Any]

    @property
    def dtype(self) -> DType:
        """The array's."""
        return self.values.dtype.name  # type: ignore[return-value]  # numpy types the name as str

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's."""
        return self.values.shape

    def array(self) -> NDArray[Any]:
        """The array itself."""
        return np.ascontiguousarray(self.values).reshape(self.shape)  # numpy makes a scalar one axis

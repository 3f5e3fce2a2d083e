"""The intermediate representation: an immutable graph of typed values.

A `Value` has the `Node` that makes it, and a node has its input values. A graph is therefore given by its outputs, and
dead code is not part of it. Nothing changes in place: a pass builds new values (`rewrite`) and shares the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from resnet_compile.errors import GraphError
from resnet_compile.graph.attributes import Attributes

DType = Literal["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"]
Dim = int | str | None
"""The length of an axis: a number, a name for a length known at run time, or None for an unknown one without a name."""
Shape = tuple[Dim, ...]

ONNX_TYPES: Mapping[DType, int] = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}
"""The enum value of each element type in `onnx.TensorProto`."""


class Tensor(Protocol):
    """The contents of an initializer, computed on demand; thread-safe."""

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
    """The element type and shape of a value."""

    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if dim is None else str(dim) for dim in self.shape)}]"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an ONNX operator; its first output names it.

    Attributes:
        operator: The operator's ONNX name.
        inputs: The input values; None for an optional input that is left out.
        attributes: The given attributes.
    """

    operator: str
    inputs: tuple[Value | None, ...]
    attributes: Attributes

    def input(self, place: int) -> Value:
        """A required input.

        Raises:
            GraphError: The input is left out.
        """
        if (value := self.optional(place)) is None:
            raise GraphError(f"input {place} is required")
        return value

    def optional(self, place: int) -> Value | None:
        """An input; None if it is left out."""
        return self.inputs[place] if place < len(self.inputs) else None


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One tensor of the graph, an SSA value.

    Attributes:
        name: Its name, unique in its graph.
        type: Its element type and shape.
        node: The node that makes it; None for graph inputs and initializers.
        index: Its position among the node's outputs.
        contents: The contents of an initializer, `Unbound` while unknown; None for other values.
    """

    name: str
    type: Type
    node: Node | None = None
    index: int = 0
    contents: Tensor | None = None

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape, if every length is a number.

        Raises:
            GraphError: A length is unknown.
        """
        dims = tuple(dim for dim in self.type.shape if isinstance(dim, int))
        if len(dims) < len(self.type.shape):
            raise GraphError(f"{self.type} has an unknown length", where=self.name)
        return dims

    @property
    def maker(self) -> Node:
        """The node that makes it.

        Raises:
            GraphError: It is an input or an initializer.
        """
        if self.node is None:
            raise GraphError("is not made by a node", where=self.name)
        return self.node

    @property
    def tensor(self) -> Tensor:
        """The contents of an initializer.

        Raises:
            GraphError: The value is not an initializer.
        """
        if self.contents is None:
            raise GraphError("is not an initializer", where=self.name)
        return self.contents

    def __repr__(self) -> str:
        return f"<Value {self.name}: {self.type}>"


def made_by(value: Value | None, operator: str) -> Node | None:
    """The node that makes a value, if it has this operator; else None."""
    return value.node if value and value.node and value.node.operator == operator else None


Readers = Mapping[Value, tuple[Value, ...]]


@dataclass(frozen=True)
class Graph:
    """A function from inputs to outputs.

    Attributes:
        name: The network's name.
        inputs: The inputs, in order.
        outputs: The outputs, in order.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def values(self) -> Iterator[Value]:
        """The outputs and every value that they depend on, in topological order. Iterative, since networks are deep."""
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
        """Every node with its used outputs, in topological order."""
        outputs: dict[Node, list[Value]] = {}
        for value in self.values():
            if value.node:
                outputs.setdefault(value.node, []).append(value)
        return ((node, tuple(sorted(made, key=lambda value: value.index))) for node, made in outputs.items())

    def initializers(self) -> Iterator[Value]:
        """Every initializer, in the order of first use."""
        return (value for value in self.values() if value.contents is not None)

    def readers(self) -> Readers:
        """The values made from each value. Being a graph output does not count as a reader."""
        found: dict[Value, list[Value]] = {value: [] for value in self.values()}
        for value in found:
            if value.node:
                for source in dict.fromkeys(filter(None, value.node.inputs)):
                    found[source].append(value)
        return {value: tuple(made) for value, made in found.items()}

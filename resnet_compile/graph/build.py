"""Building graphs: nodes, initializers and unique names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from resnet_compile.errors import GraphError
from resnet_compile.graph.attributes import Attribute, Attributes
from resnet_compile.graph.ir import ONNX_TYPES, DType, Node, Tensor, Type, Value
from resnet_compile.graph.operators import infer, operator_of
from resnet_compile.graph.tensors import ConstantTensor, Unbound

_NONE = Attributes({}, {})
_IMAGES_AND_PIXELS = (0, 2, 3)


def apply(operator: str, *inputs: Value | None, name: str, **attributes: Attribute) -> Value:
    """The first output of an operator applied to values, under the given name.

    Raises:
        GraphError: The operator is unknown, or cannot take these inputs or attributes.
    """
    return apply_many(operator, *inputs, names=(name,), **attributes)[0]


def apply_many(
    operator: str, *inputs: Value | None, names: tuple[str, ...], **attributes: Attribute
) -> tuple[Value, ...]:
    """The outputs of an operator applied to values, one for each name; raises as `apply`."""
    rules = operator_of(Node(operator, inputs, _NONE), names[0]).attributes
    try:
        node = Node(operator, inputs, Attributes(attributes, rules))
    except GraphError as error:
        raise GraphError(f"{operator}: {error.message}", where=names[0]) from None
    types = infer(node, names[0])
    return tuple(Value(name, type_, node, index) for index, (name, type_) in enumerate(zip(names, types, strict=False)))


def output_of(node: Node, name: str) -> Value:
    """The first output of a node, with a name; raises as `apply`."""
    return Value(name, infer(node, name)[0], node)


def cast(x: Value, dtype: DType, name: str) -> Value:
    return apply("Cast", x, name=name, to=ONNX_TYPES[dtype])


def initializer(name: str, contents: Tensor) -> Value:
    return Value(name, Type(contents.dtype, contents.shape), contents=contents)


def unbound(name: str, dtype: DType, shape: tuple[int, ...]) -> Value:
    """An initializer without contents yet."""
    return initializer(name, Unbound(dtype, shape))


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes values in one scope. Builders of one graph share its constants.

    Attributes:
        scope: The prefix of the values' names.
        shared: The prefix of the constants' names, for a builder whose constants go into a graph that has others.
    """

    scope: str
    shared: str = field(default="", kw_only=True)
    _names: Counter[str] = field(default_factory=Counter, kw_only=True)
    _constants: dict[str, Value] = field(default_factory=dict, kw_only=True)

    def within(self, scope: str) -> Self:
        return replace(self, scope=scope)

    def apply(self, operator: str, *inputs: Value | None, **attributes: Attribute) -> Value:
        """The first output of an operator, named after it."""
        name = f"{self.scope}/{operator}"
        self._names[name] += 1
        if self._names[name] > 1:
            name = f"{name}_{self._names[name]}"
        return apply(operator, *inputs, name=name, **attributes)

    def integers(self, values: Sequence[int]) -> Value:
        """An int64 list as a constant; the graph has equal lists once."""
        name = f"{self.shared}integers/{'_'.join(map(str, values))}"
        if name not in self._constants:
            self._constants[name] = apply("Constant", name=name, value_ints=tuple(values))
        return self._constants[name]

    def scalar(self, number: float, like: Value, *, rank: int | None = None) -> Value:
        """One number as a tensor of another value's element type and rank, with axes of length 1.

        With a number of rank 0 or 1 onnxruntime's CPU provider broadcasts a 4-D tensor some fifty times slower.
        """
        shape = (1,) * (len(like.shape) if rank is None else rank)
        return self.tensor(f"{number!r}/{len(shape)}", np.full(shape, number, like.type.dtype), like.type.dtype)

    def tensor(self, name: str, values: np.ndarray, dtype: DType) -> Value:
        """A constant; the graph has one for each name and element type."""
        full = f"{self.shared}constants/{dtype}/{name}"
        if full not in self._constants:
            self._constants[full] = initializer(full, ConstantTensor(values))
        return self._constants[full]

    def scaled(self, x: Value, factor: float) -> Value:
        return x if factor == 1 else self.apply("Mul", x, self.scalar(factor, x))

    def to_float(self, x: Value) -> Value:
        return self.apply("Cast", x, to=ONNX_TYPES["float32"])

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """The value in another shape; the value itself if it has that shape."""
        return x if x.shape == tuple(shape) else self.apply("Reshape", x, self.integers(shape))

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        return self.apply("Transpose", x, perm=tuple(order))

    def sum(self, x: Value, axes: Sequence[int], *, keep: bool = False) -> Value:
        """The sum over axes, which get length 1 or are dropped.

        A sum over images and pixels becomes two nodes: onnxruntime's CPU provider takes two to three times as long for
        axes that are not adjacent.
        """
        if tuple(axes) == _IMAGES_AND_PIXELS and len(x.shape) == len(axes) + 1:
            x, axes = self.sum(x, axes[1:], keep=keep), axes[:1]
        return self.apply("ReduceSum", x, self.integers(axes), keepdims=int(keep)) if axes else x

    def slice(self, x: Value, slices: dict[int, tuple[int, int, int]]) -> Value:
        """The elements of each given axis by start, end (exclusive) and step; whole axes add no node."""
        cut = {axis: each for axis, each in slices.items() if each != (0, x.shape[axis], 1)}
        if not cut:
            return x
        starts, ends, steps = zip(*cut.values(), strict=True)
        return self.apply("Slice", x, *map(self.integers, (starts, ends, tuple(cut), steps)))

    def pad(self, x: Value, before: Sequence[int], after: Sequence[int]) -> Value:
        """The value with zeros added before and after each axis."""
        if not any((*before, *after)):
            return x
        return self.apply("Pad", x, self.integers((*before, *after)), mode="constant")

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        return parts[0] if len(parts) == 1 else self.apply("Concat", *parts, axis=axis)

    def total(self, parts: Sequence[Value]) -> Value:
        result, *rest = parts
        for part in rest:
            result = self.apply("Add", result, part)
        return result

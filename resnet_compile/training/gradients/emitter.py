"""Writing nodes: with names of their own, and with the constants that they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from resnet_compile.graph import ConstantTensor, DType, Tensor, Value, constant
from resnet_compile.graph import apply as apply_named
from resnet_compile.graph.ir import Attribute

Target = Literal["cpu", "cuda"]

# ONNX's number of the type, as Cast takes it.
_FLOAT32 = 1
_IMAGES_AND_PIXELS = (0, 2, 3)


@dataclass(frozen=True, slots=True)
class Emitter:
    """Makes values under one scope; all scopes of one graph share what the graph can have once.

    Attributes:
        scope: What the values' names begin with.
        target: The provider whose forms to take.
        data: Contents of the constants.
    """

    scope: str
    target: Target
    data: dict[str, Tensor] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)
    _integers: dict[tuple[int, ...], Value] = field(default_factory=dict)
    _tensors: dict[str, Value] = field(default_factory=dict)

    def within(self, scope: str) -> Emitter:
        """The same graph under another scope."""
        return replace(self, scope=scope)

    def apply(self, operator: str, *inputs: Value | None, **attributes: Attribute) -> Value:
        """The first output of an operator, which names it."""
        return apply_named(operator, *inputs, name=self._name(operator), **attributes)

    def integers(self, values: Sequence[int]) -> Value:
        """A list of int64, of which the graph has one."""
        key = tuple(values)
        if key not in self._integers:
            name = f"integers/{'_'.join(map(str, key))}"
            self._integers[key] = apply_named("Constant", name=name, value_ints=key)
        return self._integers[key]

    def scalar(self, number: float, like: Value, *, rank: int | None = None) -> Value:
        """One number as a tensor of the other's element type and rank, all of whose axes have length 1.

        Against a number of rank 0 or 1 onnxruntime's CPU provider broadcasts a 4-D tensor some fifty times slower.
        """
        shape = (1,) * (len(like.shape) if rank is None else rank)
        return self.tensor(f"{number!r}/{len(shape)}", np.full(shape, number, like.type.dtype), like.type.dtype)

    def tensor(self, name: str, values: np.ndarray, dtype: DType) -> Value:
        """A constant, of which the graph has one by this name and element type."""
        full = f"constants/{dtype}/{name}"
        if full not in self._tensors:
            self.data[full] = ConstantTensor(values)
            self._tensors[full] = constant(full, dtype, values.shape)
        return self._tensors[full]

    def scaled(self, x: Value, factor: float) -> Value:
        """The value times a number."""
        return x if factor == 1 else self.apply("Mul", x, self.scalar(factor, x))

    def to_float(self, x: Value) -> Value:
        """The value as float32."""
        return self.apply("Cast", x, to=_FLOAT32)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """The value's elements in another shape; the value itself where it has it."""
        return x if x.shape == tuple(shape) else self.apply("Reshape", x, self.integers(shape))

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """The value's axes in another order."""
        return self.apply("Transpose", x, perm=tuple(order))

    def sum(self, x: Value, axes: Sequence[int], *, keep: bool = False) -> Value:
        """The sum over axes, which stay with length 1 or go.

        Over images and pixels it is two: onnxruntime's CPU provider takes two to three times as long for axes that do
        not lie side by side.
        """
        if tuple(axes) == _IMAGES_AND_PIXELS and len(x.shape) == len(axes) + 1:
            x, axes = self.sum(x, axes[1:], keep=keep), axes[:1]
        return self.apply("ReduceSum", x, self.integers(axes), keepdims=int(keep)) if axes else x

    def slice(self, x: Value, slices: dict[int, tuple[int, int, int]]) -> Value:
        """Of each axis given the elements from a start to before an end, by a step; axes taken whole cost nothing."""
        cut = {axis: each for axis, each in slices.items() if each != (0, x.shape[axis], 1)}
        if not cut:
            return x
        starts, ends, steps = zip(*cut.values(), strict=True)
        return self.apply("Slice", x, *map(self.integers, (starts, ends, tuple(cut), steps)))

    def pad(self, x: Value, before: Sequence[int], after: Sequence[int]) -> Value:
        """The value with zeros around it: so many before and after each axis."""
        if not any((*before, *after)):
            return x
        return self.apply("Pad", x, self.integers((*before, *after)), mode="constant")

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        """Values one after another along an axis."""
        return parts[0] if len(parts) == 1 else self.apply("Concat", *parts, axis=axis)

    def total(self, parts: Sequence[Value]) -> Value:
        """The sum of values of one shape."""
        result, *rest = parts
        for part in rest:
            result = self.apply("Add", result, part)
        return result

    def _name(self, operator: str) -> str:
        name = f"{self.scope}/{operator}"
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"


def static(value: Value) -> tuple[int, ...]:
    """The value's shape, which has to be known: a training step has one batch size and one image size."""
    dims = tuple(dim for dim in value.shape if isinstance(dim, int))
    assert len(dims) == len(value.shape), f"{value!r} has a shape that is not known"
    return dims

"""What a gradient rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from resnet_compile.graph import Node, Value, apply
from resnet_compile.graph.ir import Attribute
from resnet_compile.training.gradients.emitter import Emitter


@dataclass(frozen=True, slots=True)
class Average:
    """A moving statistic, and what it follows.

    Attributes:
        moving: The parameter.
        batch: The batch's own value, of the parameter's shape.
        count: Of how many values each of its elements is the mean.
    """

    moving: Value
    batch: Value
    count: int


@dataclass(frozen=True, slots=True)
class Applied:
    """One operator as a training step applies it.

    Attributes:
        inputs: What the inference node reads, in the training graph.
        attributes: The inference node's.
        output: Its first output, the only one that is ever read.
        saved: What else the backward rule needs of the forward pass.
        averages: The moving statistics that follow this batch.
    """

    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Attribute]
    output: Value
    saved: tuple[Value, ...] = ()
    averages: tuple[Average, ...] = ()

    @property
    def x(self) -> Value:
        """The first input."""
        first = self.inputs[0]
        assert first is not None, "the first input of an operator is required"
        return first

    def input(self, place: int) -> Value:
        """An input that is there."""
        value = self.inputs[place]
        assert value is not None, f"input {place} is left out"
        return value


@dataclass(frozen=True, slots=True)
class Adjoint:
    """The request for one operator's input adjoints.

    Attributes:
        output: The adjoint of its output: the loss's derivative by it, of its shape.
        needed: For each input, whether its adjoint is wanted.
    """

    output: Value
    needed: tuple[bool, ...]


Forward = Callable[[Node, tuple[Value | None, ...], str, Emitter], Applied]
"""Applies an operator: from the inference node, its new inputs and the name of its output."""

Backward = Callable[[Applied, Adjoint, Emitter], tuple[Value | None, ...]]
"""The adjoint of each input; None for what is not needed or has none, and may be given though it is not needed."""


def apply_unchanged(node: Node, inputs: tuple[Value | None, ...], name: str, emit: Emitter) -> Applied:
    """The forward rule of operators that train as they infer."""
    return Applied(inputs, node.attributes, apply(node.operator, *inputs, name=name, **node.attributes))


@dataclass(frozen=True, slots=True)
class Rule:
    """How one operator is trained.

    Attributes:
        backward: Its adjoints.
        forward: How it is applied.
        frozen: The rule where what it reads is frozen; None where that makes no difference.
    """

    backward: Backward
    forward: Forward = apply_unchanged
    frozen: Rule | None = None

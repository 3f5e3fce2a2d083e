"""What a gradient rule is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from resnet_compile.graph import Builder, Node, Value, output_of

Target = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Emitter(Builder):
    """Writes nodes of a training step.

    Attributes:
        target: The provider whose forms to take.
    """

    target: Target


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
        node: The inference node, on what it reads in the training graph.
        output: Its first output, the only one that is ever read.
        saved: What else the backward rule needs of the forward pass.
        averages: The moving statistics that follow this batch.
    """

    node: Node
    output: Value
    saved: tuple[Value, ...] = ()
    averages: tuple[Average, ...] = ()

    @property
    def x(self) -> Value:
        return self.node.input(0)


@dataclass(frozen=True, slots=True)
class Adjoint:
    """The request for one operator's input adjoints.

    Attributes:
        output: The adjoint of its output: the loss's derivative by it, of its shape.
        needed: For each input, whether its adjoint is wanted.
    """

    output: Value
    needed: tuple[bool, ...]


Forward = Callable[[Node, str, Emitter], Applied]
"""Applies an operator: from the inference node on its new inputs, and the name of its output."""

Backward = Callable[[Applied, Adjoint, Emitter], tuple[Value | None, ...]]
"""The adjoint of each input; None for what is not needed or has none, and may be given though it is not needed."""


def apply_unchanged(node: Node, name: str, emit: Emitter) -> Applied:
    """The forward rule of operators that train as they infer."""
    return Applied(node, output_of(node, name))


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

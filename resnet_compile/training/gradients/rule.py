"""The types of a gradient rule."""

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
        target: The provider that the forms of convolutions are for.
    """

    target: Target


@dataclass(frozen=True, slots=True)
class Average:
    """A moving statistic, and the statistic of the batch that it follows.

    Attributes:
        moving: The parameter.
        batch: The batch's statistic, of the parameter's shape.
        count: The number of values behind each element of the statistic.
    """

    moving: Value
    batch: Value
    count: int


@dataclass(frozen=True, slots=True)
class Applied:
    """One operator as a training step applies it.

    Attributes:
        node: The inference node, on its inputs in the training graph.
        output: Its first output, the only one with readers.
        saved: Other values of the forward pass that the backward rule needs.
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
        output: The adjoint of its output: the derivative of the loss by it, of its shape.
        needed: Whether the adjoint is needed, for each input.
    """

    output: Value
    needed: tuple[bool, ...]


Forward = Callable[[Node, str, Emitter], Applied]
"""Applies an operator in training, given the inference node on its new inputs and the name of its output."""

Backward = Callable[[Applied, Adjoint, Emitter], tuple[Value | None, ...]]
"""Returns the adjoint of each input; None if it has none. An adjoint that is not needed may be None too."""


def apply_unchanged(node: Node, name: str, emit: Emitter) -> Applied:
    """The forward rule of operators that are the same in training and inference."""
    return Applied(node, output_of(node, name))


@dataclass(frozen=True, slots=True)
class Rule:
    """How one operator is trained.

    Attributes:
        backward: The rule for the adjoints of its inputs.
        forward: The rule for the forward pass.
        frozen: The rule if one of its inputs is frozen; None if that makes no difference.
    """

    backward: Backward
    forward: Forward = apply_unchanged
    frozen: Rule | None = None

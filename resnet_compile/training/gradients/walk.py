"""Reverse mode: a forward walk that records the applied operators, and a backward walk over the record.

Neither walk knows an operator; the table of rules does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from resnet_compile.errors import GraphError
from resnet_compile.graph import Graph, Value
from resnet_compile.training.gradients.activation import RULES as ACTIVATION
from resnet_compile.training.gradients.convolution import RULES as CONVOLUTION
from resnet_compile.training.gradients.linear import RULES as LINEAR
from resnet_compile.training.gradients.normalization import RULES as NORMALIZATION
from resnet_compile.training.gradients.pooling import RULES as POOLING
from resnet_compile.training.gradients.rule import Adjoint, Applied, Average, Emitter, Rule

RULES: Mapping[str, Rule] = {**ACTIVATION, **CONVOLUTION, **LINEAR, **NORMALIZATION, **POOLING}
"""The gradient rules: one for each operator of an inference graph."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator of the forward pass, with its rule."""

    rule: Rule
    applied: Applied


@dataclass(frozen=True)
class Trace:
    """The forward pass in training.

    Attributes:
        steps: The operators, in execution order.
        values: The value in the training graph, for each value of the inference graph.
    """

    steps: tuple[Step, ...]
    values: Mapping[Value, Value]

    @property
    def averages(self) -> tuple[Average, ...]:
        """The moving statistics, in order."""
        return tuple(average for step in self.steps for average in step.applied.averages)


def trace(
    graph: Graph, leaves: Mapping[Value, Value], emit: Emitter, *, frozen: Collection[Value] = frozenset()
) -> Trace:
    """The forward pass of an inference graph in training.

    Args:
        graph: The inference graph; every value in it is the first output of its node.
        leaves: Replacements of inputs and initializers; the others stay.
        emit: The emitter of nodes.
        frozen: Replacements that training does not change.

    Raises:
        GraphError: An operator has no rule.
    """
    values: dict[Value, Value] = {}
    steps: list[Step] = []
    for value in graph.values():
        if value.node is None:
            values[value] = leaves.get(value, value)
            continue
        inputs = tuple(source and values[source] for source in value.node.inputs)
        if not inputs:
            values[value] = value  # a Constant
            continue
        operator = value.node.operator
        if operator not in RULES:
            raise GraphError(f"no gradient rule for {operator}", where=value.name)
        rule = RULES[operator]
        if rule.frozen and any(source in frozen for source in inputs):
            rule = rule.frozen
        applied = rule.forward(replace(value.node, inputs=inputs), value.name, emit.within(value.name))
        values[value] = applied.output
        steps.append(Step(rule, applied))
    return Trace(tuple(steps), values)


def backward(
    traced: Trace, seeds: Mapping[Value, Value], wanted: Collection[Value], emit: Emitter
) -> dict[Value, Value]:
    """The adjoint of each wanted value: the derivative of a scalar by it, of its shape.

    Args:
        traced: The forward pass.
        seeds: The known adjoints of some of its values.
        wanted: The values to differentiate by. Operators that do not depend on them have no backward pass.
        emit: The emitter of nodes.

    Raises:
        GraphError: The seeded values do not depend on a wanted value.
    """
    led_to = _led_to(traced, wanted)
    parts: dict[Value, list[Value]] = {value: [adjoint] for value, adjoint in seeds.items()}
    for step in reversed(traced.steps):
        applied = step.applied
        if applied.output not in parts:
            continue
        scope = emit.within(f"gradient/{applied.output.name}")
        output = scope.total(parts[applied.output])
        parts[applied.output] = [output]
        needed = tuple(source in led_to for source in applied.node.inputs)
        adjoints = step.rule.backward(applied, Adjoint(output, needed), scope)
        for source, adjoint, need in zip(applied.node.inputs, adjoints, needed, strict=True):
            if source is not None and adjoint is not None and need:
                parts.setdefault(source, []).append(adjoint)
    without = [value.name for value in wanted if value not in parts]
    if without:
        raise GraphError("the differentiated values do not depend on it", where=without[0])
    return {value: emit.within(f"gradient/{value.name}").total(parts[value]) for value in wanted}


def _led_to(traced: Trace, wanted: Collection[Value]) -> set[Value]:
    """The wanted values, and all values that depend on them."""
    reached = set(wanted)
    for step in traced.steps:
        if any(source in reached for source in step.applied.node.inputs):
            reached.add(step.applied.output)
    return reached

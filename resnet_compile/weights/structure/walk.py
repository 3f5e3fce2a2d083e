"""Finds the nodes that read a place of the model, past nodes that only move numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.weights.structure.model import (
    ATTRIBUTE,
    FOREIGN,
    NO_WORD,
    OPERATOR,
    WEIGHTS,
    Counterpart,
    Place,
    Walk,
    Wanted,
)
from resnet_compile.weights.structure.moves import MOVES, moved

_OF_8_BITS = frozenset({"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QuantizeLinear"})
# Operators that read a value's shape, not its numbers.
_OF_SHAPES = frozenset({"Shape", "Size"})
_ACTIVATIONS = frozenset({"Clip", "LeakyRelu", "Max", "Min", "PRelu", "Relu", "Sigmoid", "Softmax"})
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean", "Slice"})
_OF_LAYERS = _ACTIVATIONS | _POOLS | {"Add", "BatchNormalization", "Conv", "Gemm", "MatMul", "Sum"}
_OF_ANY_INPUT = frozenset({"Add", "Max", "Min", "Mul", "Sum"})


def places(model: Walk, step: Counterpart, wanted: Wanted | None) -> Iterator[Place]:
    """A step's place, and the places after nodes that only move it. Mismatches are recorded only for a wanted layer."""
    ahead, seen = [step.place], {step.place.value}
    while ahead:
        here = ahead.pop()
        model.visit(here)
        yield here
        for node in model.readers(here.value):
            if node.operator not in MOVES or node.inputs[0] != here.value:
                continue
            there = moved(model, node, here)
            if isinstance(there, str):
                model.note(step, wanted, node, there, NO_WORD, closeness=WEIGHTS)
            elif there.value not in seen:
                seen.add(there.value)
                ahead.append(there)


def takers(model: Walk, step: Counterpart, wanted: Wanted | None, *operators: str) -> Iterator[tuple[OnnxNode, Place]]:
    """The nodes of these operators that take a step's value, each with the place that it reads."""
    for here in places(model, step, wanted):
        for node in model.readers(here.value):
            if node.operator in operators and node.outputs:
                if node.inputs[0] != here.value and node.operator not in _OF_ANY_INPUT:
                    continue
                if here.owed:
                    model.note(step, wanted, node, "reads biases that the spec has not", NO_WORD, closeness=ATTRIBUTE)
                else:
                    yield node, here
            elif wanted and node.operator not in MOVES and node.operator not in _OF_SHAPES:
                closeness = OPERATOR if _is_of_a_layer(model, node) else FOREIGN
                fault = f"stands where the spec has {wanted.words}{_rewritten(node)}"
                model.note(step, wanted, node, fault, None, closeness=closeness)


def _rewritten(node: OnnxNode) -> str:
    """What made a model of operators that no network has, and what to give instead."""
    if node.operator in _OF_8_BITS:
        return "; the model computes in 8 bits, so give the float model that it was made from"
    domain, _, _ = node.operator.rpartition("::")
    return f"; an optimiser wrote it ({domain}), so give the model as it was exported" if domain else ""


def _is_of_a_layer(model: Walk, node: OnnxNode) -> bool:
    """Whether layers have such nodes; a factor that is the same for every image none has."""
    return node.operator in _OF_LAYERS or (node.operator == "Mul" and not any(map(model.is_constant, node.inputs)))


def distinct(steps: Iterable[Counterpart]) -> list[Counterpart]:
    """One step per place: steps to the same place compute the same."""
    found: dict[tuple[str, str, bool], Counterpart] = {}
    for step in steps:
        found.setdefault((step.place.value, step.place.axes, step.place.owed is None), step)
    return list(found.values())

"""Gradients of activations.

The slope of a rectifier is a step. `HardSigmoid`, max(0, min(1, a x + b)), computes it in one pass: with a = 1e38 the
ramp from 0 to 1 is narrower than the smallest normal float32. `b` is the slope at exactly 0. (On onnxruntime's CPU
provider Where takes many times as long.)
"""

from __future__ import annotations

from resnet_compile.graph import Value
from resnet_compile.training.gradients.rule import Adjoint, Applied, Emitter, Rule

_STEEP = 1e38


def _relu(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule dx = dy where y > 0, else 0."""
    return (emit.apply("Mul", adjoint.output, _step(applied.output, at_zero=0.0, emit=emit)),)


def _leaky_relu(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule dx = dy where y >= 0, else alpha * dy. As in the original, the slope at 0 is 1."""
    alpha = applied.node.attributes.number("alpha")
    step = _step(applied.output, at_zero=1.0, emit=emit)
    slope = emit.apply("Clip", step, emit.scalar(alpha, step, rank=0))
    return (emit.apply("Mul", adjoint.output, slope),)


def _clip(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule dx = dy where least < y < most, else 0, as for ReLU6 in PyTorch and TensorFlow."""
    above = _step(emit.apply("Sub", applied.output, applied.node.input(1)), at_zero=0.0, emit=emit)
    below = _step(emit.apply("Sub", applied.node.input(2), applied.output), at_zero=0.0, emit=emit)
    return emit.apply("Mul", adjoint.output, emit.apply("Mul", above, below)), None, None


def _sigmoid(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule dx = dy y (1 - y)."""
    y = applied.output
    slope = emit.apply("Mul", y, emit.apply("Sub", emit.scalar(1.0, y), y))
    return (emit.apply("Mul", adjoint.output, slope),)


def _softmax(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    """The rule dx = y * (dy - sum(dy * y)), summed over the axis of the softmax."""
    y, axis = applied.output, applied.node.attributes.integer("axis")
    mean = emit.sum(emit.apply("Mul", adjoint.output, y), (axis % len(y.shape),), keep=True)
    return (emit.apply("Mul", y, emit.apply("Sub", adjoint.output, mean)),)


def _step(y: Value, *, at_zero: float, emit: Emitter) -> Value:
    """1 above zero, 0 below, `at_zero` at zero."""
    return emit.apply("HardSigmoid", y, alpha=_STEEP, beta=at_zero)


RULES = {
    "Clip": Rule(_clip),
    "LeakyRelu": Rule(_leaky_relu),
    "Relu": Rule(_relu),
    "Sigmoid": Rule(_sigmoid),
    "Softmax": Rule(_softmax),
}

"""Batch normalisation by the statistics of the batch.

y = gamma (x - m) / sqrt(v + epsilon) + beta, with the mean m and the biased variance v of each channel over batch, rows
and columns, n values in all. With d = x - m and r = 1 / sqrt(v + epsilon),

    dbeta = sum(dy),    dgamma = r sum(dy d),
    dx = gamma r (dy - sum(dy) / n - d r^2 sum(dy d) / n),

which has the dependence of m and v on x in it. The operator itself stays the one of inference, with the batch's
statistics for the moving ones: that is one pass over the map, and the CUDA provider refuses `training_mode`. Two of the
three passes of dx are the same operator too, which multiplies, subtracts and scales by channel at once.

A frozen norm goes by its moving statistics, which do not depend on x: dx = gamma r dy, and nothing else is asked for.
"""

from __future__ import annotations

import math

import numpy as np

from resnet_compile.graph import Node, Value, apply
from resnet_compile.training.gradients.rule import Adjoint, Applied, Average, Emitter, Rule

_POSITIONS = (0, 2, 3)


def _forward(node: Node, name: str, emit: Emitter) -> Applied:
    x, gamma, beta, moving_mean, moving_variance = map(node.input, range(5))
    channels = x.static_shape[1]
    count = math.prod(x.static_shape) // channels
    mean = emit.scaled(emit.sum(x, _POSITIONS, keep=True), 1 / count)
    centred = emit.apply("Sub", x, mean)
    # Not the mean of squares less the square of the mean, which cancels where the mean is large.
    variance = emit.scaled(emit.sum(emit.apply("Mul", centred, centred), _POSITIONS, keep=True), 1 / count)
    batch_mean, batch_variance = emit.reshape(mean, (channels,)), emit.reshape(variance, (channels,))
    zeros = _filled(0.0, channels, x, emit)
    y = apply("BatchNormalization", centred, gamma, beta, zeros, batch_variance, name=name, **node.attributes)
    averages = (Average(moving_mean, batch_mean, count), Average(moving_variance, batch_variance, count))
    return Applied(node, y, (centred, batch_variance), averages)


def _backward(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    centred, variance = applied.saved
    dy, gamma = adjoint.output, applied.node.input(1)
    channels = gamma.static_shape[0]
    count = math.prod(dy.static_shape) // channels
    sum_dy = emit.sum(dy, _POSITIONS)
    sum_dy_centred = emit.sum(emit.apply("Mul", dy, centred), _POSITIONS)
    rate = _reciprocal_deviation(applied, variance, emit)
    dgamma = emit.apply("Mul", sum_dy_centred, rate) if adjoint.needed[1] else None
    if not adjoint.needed[0]:
        return None, dgamma, sum_dy, None, None
    # dx = gamma r ((dy - c d) - mean_dy) with c = r^2 sum(dy d) / n.
    slope = emit.apply("Mul", emit.apply("Mul", rate, rate), emit.scaled(sum_dy_centred, 1 / count))
    along = emit.apply("Mul", centred, emit.reshape(slope, (1, channels, 1, 1)))
    scale = emit.apply("Mul", gamma, rate)
    zeros, ones = (_filled(number, channels, dy, emit) for number in (0.0, 1.0))
    rest, mean_dy = emit.apply("Sub", dy, along), emit.scaled(sum_dy, 1 / count)
    dx = emit.apply("BatchNormalization", rest, scale, zeros, mean_dy, ones, epsilon=0.0)
    return dx, dgamma, sum_dy, None, None


def _reciprocal_deviation(applied: Applied, variance: Value, emit: Emitter) -> Value:
    epsilon = applied.node.attributes.number("epsilon")
    deviation = emit.apply("Sqrt", emit.apply("Add", variance, emit.scalar(epsilon, variance)))
    return emit.apply("Div", emit.scalar(1.0, variance), deviation)


def _filled(number: float, channels: int, like: Value, emit: Emitter) -> Value:
    return emit.tensor(f"{number!r}x{channels}", np.full(channels, number, like.type.dtype), like.type.dtype)


def _backward_frozen(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    gamma, variance = applied.node.input(1), applied.node.input(4)
    channels = gamma.static_shape[0]
    scale = emit.apply("Mul", gamma, _reciprocal_deviation(applied, variance, emit))
    dx = emit.apply("Mul", adjoint.output, emit.reshape(scale, (1, channels, 1, 1)))
    return dx, None, None, None, None


RULES = {"BatchNormalization": Rule(_backward, _forward, frozen=Rule(_backward_frozen))}

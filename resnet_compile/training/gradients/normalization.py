"""Batch normalisation with the statistics of the batch.

    y = gamma (x - m) / sqrt(v + epsilon) + beta,

with the mean m and the biased variance v of each channel over batch, rows and columns, n values in all. With d = x - m
and r = 1 / sqrt(v + epsilon),

    dbeta = sum(dy),    dgamma = r sum(dy d),
    dx = gamma r (dy - sum(dy) / n - d r^2 sum(dy d) / n),

where the last two terms come from m and v, which depend on x. Training uses the operator of inference, with the batch's
statistics in place of the moving ones: it takes one pass over the map, and the CUDA provider refuses `training_mode`.
dx uses that operator too, which subtracts, scales and shifts each channel in one pass.

The statistics of a frozen norm, or of a scale and an offset, do not depend on x. Then

    dbeta = sum(dy),    dgamma = r sum(dy (x - m)),    dx = gamma r dy.
"""

from __future__ import annotations

import math

import numpy as np

from resnet_compile.graph import ConstantTensor, Node, Value, apply
from resnet_compile.training.gradients.rule import Adjoint, Applied, Average, Emitter, Rule, apply_unchanged

_POSITIONS = (0, 2, 3)


def _forward(node: Node, name: str, emit: Emitter) -> Applied:
    x, gamma, beta, moving_mean, moving_variance = map(node.input, range(5))
    if isinstance(moving_mean.contents, ConstantTensor):  # of a scale and an offset
        return apply_unchanged(node, name, emit)
    channels = x.static_shape[1]
    count = math.prod(x.static_shape) // channels
    mean = emit.scaled(emit.sum(x, _POSITIONS, keep=True), 1 / count)
    centred = emit.apply("Sub", x, mean)
    # Not the mean of squares minus the square of the mean, which cancels if the mean is large.
    variance = emit.scaled(emit.sum(emit.apply("Mul", centred, centred), _POSITIONS, keep=True), 1 / count)
    batch_mean, batch_variance = emit.reshape(mean, (channels,)), emit.reshape(variance, (channels,))
    zeros = _filled(0.0, channels, x, emit)
    y = apply("BatchNormalization", centred, gamma, beta, zeros, batch_variance, name=name, **node.attributes)
    averages = (Average(moving_mean, batch_mean, count), Average(moving_variance, batch_variance, count))
    return Applied(node, y, (centred, batch_variance), averages)


def _backward(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    if not applied.saved:
        return _backward_fixed(applied, adjoint, emit)
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


def _backward_fixed(applied: Applied, adjoint: Adjoint, emit: Emitter) -> tuple[Value | None, ...]:
    dy, gamma, mean, variance = adjoint.output, *(applied.node.input(place) for place in (1, 3, 4))
    by_channel = (1, gamma.static_shape[0], 1, 1)
    rate = _reciprocal_deviation(applied, variance, emit)
    dx = emit.apply("Mul", dy, emit.reshape(emit.apply("Mul", gamma, rate), by_channel))
    dgamma = None
    if adjoint.needed[1]:
        centred = emit.apply("Sub", applied.x, emit.reshape(mean, by_channel))
        dgamma = emit.apply("Mul", rate, emit.sum(emit.apply("Mul", dy, centred), _POSITIONS))
    return dx, dgamma, emit.sum(dy, _POSITIONS) if adjoint.needed[2] else None, None, None


RULES = {"BatchNormalization": Rule(_backward, _forward, frozen=Rule(_backward_fixed))}

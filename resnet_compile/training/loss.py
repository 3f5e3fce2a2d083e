"""The loss of a classifier, its derivative, and a batch's accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from resnet_compile.graph import Value, apply
from resnet_compile.training.gradients import Emitter


@dataclass(frozen=True, slots=True)
class Classification:
    """The loss and accuracy of a batch.

    Attributes:
        cost: Mean cross-entropy of the softmax over all positions, without weight decay; a scalar.
        adjoint: The cost's derivative by the logits, in their shape.
        accuracy: The share of positions whose greatest logit is the label's; a scalar.
    """

    cost: Value
    adjoint: Value
    accuracy: Value


def label_shape(logits: Value) -> tuple[int, ...]:
    """The shape of the labels: [N], one per image; or [N, H, W], one per pixel, if the logits are a map."""
    batch, _, *positions = logits.static_shape
    return (batch, *positions) if math.prod(positions) > 1 else (batch,)


def classification(logits: Value, predictions: Value, labels: Value, emit: Emitter) -> Classification:
    """The mean softmax cross-entropy and its derivative.

    With p = softmax(z) and the one-hot labels t, over n positions: cost = -sum(t log p) / n, dz = (p - t) / n.

    Args:
        logits: [N, C], or [N, C, H, W].
        predictions: Their softmax over the classes.
        labels: Class numbers, int64, of `label_shape`. An invalid number counts as no class, without an error.
        emit: Where to write.
    """
    shape = logits.static_shape
    count = math.prod(shape) // shape[1]
    numbers = emit.reshape(labels, (shape[0], 1, *shape[2:]))
    classes = np.arange(shape[1]).reshape(1, -1, *(1 for _ in shape[2:]))
    # Not OneHot, which counts a negative class from the end.
    is_class = emit.apply("Equal", numbers, emit.tensor(f"classes/{len(shape)}", classes, "int64"))
    one_hot = emit.to_float(is_class)
    log_likelihood = emit.apply("Mul", emit.apply("LogSoftmax", logits, axis=1), one_hot)
    cost = emit.scaled(emit.sum(log_likelihood, range(len(shape))), -1 / count)
    adjoint = emit.scaled(emit.apply("Sub", predictions, one_hot), 1 / count)
    right = emit.apply("Equal", emit.apply("ArgMax", logits, axis=1), numbers)
    hits = emit.sum(emit.to_float(right), range(len(shape)))
    accuracy = apply("Mul", hits, emit.scalar(1 / count, hits), name="accuracy")
    return Classification(cost, adjoint, accuracy)


def decay_penalty(weights: Iterable[Value], factor: float, emit: Emitter) -> Value | None:
    """The L2 penalty, factor * sum(w^2) / 2 over all weights, a scalar; None if there is no decay."""
    weights = tuple(weights)
    if factor == 0 or not weights:
        return None
    squares = (emit.sum(emit.apply("Mul", w, w), range(len(w.shape))) for w in weights)
    return emit.scaled(emit.total(tuple(squares)), factor / 2)

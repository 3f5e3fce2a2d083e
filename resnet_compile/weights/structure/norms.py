"""Matches normalisations of the model with the plan's.

Batch normalisation is y = (x - m) / sqrt(v + e) g + b. If our epsilon is e', its variance becomes v + e - e'. If the
norm was folded into its convolution, it becomes g = 1, b = the convolution's biases, m = 0, v = 1 - e': y = x + b.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan import layers
from resnet_compile.weights.structure.activations import activated
from resnet_compile.weights.structure.model import (
    ATTRIBUTE,
    MAP,
    NO_WORD,
    PIXEL,
    WEIGHTS,
    ComputedTensor,
    Counterpart,
    Place,
    Walk,
    Wanted,
    or_zeros,
    through,
)
from resnet_compile.weights.structure.walk import takers
from resnet_compile.weights.structure.weights import Values


def norm_activation(model: Walk, layer: layers.NormActivation, step: Counterpart) -> Iterator[Counterpart]:
    """A normalisation of its own; if it was folded into the convolution before it, it absorbs the owed biases."""
    owed = step.place.owed
    paid = step.on(replace(step.place, owed=None))
    wanted = Wanted(layer.scope, "a BatchNormalization")
    found = [*normalised(model, layer.norm, paid, owed, wanted), paid.on(paid.place, filled=folded(layer.norm, owed))]
    yield from activated(model, layer.activation, iter(found), layer.scope)


def normalised(
    model: Walk, norm: layers.Norm, step: Counterpart, biases: Values | None, wanted: Wanted
) -> Iterator[Counterpart]:
    """A BatchNormalization, or what computes the same; biases of the convolution before it move its mean."""
    for node, here in takers(model, step, wanted, "BatchNormalization"):
        if fault := _fault(model, node, norm):
            model.note(step, wanted, node, *fault, closeness=ATTRIBUTE)
            continue
        if here.axes not in (MAP, PIXEL) or here.border:
            model.note(step, wanted, node, "normalises other axes than the channels", NO_WORD, closeness=WEIGHTS)
            continue
        gamma, beta, mean, variance = (model.values(node, index) for index in (1, 2, 3, 4))
        epsilon = node.floats.get("epsilon", 1e-5)
        place = through(here, node)
        if isinstance(norm, layers.ChannelAffine):
            scale = partial(_scale, gamma, variance, epsilon)
            offset = partial(_offset, beta, partial(_minus, mean, biases), scale)
            merged = (
                ComputedTensor(norm.gamma, scale),
                ComputedTensor(norm.beta, offset, given=biases is None),
            )
            yield step.on(place, node, filled=merged)
            continue
        gammas = (ComputedTensor(norm.gamma, gamma),) if norm.gamma else ()
        filled = (
            *gammas,
            ComputedTensor(norm.beta, beta),
            ComputedTensor(norm.moving_mean, partial(_minus, mean, biases), given=biases is None),
            ComputedTensor(norm.moving_variance, partial(_plus, variance, epsilon - norm.epsilon)),
        )
        yield step.on(place, node, filled=filled)
    yield from _affine(model, norm, step, biases, wanted)


def _affine(
    model: Walk, norm: layers.Norm, step: Counterpart, biases: Values | None, wanted: Wanted
) -> Iterator[Counterpart]:
    """A product with a vector and a sum with one, which exporters write for a normalisation: y = x s + o."""
    if norm.gamma is None:
        return
    for node, here in takers(model, step, wanted, "Mul"):
        if (scale := _vector(model, node, here)) is None:
            continue
        behind = step.on(through(here, node), node)
        for total, there in takers(model, behind, wanted, "Add"):
            if (offset := _vector(model, total, there)) is not None:
                beta = partial(_shifted, offset, scale, biases) if biases else offset
                filled = ComputedTensor(norm.gamma, scale), ComputedTensor(norm.beta, beta, given=biases is None)
                kept = [each for each in folded(norm, None) if each.parameter.role.startswith("moving")]
                yield behind.on(through(there, total), total, filled=(*filled, *kept))


def _vector(model: Walk, node: OnnxNode, here: Place) -> Values | None:
    """The constant that a node has beside a place, a number for each channel; None where it is anything else."""
    if here.border or len(node.inputs) != 2:
        return None
    shape = model.shape(node, side := 1 - node.inputs.index(here.value))
    rank = len(here.axes)
    wanted = tuple(here.channels if axis == "C" else 1 for axis in here.axes)
    if shape is None or len(shape) > rank or (1,) * (rank - len(shape)) + shape != wanted:
        return None
    return partial(_flat, model.values(node, side))


def _flat(values: Values) -> NDArray[Any]:
    flat: NDArray[Any] = values().ravel()
    return flat


def _shifted(offset: Values, scale: Values, biases: Values) -> NDArray[Any]:
    shifted: NDArray[Any] = offset() + scale() * biases()
    return shifted


def _fault(model: Walk, node: OnnxNode, norm: layers.Norm) -> tuple[str, str] | None:
    """The property of a BatchNormalization that the plan's norm cannot have, and what to do about it."""
    shapes = [model.shape(node, index) for index in (1, 2, 3, 4)]
    if any(shape != norm.beta.shape for shape in shapes):
        return (
            f"has parameters of shapes {shapes}, the spec {norm.beta.shape}",
            f"the depths stand in {model.site.path}",
        )
    trains = node.ints.get("training_mode", (0,)) != (0,) or node.ints.get("is_test", (1,)) != (1,)
    if trains or any(node.outputs[1:]):
        return "normalises by the batch's statistics", "export the model in evaluation mode"
    if node.ints.get("spatial", (1,)) != (1,):
        return "has statistics for every row and column", NO_WORD
    if norm.gamma is None and not (model.values(node, 1)() == 1).all():
        return "has a scale, the spec's norm has none", "set $.norm.scale to true"
    return None


def folded(norm: layers.Norm, biases: Values | None) -> tuple[ComputedTensor, ...]:
    """The normalisation that computes x + biases."""
    size = norm.beta.size
    scale = (ComputedTensor(norm.gamma, lambda: np.ones(size), given=False),) if norm.gamma else ()
    filled = *scale, or_zeros(norm.beta, biases)
    if isinstance(norm, layers.ChannelAffine):
        return filled
    return (
        *filled,
        ComputedTensor(norm.moving_mean, lambda: np.zeros(size), given=False),
        ComputedTensor(norm.moving_variance, lambda: np.full(size, 1 - norm.epsilon), given=False),
    )


def _scale(gamma: Values, variance: Values, epsilon: float) -> NDArray[Any]:
    scale: NDArray[Any] = gamma() / np.sqrt(variance() + epsilon)
    return scale


def _offset(beta: Values, mean: Values, scale: Values) -> NDArray[Any]:
    offset: NDArray[Any] = beta() - mean() * scale()
    return offset


def _minus(values: Values, others: Values | None) -> NDArray[Any]:
    return values() - others() if others else values()


def _plus(values: Values, more: float) -> NDArray[Any]:
    return values() + more

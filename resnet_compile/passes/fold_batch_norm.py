"""Batch normalisation folded into the convolution before it.

With s = gamma / sqrt(variance + epsilon), one factor for each output channel o of the convolution::

    BatchNormalization(Conv(x, W) + c) = s (Conv(x, W) + c - mean) + beta
                                       = Conv(x, s W) + (beta + s (c - mean))

since a convolution is linear in its weights, and zero padding affects x alone. This holds for every gamma, and for
grouped, strided and dilated convolutions. Each float32 weight is rounded once, like the product by s in the batch
normalisation, so the rounding error is no greater than that of the two operators.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from resnet_compile.graph import (
    Graph,
    Node,
    Readers,
    ScaledTensor,
    Value,
    Vector,
    VectorTensor,
    exact,
    initializer,
    made_by,
    rebuilt,
    rewrite,
)
from resnet_compile.passes.base import PassResult


def fold_batch_norm(graph: Graph) -> PassResult:
    """Replaces every convolution with a batch normalisation as its only reader by one convolution with biases.

    The convolution takes the normalisation's name. Its initializers are called `.../weights/folded` and
    `.../beta/folded`, after the old ones.
    """
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    refused: list[str] = []
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        norm = made_by(value, "BatchNormalization")
        if norm is None:
            return None
        if reason := _refusal(norm.input(0), read_by, outputs):
            refused.append(f"{value.name}: {reason}")
            return None
        done += 1
        conv = sources[0]  # on its new inputs; nothing else reads it
        assert conv is not None, "a node has its first input"
        return rebuilt(conv, (conv.maker.input(0), *_folded(conv.maker, norm)), value.name)

    return PassResult(rewrite(graph, rule), done, tuple(refused))


def _refusal(x: Value, read_by: Readers, outputs: Collection[Value]) -> str | None:
    conv = made_by(x, "Conv")
    if conv is None:
        return "no convolution precedes it"
    if x in outputs:
        return f"{x.name} is a requested output"
    if len(read_by[x]) > 1:
        return f"{x.name} has other readers"
    for what, source in (("weights", conv.input(1)), ("biases", conv.optional(2))):
        if source and source.contents is None:
            return f"the {what} of {x.name} are computed"
        if source and len(read_by[source]) > 1:
            return f"other nodes share the {what} of {x.name}"
    return None


def _folded(conv: Node, norm: Node) -> tuple[Value, Value]:
    weights, biases = conv.input(1), conv.optional(2)
    gamma, beta, mean, variance = (norm.input(place) for place in range(1, 5))
    epsilon = norm.attributes.number("epsilon")

    def scale() -> Vector:
        return exact(gamma) / np.sqrt(exact(variance) + epsilon)

    def shift() -> Vector:
        centre = exact(biases) - exact(mean) if biases else -exact(mean)
        return exact(beta) + scale() * centre

    new_weights, new_biases = f"{weights.name}/folded", f"{beta.name}/folded"
    return (
        initializer(new_weights, ScaledTensor(new_weights, weights.tensor, 0, scale)),
        initializer(new_biases, VectorTensor(new_biases, beta.static_shape, shift)),
    )

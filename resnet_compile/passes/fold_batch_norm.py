"""Batch normalisation into the convolution before it.

With s = gamma / sqrt(variance + epsilon), one factor for each output channel o of the convolution::

    BatchNormalization(Conv(x, W) + c) = s (Conv(x, W) + c - mean) + beta
                                       = Conv(x, s W) + (beta + s (c - mean))

since a convolution is linear in its weights, and padding with zeros touches x alone. It is so for every sign of gamma,
for gamma = 0, and for grouped, strided and dilated convolutions. Each float32 weight is rounded once, as the product
s z would be, so the rounding is not above that of the two operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from resnet_compile.graph import Graph, Node, Tensor, Value, apply, constant, rewrite
from resnet_compile.passes.base import PassResult, ScaledTensor, Vector, VectorTensor, exact, made_by, readers


def fold_batch_norm(graph: Graph) -> PassResult:
    """Replaces every convolution and the batch normalisation that alone reads it by one convolution with biases.

    The convolution takes the normalisation's name. Its initializers are called `.../weights/folded` and
    `.../beta/folded`, after those that they are derived from.
    """
    read_by, data, refused = readers(graph), dict(graph.data), []
    outputs = frozenset(graph.outputs)
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        norm = made_by(value, "BatchNormalization")
        if norm is None:
            return None
        if reason := _refusal(norm.inputs[0], read_by, outputs):
            refused.append(f"{value.name}: {reason}")
            return None
        done += 1
        conv = sources[0].node if sources[0] else None
        assert conv is not None, "the refusals have seen to it that a convolution makes the input"
        weights, biases = _folded(conv, norm, data)
        return apply("Conv", conv.inputs[0], weights, biases, name=value.name, **conv.attributes)

    made = rewrite(graph, rule)
    return PassResult(replace(made, data=data), done, tuple(refused))


def _refusal(x: Value | None, read_by: Mapping[Value, tuple[Value, ...]], outputs: frozenset[Value]) -> str | None:
    conv = made_by(x, "Conv")
    if x is None or conv is None:
        return "no convolution stands before it"
    if x in outputs:
        return f"{x.name} is a requested output"
    if len(read_by[x]) > 1:
        return f"{x.name} has other readers"
    if any(source and source.initializer and len(read_by[source]) > 1 for source in conv.inputs):
        return f"other nodes share the weights of {x.name}"
    return None


def _folded(conv: Node, norm: Node, data: dict[str, Tensor]) -> tuple[Value, Value]:
    """The convolution's new weights and biases; enters their contents."""
    weights, biases = conv.inputs[1], conv.inputs[2] if len(conv.inputs) > 2 else None
    gamma, beta, mean, variance = (data[source.name] for source in norm.inputs[1:] if source)
    epsilon = norm.attributes["epsilon"]
    assert weights is not None
    assert isinstance(epsilon, float)
    before = data[biases.name] if biases else None

    def scale() -> Vector:
        return exact(gamma) / np.sqrt(exact(variance) + epsilon)

    def shift() -> Vector:
        centre = exact(before) - exact(mean) if before else -exact(mean)
        return exact(beta) + scale() * centre

    new_weights, new_biases = f"{weights.name}/folded", f"{_name(norm.inputs[2])}/folded"
    old = data[weights.name]
    data[new_weights] = ScaledTensor(new_weights, old, 0, scale)
    data[new_biases] = VectorTensor(new_biases, beta.shape, shift)
    return constant(new_weights, "float32", old.shape), constant(new_biases, "float32", beta.shape)


def _name(value: Value | None) -> str:
    assert value is not None
    return value.name

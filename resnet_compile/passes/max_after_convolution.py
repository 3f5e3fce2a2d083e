"""The ReLU between two convolutions as a maximum with a threshold.

The first convolution and its batch normalisation are a (Conv(x, V) + c) + b. With z' = Conv(x, a V) they are z' + d,
where d = b + a c. The offset d moves into the second convolution::

    relu(z' + d) = max(z', -d) + d
    Conv(relu(z' + d), W) + e = Conv(max(z', -d), W) + (e + W d)

The second convolution must not be padded: its border of zeros would lack d. The first one loses its biases, and one Max
does the work of the ReLU and the offset. If d is large against the activations, the two forms round differently;
`cancellation` sets the limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from resnet_compile.graph import Graph, Readers, Value, apply, made_by, rewrite
from resnet_compile.passes.base import PassResult
from resnet_compile.passes.batch_norm import affine
from resnet_compile.passes.cancellation import relu_moments
from resnet_compile.passes.edits import Edits, linear_readers


def max_after_convolution(graph: Graph) -> PassResult:
    """Rewrites convolution, batch normalisation and ReLU before convolutions without padding."""
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    edits = Edits("thresholded")
    thresholds: dict[Value, Value] = {}
    refused = []
    for relu in graph.values():
        conv = _pattern(relu, read_by, outputs)
        if conv is None:
            continue
        if isinstance(consumers := linear_readers(relu, read_by, outputs), str):
            refused.append(f"{relu.name}: {consumers}")
        elif reason := _threshold(relu, conv, consumers, edits, thresholds):
            refused.append(f"{relu.name}: {reason}")

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value in thresholds:
            scaled = sources[0].maker.input(0) if sources[0] else None
            return apply("Max", scaled, thresholds[value], name=f"{value.name}/Max")
        if edits.edited(value):
            unchanged = value not in edits.output_scales
            return edits.rebuild(value, sources, value.name if unchanged else f"{value.name}/scaled")
        return None

    return PassResult(rewrite(graph, rule), len(thresholds), tuple(refused))


def _pattern(relu: Value, read_by: Readers, outputs: Collection[Value]) -> Value | None:
    """The convolution before a batch normalisation that only this ReLU reads; None if there is none."""
    activation = made_by(relu, "Relu")
    normed = activation.input(0) if activation else None
    norm = made_by(normed, "BatchNormalization")
    conv = norm.input(0) if norm else None
    made = made_by(conv, "Conv")
    if normed is None or conv is None or made is None or {normed, conv} & {*outputs}:
        return None
    if any(source.contents is None for source in filter(None, made.inputs[1:])):
        return None
    alone = len(read_by[normed]) == len(read_by[conv]) == len(read_by[made.input(1)]) == 1
    return conv if alone else None


def _threshold(
    relu: Value, conv: Value, consumers: Mapping[Value, bool], edits: Edits, thresholds: dict[Value, Value]
) -> str | None:
    """Adds the edits of one place, or returns the reason for a refusal."""
    values = affine(relu.maker.input(0).maker)
    offset = values.shift + values.scale * edits.bias(conv)
    if not values.finite or np.abs(offset).max() > np.finfo(np.float32).max:
        return "an offset is beyond float32"
    if reason := edits.absorb(consumers, offset, relu_moments(values.deviation, values.centre)):
        return reason
    edits.output_scales[conv] = values.scale
    edits.biases[conv] = None
    thresholds[relu] = edits.vector(f"{relu.name}/threshold", -offset, (1, offset.size, 1, 1))
    return None

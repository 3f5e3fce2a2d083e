"""A convolution, its biases, a sum and a ReLU, fused into one operator of onnxruntime.

    FusedConv(x, W, b, z) = relu(Conv(x, W) + b + z)

cuDNN computes this in one kernel; without it onnxruntime's CUDA provider runs up to four, and it does not fuse them by
itself. The provider has the operator only for ReLU and float32 (onnxruntime, contrib_ops/cuda/fused_conv.cc). In a sum
of two convolutions the later one becomes the FusedConv, and the other's result is its z.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from resnet_compile.graph import Graph, Node, Readers, Value, apply, made_by, rewrite
from resnet_compile.passes.base import PassResult


@dataclass(frozen=True, slots=True)
class _Found:
    """The operands of a ReLU: a convolution, and the position of the other operand in their sum, if there is a sum."""

    convolution: Node
    added: int | None


def fuse_convolutions(graph: Graph) -> PassResult:
    """Replaces ReLUs of convolutions, and of sums with one, by `FusedConv`."""
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    found: dict[Value, _Found] = {}
    refused = []
    for relu in graph.values():
        if (made := made_by(relu, "Relu")) is None:
            continue
        source = made.input(0)
        if source.type.dtype == "float32" and (made_by(source, "Conv") or made_by(source, "Add")):
            match = _match(source, read_by, outputs)
            if isinstance(match, str):
                refused.append(f"{relu.name}: {match}")
            else:
                found[relu] = match

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value not in found or sources[0] is None:
            return None
        place, summed = found[value].added, sources[0].maker
        convolution = summed if place is None else summed.input(1 - place).maker
        added = () if place is None else (convolution.optional(2), summed.input(place))
        inputs = (*convolution.inputs[:2], *(added or convolution.inputs[2:]))
        attributes = {**convolution.attributes, "activation": "Relu"}
        return apply("com.microsoft:FusedConv", *inputs, name=value.name, **attributes)

    return PassResult(rewrite(graph, rule), len(found), tuple(refused))


def _match(source: Value, read_by: Readers, outputs: Collection[Value]) -> _Found | str:
    """The operands to fuse with the ReLU of a value, or the reason for a refusal."""

    def alone(value: Value) -> bool:
        return value not in outputs and len(read_by[value]) == 1

    if not alone(source):
        return f"{source.name} is needed before its ReLU too"
    if (convolution := made_by(source, "Conv")) is not None:
        return _Found(convolution, None)
    summands = [source.maker.input(0), source.maker.input(1)]
    # The last operand is computed last.
    for place in (1, 0):
        convolution, other = made_by(summands[place], "Conv"), summands[1 - place]
        if convolution is not None and alone(summands[place]) and summands[place].type == other.type:
            return _Found(convolution, 1 - place)
    return f"{source.name} is no sum with a convolution that it alone reads"

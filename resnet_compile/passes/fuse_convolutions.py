"""A convolution, its biases, what is added to it, and a ReLU, in one operator of onnxruntime's.

    FusedConv(x, W, b, z) = relu(Conv(x, W) + b + z)

cuDNN computes this in one kernel, where onnxruntime's CUDA provider otherwise has up to four, and does not make this
operator by itself. It has it for ReLU and float32 alone (onnxruntime, contrib_ops/cuda/fused_conv.cc). Where two
convolutions are added, the one that comes later takes the other's result, which is there by then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from resnet_compile.graph import Graph, Node, Readers, Value, apply, made_by, rewrite
from resnet_compile.passes.base import PassResult


@dataclass(frozen=True, slots=True)
class _Found:
    """What a ReLU is taken of: the convolution, and the place of what is added to it in their sum, if there is one."""

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
    """What is fused into the ReLU of a value, or the reason why nothing is."""

    def alone(value: Value) -> bool:
        return value not in outputs and len(read_by[value]) == 1

    if not alone(source):
        return f"{source.name} is needed before its ReLU too"
    if (convolution := made_by(source, "Conv")) is not None:
        return _Found(convolution, None)
    summands = [source.maker.input(0), source.maker.input(1)]
    # The last that the graph comes to is computed last.
    for place in (1, 0):
        convolution, other = made_by(summands[place], "Conv"), summands[1 - place]
        if convolution is not None and alone(summands[place]) and summands[place].type == other.type:
            return _Found(convolution, 1 - place)
    return f"{source.name} is no sum with a convolution that it alone reads"

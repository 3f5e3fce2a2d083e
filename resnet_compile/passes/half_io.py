"""Inputs and outputs in half precision, of a graph that computes in it.

A Cast from an input or to an output goes, and the value inside takes the name of what is fed or told; what is float32
inside, such as Softmax, is told through a Cast. An output beyond half's range, 65504, comes out infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resnet_compile.graph import Graph, Type, Value, apply, rename, rewrite
from resnet_compile.passes.base import PassResult

_FLOAT16, _FLOAT32 = 10, 1  # onnx.TensorProto's numbers


def half_io(graph: Graph) -> PassResult:
    """Makes float32 inputs and outputs float16; their names stay."""
    inputs = {value: replace(value, type=_half(value)) for value in graph.inputs if value.type.dtype == "float32"}

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value in inputs:
            return inputs[value]
        if value.node is None or not any(source in inputs for source in value.node.inputs):
            return None
        if value.node.operator == "Cast" and value.node.attributes["to"] == _FLOAT16:
            return sources[0]
        read = [
            apply("Cast", new, name=f"{new.name}/single", to=_FLOAT32) if new and old in inputs else new
            for old, new in zip(value.node.inputs, sources, strict=True)
        ]
        return apply(value.node.operator, *read, name=value.name, **value.node.attributes)

    fed = rewrite(graph, rule)
    fed = rename(fed, {value.name: f"{value.name}/single" for value in fed.outputs if _is_single(value)})
    inside: dict[str, str] = {}
    outputs = tuple(
        _half_output(value, output.name, inside) for value, output in zip(fed.outputs, graph.outputs, strict=True)
    )
    told = rename(replace(fed, outputs=outputs), inside)
    told = replace(told, inputs=tuple(inputs.get(value, value) for value in graph.inputs))
    return PassResult(told, len(inputs) + len(outputs))


def _is_single(output: Value) -> bool:
    """Whether an output is computed in float32, not only told in it."""
    return output.type.dtype == "float32" and (output.node is None or output.node.operator != "Cast")


def _half_output(value: Value, name: str, inside: dict[str, str]) -> Value:
    """The value that is told as float16; `inside` takes the name that it has and the one that it gets."""
    if value.type.dtype != "float32":
        return value
    if _is_single(value):
        return apply("Cast", value, name=name, to=_FLOAT16)
    assert value.node is not None
    (source,) = value.node.inputs
    assert source is not None
    inside[source.name] = name
    return source


def _half(value: Value) -> Type:
    return Type("float16", value.shape)

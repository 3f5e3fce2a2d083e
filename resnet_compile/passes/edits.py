"""Changes to the convolutions and dense layers of a graph, collected before any of them is rebuilt.

An offset b on every channel of what a linear layer reads, uniform over rows and columns, is W b on what it makes, the
taps of a kernel summed; so it is for a convolution without padding. A mean over rows and columns hands b on unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from resnet_compile.graph import Tensor, Value, apply, constant
from resnet_compile.passes.base import ScaledTensor, Vector, VectorTensor, exact

Readers = Mapping[Value, tuple[Value, ...]]


@dataclass(frozen=True)
class Edits:
    """What is to become of linear layers.

    Attributes:
        data: The contents of initializers; those of rebuilt layers are entered here.
        suffix: What the names of new initializers end with.
        biases: New biases by layer; None for a layer that loses its own.
        input_scales: Factors for the channels that a layer reads.
        output_scales: Factors for the channels that a layer makes; its new biases have them already.
    """

    data: dict[str, Tensor]
    suffix: str
    biases: dict[Value, Vector | None] = field(default_factory=dict)
    input_scales: dict[Value, Vector] = field(default_factory=dict)
    output_scales: dict[Value, Vector] = field(default_factory=dict)

    def weights(self, layer: Value) -> NDArray[np.float64]:
        """The layer's weights as they were."""
        return exact(self.data[_input(layer, 1).name])

    def bias(self, layer: Value) -> Vector:
        """The layer's biases, the edits so far included; zeros where it has none."""
        if (edited := self.biases.get(layer)) is not None:
            return edited
        assert layer.node is not None
        given = layer.node.inputs[2] if len(layer.node.inputs) > 2 else None
        return exact(self.data[given.name]) if given else np.zeros(_size(layer))

    def absorb(self, layer: Value, weights: NDArray[np.float64], offset: Vector) -> None:
        """Lets a layer's biases take over an offset of what it reads; the weights are the layer's own."""
        taps = weights.reshape(*weights.shape[:2], -1).sum(axis=2)
        self.biases[layer] = self.bias(layer) + taps @ offset

    def edited(self, layer: Value) -> bool:
        """Whether the layer has to be rebuilt."""
        return layer in self.biases or layer in self.input_scales or layer in self.output_scales

    def rebuild(self, layer: Value, sources: Sequence[Value | None], name: str) -> Value:
        """The layer as edited, on new sources and under a name."""
        assert layer.node is not None
        weights = _input(layer, 1)
        for axis, scales in enumerate((self.output_scales, self.input_scales)):
            if layer in scales:
                weights = self._scaled(weights, axis, scales[layer])
        rest = [sources[2]] if len(sources) > 2 else []
        if layer in self.biases:
            vector = self.biases[layer]
            stem = _input(layer, 2).name if rest else f"{_input(layer, 1).name}/biases"
            rest = [] if vector is None else [self.vector(stem, vector, (_size(layer),))]
        return apply(layer.node.operator, sources[0], weights, *rest, name=name, **layer.node.attributes)

    def vector(self, stem: str, values: Vector, shape: tuple[int, ...]) -> Value:
        """A new initializer of one value for each channel."""
        name = f"{stem}/{self.suffix}"
        self.data[name] = VectorTensor(name, shape, lambda: values)
        return constant(name, "float32", shape)

    def _scaled(self, weights: Value, axis: int, scale: Vector) -> Value:
        source = self.data[weights.name]
        name = f"{weights.name}/{self.suffix}"
        self.data[name] = ScaledTensor(name, source, axis, lambda: scale)
        return constant(name, "float32", source.shape)


def linear_readers(value: Value, read_by: Readers, outputs: Collection[Value]) -> Mapping[Value, bool] | str:
    """The layers that read a value, each with whether it reads its mean; or why there is some other reader."""
    found: dict[Value, bool] = {}
    ahead = [value]
    while ahead:
        current = ahead.pop()
        if current in outputs:
            return f"{current.name} is a requested output"
        for reader in read_by[current]:
            assert reader.node is not None
            if reader.node.operator == "GlobalAveragePool" or _is_squeeze(reader, current):
                ahead.append(reader)
            elif not _is_linear(reader, current):
                return f"{reader.name}, a {reader.node.operator}, reads it"
            elif len(read_by[_input(reader, 1)]) > 1:
                return f"other nodes share the weights of {reader.name}"
            else:
                found[reader] = current is not value
    return found


def _is_squeeze(reader: Value, source: Value) -> bool:
    assert reader.node is not None
    return reader.node.operator == "Flatten" and source.shape[2:] == (1, 1)


def _is_linear(reader: Value, source: Value) -> bool:
    """Whether a node is a dense layer, or a convolution of all channels without padding, of this value."""
    node = reader.node
    if node is None or node.operator not in ("Conv", "Gemm") or node.inputs[0] is not source:
        return False
    if not _input(reader, 1).initializer:
        return False
    if node.operator == "Gemm":
        return node.attributes.get("transB") == 1
    plain = node.attributes.get("group", 1) == 1 and "auto_pad" not in node.attributes
    return plain and node.attributes.get("pads", (0, 0, 0, 0)) == (0, 0, 0, 0)


def _input(layer: Value, index: int) -> Value:
    value = layer.node.inputs[index] if layer.node else None
    assert value is not None
    return value


def _size(layer: Value) -> int:
    size = layer.shape[1]
    assert isinstance(size, int)
    return size

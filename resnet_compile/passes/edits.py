"""Edits of a graph's convolutions and dense layers, collected before any layer is rebuilt.

For an offset b of each input channel, uniform over rows and columns, a dense layer or an unpadded convolution computes

    layer(x + b) = layer(x) + W b,

with the taps of a kernel summed in W b. A mean over rows and columns passes b on unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from resnet_compile.graph import Readers, ScaledTensor, Value, Vector, VectorTensor, exact, initializer, rebuilt
from resnet_compile.passes.cancellation import MOST_GROWTH, Load, Moments, growth


@dataclass(frozen=True)
class Edits:
    """The edits of linear layers.

    Attributes:
        suffix: The end of new initializers' names.
        biases: New biases by layer; None for a layer that loses its biases.
        input_scales: Factors of the input channels, by layer.
        output_scales: Factors of the output channels, by layer; new biases include them.
    """

    suffix: str
    biases: dict[Value, Vector | None] = field(default_factory=dict)
    input_scales: dict[Value, Vector] = field(default_factory=dict)
    output_scales: dict[Value, Vector] = field(default_factory=dict)

    def bias(self, layer: Value) -> Vector:
        """The layer's biases after the edits so far; zeros if it has none."""
        if (edited := self.biases.get(layer)) is not None:
            return edited
        given = layer.maker.optional(2)
        return exact(given) if given else np.zeros(layer.maker.input(1).static_shape[0])

    def absorb(self, consumers: Mapping[Value, bool], offset: Vector, moments: Moments) -> str | None:
        """Moves an offset of the layers' input into their biases, or returns the reason why that would cost precision.

        Args:
            consumers: The layers, each with whether it reads the mean of the input.
            offset: The offset, by channel.
            moments: The moments of the input.
        """
        loads: dict[Value, Load] = {}
        if offset.any():  # without an offset no weights have to be read
            loads = {layer: Load.of(exact(layer.maker.input(1)), offset) for layer in consumers}
        factor = growth([(load, consumers[layer]) for layer, load in loads.items()], offset, moments)
        if factor > MOST_GROWTH:
            return f"squared errors would grow by {factor:.3g}, at most {MOST_GROWTH:g}"
        for layer in consumers:
            self.biases[layer] = self.bias(layer) + (loads[layer].product if layer in loads else 0.0)
        return None

    def edited(self, layer: Value) -> bool:
        return layer in self.biases or layer in self.input_scales or layer in self.output_scales

    def rebuild(self, layer: Value, sources: Sequence[Value | None], name: str) -> Value:
        """The edited layer, on new inputs and with a name."""
        given, biases = layer.maker.input(1), layer.maker.optional(2)
        weights = given
        for axis, scales in enumerate((self.output_scales, self.input_scales)):
            if layer in scales:
                weights = self._scaled(weights, axis, scales[layer])
        rest = sources[2:]
        if layer in self.biases:
            vector = self.biases[layer]
            stem = biases.name if biases else f"{given.name}/biases"
            rest = [] if vector is None else [self.vector(stem, vector, (vector.size,))]
        return rebuilt(layer, (sources[0], weights, *rest), name)

    def vector(self, stem: str, values: Vector, shape: tuple[int, ...]) -> Value:
        """A new initializer of one value for each channel."""
        name = f"{stem}/{self.suffix}"
        return initializer(name, VectorTensor(name, shape, lambda: values))

    def _scaled(self, weights: Value, axis: int, scale: Vector) -> Value:
        name = f"{weights.name}/{self.suffix}"
        return initializer(name, ScaledTensor(name, weights.tensor, axis, lambda: scale))


def linear_readers(value: Value, read_by: Readers, outputs: Collection[Value]) -> Mapping[Value, bool] | str:
    """The linear layers that read a value, each with whether it reads the mean; or why another node reads it."""
    found: dict[Value, bool] = {}
    ahead = [value]
    while ahead:
        current = ahead.pop()
        if current in outputs:
            return f"{current.name} is a requested output"
        for reader in read_by[current]:
            if reader.maker.operator == "GlobalAveragePool" or _is_squeeze(reader, current):
                ahead.append(reader)
            elif reason := _not_linear(reader, current):
                return reason
            elif len(read_by[reader.maker.input(1)]) > 1:
                return f"other nodes share the weights of {reader.name}"
            else:
                found[reader] = current is not value
    return found


def _is_squeeze(reader: Value, source: Value) -> bool:
    return reader.maker.operator == "Flatten" and source.shape[2:] == (1, 1)


def _not_linear(reader: Value, source: Value) -> str | None:
    """The reason why a node is neither a dense layer of this value nor an unpadded convolution of all its channels."""
    node = reader.maker
    if node.operator not in ("Conv", "Gemm"):
        return f"{reader.name}, a {node.operator}, reads it"
    if node.input(0) is not source:
        return f"{reader.name} reads it as its weights or biases"
    if node.input(1).contents is None:
        return f"the weights of {reader.name} are computed"
    if node.operator == "Gemm":
        turned = node.attributes.integer("transB")
        return None if turned else f"its reader {reader.name} is a product with a matrix that is not transposed"
    if node.attributes.integer("group") > 1:
        return f"its reader {reader.name} is a grouped convolution"
    if any(node.attributes.integers("pads", 4)) or node.attributes.text("auto_pad") != "NOTSET":
        return f"its reader {reader.name} is padded, and the padding lacks the offset"
    return None

"""The QDQ form: pairs of QuantizeLinear and DequantizeLinear around every operator that is computed in integers.

An activation x is stored as q = clip(round(x / s) + z, 0, 255) and read as s (q - z), with one scale s and one zero
point z per tensor. 0 is exact, and so is zero padding. Some targets require int8 q with z = 0. Weights are int8 with a
scale for each output channel and no zero point. Biases are float32, or int32 whose scale is the input's scale times the
weights'. A runtime that recognises the form computes between the pairs in integers; any other computes the same in
float32.

Rounding changes the weights of an output channel o by D[o], and the convolution's output by D[o] * x. If m are the
means of the input's channels, the output's mean changes by sum_c m[c] sum_taps D[o, c, taps]. This is subtracted from
the biases ("bias correction", Nagel et al. 2019, Data-Free Quantization; zero borders are neglected).

Processors with VNNI or dot products (AVX-VNNI, AVX512-VNNI, ARM) add products of uint8 and int8 in 32 bits.
onnxruntime's kernels for AVX2, and for AVX512 without VNNI, add pairs of products in 16 bits, which saturates for large
weights and activations. For such a processor, verify the model on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from resnet_compile.graph import (
    ConstantTensor,
    Graph,
    Tensor,
    Value,
    Vector,
    apply,
    initializer,
    made_by,
    rebuilt,
    rewrite,
)
from resnet_compile.quantize.placement import Placement
from resnet_compile.quantize.tensors import Grid, QuantizedWeights, bias_integers, quantize_weights


def insert(
    graph: Graph,
    placement: Placement,
    grids: Mapping[str, Grid],
    means: Mapping[str, Vector],
    *,
    float_biases: bool = False,
) -> Graph:
    """The graph in QDQ form.

    Integer initializers are called `.../quantized`, their scales and zero points `.../quantized/scale` and
    `.../quantized/zero_point`. The value before a quantised output is called `.../exact`.

    Args:
        graph: The graph, with its initializers bound.
        placement: What is computed in integers.
        grids: The grids, by the names of the values in `placement.sources`.
        means: The channel means of each integer convolution's input, by the input's name.
        float_biases: Whether biases stay float32.

    Raises:
        WeightsError: A weight is not a finite number.
    """
    return rewrite(graph, _Insertion(graph, placement, grids, means, float_biases).rule)


@dataclass(frozen=True)
class _Insertion:
    """The state of one call of `insert`."""

    graph: Graph
    placement: Placement
    grids: Mapping[str, Grid]
    means: Mapping[str, Vector]
    float_biases: bool
    pairs: dict[Value, Value] = field(default_factory=dict)
    constants: dict[str, Value] = field(default_factory=dict)

    def rule(self, value: Value, sources: Sequence[Value | None]) -> Value | None:
        """The replacement of a value; an integer value is dequantised at once."""
        if value.node is None or value not in self.placement.integer:
            return None
        read = [
            self._pair(old, new, f"{old.name}/dequantized") if old in self.placement.sources and old and new else new
            for old, new in zip(value.node.inputs, sources, strict=True)
        ]
        if made_by(value, "Pad") and read[0]:
            return self._padded(value, read[0], read[1])
        if made_by(value, "Conv"):
            read = [read[0], *self._parameters(value)]
        made = rebuilt(value, read)
        if value not in self.placement.sources:
            return made
        if value in self.graph.outputs:
            return self._pair(value, replace(made, name=f"{value.name}/exact"), value.name)
        return self._pair(value, made, f"{value.name}/dequantized")

    def _pair(self, old: Value, new: Value, name: str) -> Value:
        """The value after a pair of QuantizeLinear and DequantizeLinear, made once."""
        if old not in self.pairs:
            source = self.placement.sources[old].name
            grid = self.grids[source]
            scale = self._constant(f"{source}/quantized/scale", np.array(grid.scale))
            zero_point = self._constant(f"{source}/quantized/zero_point", np.array(grid.zero_point))
            held = apply("QuantizeLinear", new, scale, zero_point, name=f"{old.name}/quantized")
            self.pairs[old] = apply("DequantizeLinear", held, scale, zero_point, name=name)
        return self.pairs[old]

    def _padded(self, value: Value, source: Value, pads: Value | None) -> Value:
        """Pads the integers, with the zero point or by reflection; onnxruntime would pad between pairs in float."""
        held, scale, zero_point = source.maker.inputs
        mode = value.maker.attributes.text("mode")
        border = (zero_point,) if mode == "constant" else ()
        padded = apply("Pad", held, pads, *border, name=f"{value.name}/quantized", mode=mode)
        name = value.name if value in self.graph.outputs else f"{value.name}/dequantized"
        self.pairs[value] = apply("DequantizeLinear", padded, scale, zero_point, name=name)
        return self.pairs[value]

    def _parameters(self, layer: Value) -> tuple[Value, Value]:
        """The dequantised weights and the biases of a convolution."""
        x, weights, bias = layer.maker.input(0), layer.maker.input(1), layer.maker.optional(2)
        grid, tensor = self.grids[self.placement.sources[x].name], weights.tensor
        biases = bias.tensor.array().astype(np.float64) if bias else np.zeros(tensor.shape[0])
        held = quantize_weights(tensor, grid, biases, weights.name)
        biases += _mean_shift(held, self.means[x.name])
        read_weights = self._read_back(weights.name, held, held.scales)
        stem = bias.name if bias else f"{weights.name}/biases"
        if self.float_biases:
            return read_weights, initializer(f"{stem}/corrected", ConstantTensor(biases.astype(np.float32)))
        steps = grid.scale * held.scales
        return read_weights, self._read_back(stem, ConstantTensor(bias_integers(biases, steps)), steps)

    def _read_back(self, stem: str, integers: Tensor, scales: NDArray[np.float32]) -> Value:
        name = f"{stem}/quantized"
        return apply(
            "DequantizeLinear",
            initializer(name, integers),
            self._constant(f"{name}/scale", scales),
            self._constant(f"{name}/zero_point", np.zeros(scales.shape, integers.dtype)),
            name=f"{stem}/dequantized",
            axis=0,
        )

    def _constant(self, name: str, values: NDArray[np.generic]) -> Value:
        """An initializer, made once; operators that move numbers share their source's."""
        if name not in self.constants:
            self.constants[name] = initializer(name, ConstantTensor(values))
        return self.constants[name]


def _mean_shift(weights: QuantizedWeights, means: Vector) -> Vector:
    """The change of each output channel's mean that the rounding of weights causes."""
    taps = weights.rounding().reshape(*weights.shape[:2], -1).sum(axis=2)
    groups = means.size // weights.shape[1]
    shift: Vector = taps.reshape(groups, -1, weights.shape[1]) @ means.reshape(groups, weights.shape[1], 1)
    return shift.reshape(-1)

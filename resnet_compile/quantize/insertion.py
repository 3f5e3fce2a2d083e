"""Integers into a graph, as pairs of QuantizeLinear and DequantizeLinear around what is to compute in them (QDQ).

An activation x is held as q = clip(round(x / s) + z, 0, 255), one scale s and one zero point z a tensor, and read back
as s (q - z); 0 is always one of the values, so that padding with zeros is exact. Weights are int8 with a scale for each
output channel and no zero point; biases are int32 with the product of the input's scale and the weights'. A runtime
that knows the form computes between the pairs in integers; any other computes the same in float32.

Rounding moves the weights of an output channel o by D[o], and what the convolution makes by D[o] * x, of which the
mean over images and places is known: with m the means of the input's channels, sum_c m[c] sum_taps D[o, c, taps]. The
biases take it back ("bias correction", Nagel et al. 2019, Data-Free Quantization; zero borders are not allowed for).

uint8 times int8 wants a processor that adds such products in 32 bits (AVX-VNNI, AVX512-VNNI, ARM's dot products).
onnxruntime's kernels for AVX2 and AVX512 without VNNI add pairs of them in 16 bits, which saturates where two products
of large weights and large activations meet; there a model has to be verified on the machine that it is for.
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


def insert(graph: Graph, placement: Placement, grids: Mapping[str, Grid], means: Mapping[str, Vector]) -> Graph:
    """The graph with its integers.

    Initializers in integers are called `.../quantized`, their scales and zero points `.../quantized/scale` and
    `.../quantized/zero_point`; of an output that is computed in integers, the value before they are is `.../exact`.

    Args:
        graph: What to quantise; its initializers need their contents.
        placement: Where.
        grids: By the names of the values in `placement.sources`.
        means: Of the channels of what each convolution in integers reads, by that value's name.

    Raises:
        WeightsError: A weight is not a finite number.
    """
    return rewrite(graph, _Insertion(graph, placement, grids, means).rule)


@dataclass(frozen=True)
class _Insertion:
    """`insert` at work."""

    graph: Graph
    placement: Placement
    grids: Mapping[str, Grid]
    means: Mapping[str, Vector]
    pairs: dict[Value, Value] = field(default_factory=dict)
    constants: dict[str, Value] = field(default_factory=dict)

    def rule(self, value: Value, sources: Sequence[Value | None]) -> Value | None:
        """What takes a value's place; a value in integers is read back at once."""
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
        """The value, once, by way of 8 bits."""
        if old not in self.pairs:
            source = self.placement.sources[old].name
            grid = self.grids[source]
            scale = self._constant(f"{source}/quantized/scale", np.array(grid.scale))
            zero_point = self._constant(f"{source}/quantized/zero_point", np.array(grid.zero_point))
            held = apply("QuantizeLinear", new, scale, zero_point, name=f"{old.name}/quantized")
            self.pairs[old] = apply("DequantizeLinear", held, scale, zero_point, name=name)
        return self.pairs[old]

    def _padded(self, value: Value, source: Value, pads: Value | None) -> Value:
        """The integers with zero points or their mirror around them; between pairs, onnxruntime would pad floats."""
        held, scale, zero_point = source.maker.inputs
        mode = value.maker.attributes.text("mode")
        border = (zero_point,) if mode == "constant" else ()
        padded = apply("Pad", held, pads, *border, name=f"{value.name}/quantized", mode=mode)
        name = value.name if value in self.graph.outputs else f"{value.name}/dequantized"
        self.pairs[value] = apply("DequantizeLinear", padded, scale, zero_point, name=name)
        return self.pairs[value]

    def _parameters(self, layer: Value) -> tuple[Value, Value]:
        """Weights and biases of a convolution, read back from integers."""
        x, weights, bias = layer.maker.input(0), layer.maker.input(1), layer.maker.optional(2)
        grid, tensor = self.grids[self.placement.sources[x].name], weights.tensor
        biases = bias.tensor.array().astype(np.float64) if bias else np.zeros(tensor.shape[0])
        held = quantize_weights(tensor, grid, biases, weights.name)
        biases += _mean_shift(held, self.means[x.name])
        steps = grid.scale * held.scales
        stem = bias.name if bias else f"{weights.name}/biases"
        return (
            self._read_back(weights.name, held, held.scales),
            self._read_back(stem, ConstantTensor(bias_integers(biases, steps)), steps),
        )

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
        """An initializer, once: what moves numbers has its source's."""
        if name not in self.constants:
            self.constants[name] = initializer(name, ConstantTensor(values))
        return self.constants[name]


def _mean_shift(weights: QuantizedWeights, means: Vector) -> Vector:
    """What the rounding of weights takes from the mean of each output channel."""
    taps = weights.rounding().reshape(*weights.shape[:2], -1).sum(axis=2)
    groups = means.size // weights.shape[1]
    shift: Vector = taps.reshape(groups, -1, weights.shape[1]) @ means.reshape(groups, weights.shape[1], 1)
    return shift.reshape(-1)

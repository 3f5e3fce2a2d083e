"""Where a model is to run: the values of `target`, and what each place asks of a model, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Target = Literal["portable", "cpu", "cuda", "tensorrt", "npu", "web"]


@dataclass(frozen=True, slots=True)
class Integers:
    """The form of a place's 8-bit numbers; weights are int8 with a scale for each output channel everywhere.

    Attributes:
        symmetric: Whether activations are int8 with zero point 0; else they are uint8 with any.
        float_biases: Whether biases stay float32; else they are int32 in steps of the products.
    """

    symmetric: bool = False
    float_biases: bool = False


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a place asks of a model that is to run there.

    Attributes:
        static: Whether every length must be known.
        integers: Its 8-bit form; None where models are not to be quantised for it.
        lacks: Operators and element types that it has no kernels for.
    """

    static: bool = False
    integers: Integers | None = None
    lacks: frozenset[str] = frozenset()


_NOT_IN_WEBGPU = ("Identity", "LogSoftmax", "Max", "Min", "QuantizeLinear", "Round", "ScatterElements", "TopK")

TARGET_REQUIREMENTS: Mapping[Target, Requirements] = {
    "portable": Requirements(integers=Integers()),
    "cpu": Requirements(integers=Integers()),
    # Its rewrites leave Max where integers want a ReLU.
    "cuda": Requirements(),
    # Its parser wants zero points of 0, and takes no DequantizeLinear of int32 (onnx-tensorrt, issue 850; TensorRT's
    # "Explicit Quantization" has int8 weights with a DequantizeLinear alone).
    "tensorrt": Requirements(integers=Integers(symmetric=True, float_biases=True)),
    # Of onnxruntime's QNN provider: shapes must be fixed, and a bias's scale be that of the products.
    "npu": Requirements(static=True, integers=Integers()),
    # By onnxruntime-web's own table of WebGPU's operators (1.30, docs/webgpu-operators.md); its tensors are of floats,
    # of 32-bit integers and, for shapes, of int64.
    "web": Requirements(
        static=True,
        lacks=frozenset((*_NOT_IN_WEBGPU, "float64", "int8", "uint8")),
    ),
}
"""What each asks, by its word."""

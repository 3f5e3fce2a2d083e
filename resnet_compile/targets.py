"""The targets that a model can be compiled for, and what each requires of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Target = Literal["portable", "cpu", "cuda", "tensorrt", "npu", "web"]


@dataclass(frozen=True, slots=True)
class Integers:
    """A target's 8-bit format. Weights are int8 with a scale per output channel for every target.

    Attributes:
        symmetric: Whether activations are int8 with zero point 0; otherwise they are uint8 with any zero point.
        float_biases: Whether biases stay float32; otherwise they are int32, scaled by input scale times weight scale.
    """

    symmetric: bool = False
    float_biases: bool = False


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a target requires of a model.

    Attributes:
        static: Whether every dimension must be fixed.
        integers: The 8-bit format; None if models cannot be quantised for the target.
        lacks: Operators and element types that the target has no kernels for.
    """

    static: bool = False
    integers: Integers | None = None
    lacks: frozenset[str] = frozenset()


_NOT_IN_WEBGPU = ("Identity", "LogSoftmax", "Max", "Min", "QuantizeLinear", "Round", "ScatterElements", "TopK")

TARGET_REQUIREMENTS: Mapping[Target, Requirements] = {
    "portable": Requirements(integers=Integers()),
    "cpu": Requirements(integers=Integers()),
    # Its rewrites leave Max where integer kernels need a ReLU.
    "cuda": Requirements(),
    # Its parser requires zero points of 0, and accepts no DequantizeLinear of int32 (onnx-tensorrt, issue 850;
    # TensorRT's "Explicit Quantization" has int8 weights with a DequantizeLinear alone).
    "tensorrt": Requirements(integers=Integers(symmetric=True, float_biases=True)),
    # onnxruntime's QNN provider: shapes must be fixed, and a bias's scale must be input scale times weight scale.
    "npu": Requirements(static=True, integers=Integers()),
    # By onnxruntime-web's own table of WebGPU's operators (1.30, docs/webgpu-operators.md); its tensors are of floats,
    # of 32-bit integers and, for shapes, of int64.
    "web": Requirements(
        static=True,
        lacks=frozenset((*_NOT_IN_WEBGPU, "float64", "int8", "uint8")),
    ),
}
"""The requirements of each target, by name."""

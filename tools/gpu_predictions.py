"""What `gpu_bench.py` is expected to find, written before it ran on any GPU.

Times come from a count and five rates. A kernel takes the longer of its arithmetic and its memory traffic, summed over
the network, and besides that a few microseconds of its own, which is what one image is about; without a CUDA graph the
host has to start every kernel, which may take longer than they run. Peak rates are those of NVIDIA's data sheet of the
H100 SXM5 (dense: float32 67, TF32 495, float16 989 TFLOP/s; 3.35 TB/s); the fractions of them are experience with
convolutions of this size. An H200 is the same chip with 4.8 TB/s: its times at batch 32 should be up to a third lower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NO_TARGET, PORTABLE, CUDA, FUSED = "no target", "portable", "cuda", "cuda with fused convolutions"
BYTES_PER_SECOND = 0.75 * 3.35e12
FLOPS = {"float32": 0.6 * 67e12, "tf32": 0.35 * 495e12, "float16": 0.35 * 989e12}
CONVOLUTION, OTHER = 4e-6, 2e-6
"""Seconds of a kernel, however little it has to do."""
HOST = {"onnxruntime": 6e-6, "eager": 9e-6}
"""Seconds for the host to start one."""


@dataclass(frozen=True)
class Work:
    """A network's graph, counted.

    Attributes:
        macs: Multiply-accumulates of an image.
        weights: Values.
        convolutions: Kernels.
        biased: Those whose bias onnxruntime adds in a kernel of its own.
        others: All other kernels.
        convolution_values: Values that the convolutions read and write, for an image.
        bias_values: Those that adding biases reads and writes.
        other_values: Those of all other kernels.
    """

    macs: float
    weights: float
    convolutions: int
    biased: int
    others: int
    convolution_values: float
    bias_values: float
    other_values: float


# onnxruntime folds batch norms into the convolutions before them by itself, so `no target` runs as `portable`.
_PORTABLE = {
    "resnet50": Work(3.482e9, 25.6e6, 54, 54, 88, 17.0e6, 18.5e6, 39.9e6),
    "resnet152": Work(10.907e9, 60.3e6, 156, 156, 258, 39.9e6, 41.4e6, 100.9e6),
}
WORK: Mapping[tuple[str, str], Work] = {
    **{(network, target): work for network, work in _PORTABLE.items() for target in (NO_TARGET, PORTABLE)},
    ("resnet50", CUDA): Work(3.482e9, 25.5e6, 54, 21, 71, 17.0e6, 5.8e6, 30.6e6),
    ("resnet152", CUDA): Work(10.907e9, 60.1e6, 156, 55, 207, 39.9e6, 9.6e6, 76.3e6),
    ("resnet50", FUSED): Work(3.482e9, 25.6e6, 54, 5, 39, 17.0e6, 3.0e6, 25.6e6),
    ("resnet152", FUSED): Work(10.907e9, 60.3e6, 156, 5, 107, 39.9e6, 3.0e6, 63.7e6),
    # A batch norm and a ReLU after every convolution and before every unit, and the additions.
    ("resnet50", "eager"): Work(3.482e9, 25.6e6, 54, 17, 120, 17.0e6, 0.0, 65.0e6),
    ("resnet152", "eager"): Work(10.907e9, 60.3e6, 156, 51, 358, 39.9e6, 0.0, 160.0e6),
    # The same, every run of operators between two convolutions in one kernel.
    ("resnet50", "compiled"): Work(3.482e9, 25.6e6, 54, 0, 52, 17.0e6, 0.0, 33.0e6),
    ("resnet152", "compiled"): Work(10.907e9, 60.3e6, 156, 0, 155, 39.9e6, 0.0, 80.0e6),
}

REASONS = {
    "float32": "arithmetic decides at batch 32, since without TF32 convolutions are kept off the tensor cores",
    "tf32": "tensor cores read channels last, so the images pass through two transpositions a convolution",
    "float16": "as TF32 with half the bytes, and the transpositions still there",
    "nhwc": "without transpositions, memory traffic decides at batch 32 and the kernels' own time at batch 1",
    "no graph": "at batch 1 the host's 6 us a kernel take longer than the kernels",
    "eager": "some 190 (540) operators started one by one at 9 us each decide at batch 1",
    "compiled": "norm, ReLU and addition are one kernel between two convolutions, which onnxruntime does not do",
}


def predicted_seconds(
    network: str, batch: int, work: str, precision: str, *, channels_last: bool, host: str | None
) -> float | None:
    """Seconds of one forward pass; None for a network that is not counted.

    Args:
        network: By its name in the catalogue.
        batch: Images.
        work: A target, `eager` or `compiled`.
        precision: `float32`, `tf32` or `float16`.
        channels_last: Whether the layout is the tensor cores' own.
        host: Who starts the kernels one by one; None for a recorded graph.
    """
    if (network, work) not in WORK:
        return None
    counted = WORK[network, work]
    size = 2 if precision == "float16" else 4
    transposed = precision != "float32" and not channels_last
    values = counted.convolution_values * (3 if transposed else 1) + counted.bias_values + counted.other_values
    traffic = (batch * values + counted.weights) * size / BYTES_PER_SECOND
    arithmetic = 2 * batch * counted.macs / FLOPS[precision]
    small = counted.others + counted.biased + (2 * counted.convolutions if transposed else 0)
    device = max(traffic, arithmetic) + counted.convolutions * CONVOLUTION + small * OTHER
    kernels = counted.convolutions + counted.others + counted.biased
    return max(device, kernels * HOST[host]) if host else device


@dataclass(frozen=True)
class Claim:
    """A ratio of two rows' times, predicted for batch 1 and for batch 32."""

    row: str
    over: str
    predicted: Mapping[int, float]
    why: str


CLAIMS = (
    Claim(
        "cuda float16 NHWC, graph",
        "no target float16 NHWC, graph",
        {1: 0.80, 32: 0.80},
        "Max and hoisting leave 146 of 196 kernels and 70 % of the traffic; less if onnxruntime already runs ReLU and "
        "bias inside its convolutions, which a Max keeps it from",
    ),
    Claim(
        "cuda float32, graph",
        "no target float32, graph",
        {1: 0.82, 32: 0.97},
        "the same kernels go, but at batch 32 arithmetic hides most of their traffic",
    ),
    Claim(
        "cuda with fused convolutions float32, graph",
        "cuda float32, graph",
        {1: 0.83, 32: 0.98},
        "98 of 146 kernels are left at batch 1; at batch 32 arithmetic hides what the others moved",
    ),
    Claim(
        "no target tf32, graph",
        "no target float32, graph",
        {1: 1.1, 32: 0.75},
        "tensor cores are seven times faster, but the transpositions that they want move three times the bytes",
    ),
    Claim(
        "no target float16 NHWC, graph",
        "no target float16, graph",
        {1: 0.75, 32: 0.7},
        "no transpositions: 108 kernels fewer on ResNet-50",
    ),
    Claim(
        "no target float16 NHWC, graph",
        "no target float16 NHWC",
        {1: 0.5, 32: 1.0},
        "a graph saves the host's part, which only counts where kernels are short",
    ),
    Claim(
        "cuda float16 NHWC, graph",
        "torch.compile float16",
        {1: 1.2, 32: 1.2},
        "PyTorch fuses norm, ReLU and addition into one kernel; onnxruntime runs a Max and an Add for them",
    ),
    Claim(
        "no target float16 NHWC without tensor cores, graph",
        "no target float16 NHWC, graph",
        {1: 1.5, 32: 6.0},
        "with `use_tf32` off onnxruntime deselects tensor cores for float16 too (its CUDA convolution, cuDNN 9)",
    ),
)
"""Rows by their labels in the table."""

MOST_ERROR = {"float32": 1e-5, "tf32": 5e-3, "float16": 1e-2, "int8": 5e-2}
"""Of logits against float32 on the CPU: 24, 11 and 11 bits of mantissa, or 8 in all, through 50 to 152 layers."""

TRAINING = {
    "cifar_resnet32": (15e-3, "2,600 nodes at 6 us; the arithmetic, 53 GFLOP, would take 1.3 ms"),
    "resnet50": (40e-3, "670 GFLOP of float32 take 17 ms, and 4,000 nodes at 6 us 24 ms"),
}
"""Seconds of a float32 step, 128 images of 32 x 32 and 32 of 224 x 224."""

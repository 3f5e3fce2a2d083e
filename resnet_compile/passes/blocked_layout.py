"""Convolutions whose weights are no constants, in onnxruntime's blocked layout.

onnxruntime's CPU provider has convolutions of a layout in which b channels of a pixel lie together, NCHWc, and moves
those with constant weights into it by itself. In a training step weights are inputs, and so is what the gradients are
convolved with. With x' and W' for x and W in that layout,

    Conv(x, W) = ReorderOutput(Conv'(ReorderInput(x), W')),
    W [K, C, kh, kw] -> [K/b, b, C/b, b, kh, kw] -> [K/b, C/b, kh, kw, b of C, b of K] = W',

so that W' is a Reshape, a Transpose and a Reshape back to W's shape, which the operators want
(onnxruntime, core/optimizer/nchwc_transformer.cc and MlasReorderFilterOIHWBiBo). b is the processor's: 16 with AVX-512,
8 with AVX2. Of another b the result is wrong and nothing says so. Hence this is for a graph that stays on a machine.

Moving costs two copies of maps and one of weights. It pays for kernels larger than 1x1, which NCHW gathers into a
matrix first, where enough pixels share the weights (`tools/results/blocked_cpu.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from resnet_compile.graph import Builder, Graph, Value, apply, made_by, rewrite
from resnet_compile.passes.base import PassResult

_DOMAIN = "com.microsoft.nchwc"
LEAST_PIXELS = 1024
"""The pixels of a batch that share a convolution's weights, from which on moving them pays: with 1,568 and more it
took 0.67 to 0.95 of the time, with 392 and 512 1.10 to 1.12. With 128 it took 0.67, which one layer of one step has.
"""


def pays(convolution: Value) -> bool:
    """Whether a convolution is likely to be faster in the layout, the moves included."""
    images, _, *pixels = convolution.static_shape
    kernel = convolution.maker.input(1).static_shape[2:]
    return prod(kernel) > 1 and images * prod(pixels) >= LEAST_PIXELS


def blocked_layout(graph: Graph, block: int, choice: Callable[[Value], bool] = pays) -> PassResult:
    """Moves convolutions that onnxruntime leaves in NCHW into the layout of blocks of channels.

    Args:
        graph: The graph.
        block: The channels of a block, which the processor decides.
        choice: Chooses among the convolutions that can be moved.
    """
    taken = {value for value in graph.values() if _suits(value, block) and choice(value)}
    weights: dict[Value, Value] = {}
    inputs: dict[Value, Value] = {}
    # Constants of its own, which are named apart from the graph's.
    constants = Builder("", shared="blocked/")

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value not in taken:
            return None
        x, kernel = sources[0], sources[1]
        assert x is not None, "a convolution has an input"
        assert kernel is not None, "a convolution has weights"
        if kernel not in weights:
            weights[kernel] = _blocked(kernel, block, constants)
        if x not in inputs:
            inputs[x] = apply(f"{_DOMAIN}:ReorderInput", x, name=f"{x.name}/blocked")
        made = apply(
            f"{_DOMAIN}:Conv", inputs[x], weights[kernel], name=f"{value.name}/blocked", **value.maker.attributes
        )
        return apply(f"{_DOMAIN}:ReorderOutput", made, name=value.name, channels=kernel.static_shape[0])

    return PassResult(rewrite(graph, rule), len(taken))


def _suits(value: Value, block: int) -> bool:
    """Whether a value is such a convolution, of whole blocks of channels, not in groups and without biases."""
    made = made_by(value, "Conv")
    if made is None or len(made.inputs) > 2 or value.type.dtype != "float32":
        return False
    weights = made.input(1)
    shapes = (*value.shape, *weights.shape)
    if weights.contents or len(shapes) != 8 or not all(isinstance(axis, int) for axis in shapes):
        return False
    depth, source = weights.static_shape[:2]
    return not depth % block and not source % block and made.input(0).shape[1] == source


def _blocked(weights: Value, block: int, constants: Builder) -> Value:
    depth, source, *kernel = weights.static_shape
    build = constants.within(f"{weights.name}/blocked")
    split = build.reshape(weights, (depth // block, block, source // block, block, *kernel))
    return build.reshape(build.transpose(split, (0, 2, 4, 5, 3, 1)), weights.static_shape)

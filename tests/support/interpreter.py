"""Graphs evaluated by numpy alone: what the passes are judged by.

In float64 every initializer is taken before its rounding, so what is left of two graphs' difference is their algebra.
In the graph's own types every operator computes in float32, and its result is rounded to the type that it has: what a
processor does with float32, and tensor cores do with float16. The rounding errors of two graphs can then be compared.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from resnet_compile.graph import Graph, Node, Value, exact

Array = np.ndarray
Observer = Callable[[Value, list[Any]], None]


def evaluate(graph: Graph, x: Array, *, rounded: bool, observe: Observer | None = None) -> dict[str, Array]:
    """The graph's outputs by name, for the value of its only input.

    Args:
        graph: What to evaluate, its initializers bound.
        x: The input.
        rounded: Whether results have the precision of their types.
        observe: Called with each value and what its node reads, before it is computed; may change these.
    """
    (source,) = graph.inputs
    known: dict[Value, Array] = {source: _stored(source, x) if rounded else x.astype(np.float64)}
    for value in graph.values():
        if value.contents:
            known[value] = _stored(value, value.contents.array()) if rounded else exact(value)
        elif value.node:
            inputs = [known[each] if each else None for each in value.node.inputs]
            if observe:
                observe(value, inputs)
            with np.errstate(over="ignore"):
                made = np.asarray(OPERATORS[value.node.operator](value.node, *inputs))
                known[value] = _stored(value, made) if rounded else made
    return {output.name: known[output].astype(np.float64) for output in graph.outputs}


def _stored(value: Value, array: Array) -> Array:
    """An array as a value of the graph's type holds it, for float32 arithmetic to go on with."""
    if not value.type.dtype.startswith("float"):
        return array
    return array.astype(value.type.dtype).astype(np.float32)


def _channels(vector: Array, x: Array) -> Array:
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))


def _batch_normalization(node: Node, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array) -> Array:
    scale = gamma / np.sqrt(variance + node.attributes["epsilon"])
    return x * _channels(scale, x) + _channels(beta - mean * scale, x)


def _conv(node: Node, x: Array, weights: Array, biases: Array | None = None) -> Array:
    groups = node.attributes.get("group", 1)
    windows = _windows(node, x, weights.shape[2:], 0.0)
    split = np.split(windows, groups, axis=1)
    parts = [
        np.tensordot(part, kernel, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
        for part, kernel in zip(split, np.split(weights, groups), strict=True)
    ]
    made = np.concatenate(parts, axis=1)
    return made if biases is None else made + _channels(biases, made)


def _fused_conv(node: Node, x: Array, weights: Array, biases: Array | None = None, added: Array | float = 0.0) -> Array:
    assert node.attributes["activation"] == "Relu"
    return np.maximum(_conv(node, x, weights, biases) + added, 0)


def _windows(node: Node, x: Array, kernel: tuple[int, ...], fill: float) -> Array:
    """Every window, as N, C, rows, columns, kernel rows, kernel columns."""
    strides = node.attributes.get("strides", (1, 1))
    dilations = node.attributes.get("dilations", (1, 1))
    spans = [(taps - 1) * rate + 1 for taps, rate in zip(kernel, dilations, strict=True)]
    pads = node.attributes.get("pads", (0, 0, 0, 0))
    if node.attributes.get("auto_pad") == "SAME_UPPER":
        missing = [
            max(0, (-(-size // stride) - 1) * stride + span - size)
            for size, stride, span in zip(x.shape[2:], strides, spans, strict=True)
        ]
        pads = (*(each // 2 for each in missing), *(each - each // 2 for each in missing))
    border = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
    windows = sliding_window_view(np.pad(x, border, constant_values=fill), spans, axis=(2, 3))
    return windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]


def _max_pool(node: Node, x: Array) -> Array:
    return _windows(node, x, node.attributes["kernel_shape"], -np.inf).max(axis=(4, 5))


def _average_pool(node: Node, x: Array) -> Array:
    counted, kernel = np.ones((1, 1, *x.shape[2:])), node.attributes["kernel_shape"]
    return _windows(node, x, kernel, 0.0).sum(axis=(4, 5)) / _windows(node, counted, kernel, 0.0).sum(axis=(4, 5))


def _gemm(node: Node, x: Array, weights: Array, biases: Array) -> Array:
    assert node.attributes["transB"] == 1
    return x @ weights.T + biases


def _slice(node: Node, x: Array, starts: Array, ends: Array, axes: Array, steps: Array) -> Array:
    kept = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept[axis] = slice(start, end, step)
    return x[tuple(kept)]


def _softmax(node: Node, x: Array) -> Array:
    raised = np.exp(x - x.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _pad(node: Node, x: Array, pads: Array, value: Array | float = 0.0) -> Array:
    border = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
    if node.attributes["mode"] == "reflect":
        return np.pad(x, border, mode="reflect")
    return np.pad(x, border, constant_values=value)


def _quantize(node: Node, x: Array, scale: Array, zero_point: Array) -> Array:
    return np.clip(np.rint(x / scale) + zero_point, 0, 255)


def _dequantize(node: Node, x: Array, scale: Array, zero_point: Array) -> Array:
    if scale.ndim:
        assert node.attributes["axis"] == 0
        scale, zero_point = (each.reshape(-1, *[1] * (x.ndim - 1)) for each in (scale, zero_point))
    return (x.astype(np.float64) - zero_point) * scale


OPERATORS: dict[str, Callable[..., Array]] = {
    "Add": lambda node, a, b: a + b,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": lambda node, x: x,
    "Constant": lambda node: np.array(node.attributes["value_ints"]),
    "Clip": lambda node, x, least, most: np.clip(x, least, most),
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Flatten": lambda node, x: x.reshape(len(x), -1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node, x: x.mean(axis=(2, 3), keepdims=True),
    "Identity": lambda node, x: x,
    "LeakyRelu": lambda node, x: np.where(x < 0, node.attributes["alpha"] * x, x),
    "MatMul": lambda node, a, b: a @ b,
    "Max": lambda node, a, b: np.maximum(a, b),
    "MaxPool": _max_pool,
    "Min": lambda node, a, b: np.minimum(a, b),
    "Mul": lambda node, a, b: a * b,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "Relu": lambda node, x: np.maximum(x, 0),
    "Reshape": lambda node, x, shape: x.reshape(shape),
    "Sigmoid": lambda node, x: 1 / (1 + np.exp(-x)),
    "Slice": _slice,
    "Softmax": _softmax,
    "com.microsoft:FusedConv": _fused_conv,
    "Transpose": lambda node, x: x.transpose(node.attributes["perm"]),
}

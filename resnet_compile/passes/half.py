"""Half precision: weights and activations float16, what half cannot hold float32.

The graph's inputs and outputs keep their types. In float32 stay the mean over rows and columns, whose sum overflows
half at 65504 or loses its last bits long before, and Softmax with its exponentials; each gets a Cast before and after.
Every other operator reads and makes float16.

Of a batch normalisation half cannot hold every moving statistic: variances go from 1e-8 to 1e5. With
a = gamma / sqrt(variance + epsilon) it is written as the one of mean 0 and variance 1 that computes the same::

    gamma' = a sqrt(1 + epsilon),  beta' = beta - a mean

so that gamma' / sqrt(1 + epsilon) (x - 0) + beta' = a x + (beta - a mean).

A weight beyond half's largest number is an error that names it; one below its smallest, 6e-8, becomes zero as any
rounding to half makes it. The threshold of a Max or Min is brought into half's range instead, where no float16 input
reaches it either. Whether activations fit is for running the model to tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.graph import ConstantTensor, Graph, Node, Tensor, Type, Value, apply, constant, rewrite
from resnet_compile.passes.base import PassResult, VectorTensor, exact, readers
from resnet_compile.passes.batch_norm import affine

_IN_FLOAT32 = ("GlobalAveragePool", "Softmax")
_TO = {"float32": 1, "float16": 10}  # onnx.TensorProto's numbers
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class HalfTensor:
    """A tensor rounded to float16 when asked for.

    Attributes:
        name: The initializer's, for errors.
        source: What is rounded.
        clipped: Whether values beyond half's range become its largest.
    """

    name: str
    source: Tensor
    clipped: bool

    @property
    def dtype(self) -> Literal["float16"]:
        """float16."""
        return "float16"

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's."""
        return self.source.shape

    def array(self) -> NDArray[np.float16]:
        """The values.

        Raises:
            WeightsError: One of them is beyond half's range.
        """
        values = self.source.array()
        if self.clipped:
            values = values.clip(-_LARGEST, _LARGEST)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise WeightsError(f"has values that overflow float16, up to {np.abs(values).max():.4g}", where=self.name)
        return half


def to_half(graph: Graph) -> PassResult:
    """Makes weights and activations float16; inputs and outputs stay as they are.

    Initializers keep their names, except for a batch normalisation's: `.../half`. Of an output whose value is float16
    inside, that value is called `.../half`.
    """
    data = dict(graph.data)
    outputs = frozenset(graph.outputs)
    clipped = _thresholds(graph)
    casts: dict[tuple[Value, str], Value] = {}
    done = 0

    def cast(value: Value, dtype: Literal["float32", "float16"]) -> Value:
        if value.type.dtype == dtype or value.type.dtype not in _TO:
            return value
        name = f"{value.name}/{'half' if dtype == 'float16' else 'single'}"
        return casts.setdefault((value, dtype), apply("Cast", value, name=name, to=_TO[dtype]))

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        if value.type.dtype != "float32" or value in graph.inputs:
            return None
        if value.initializer:
            data[value.name] = HalfTensor(value.name, graph.data[value.name], value in clipped)
            return replace(value, type=Type("float16", value.shape))
        assert value.node is not None
        done += 1
        single = value.node.operator in _IN_FLOAT32
        read = [source and cast(source, "float32" if single else "float16") for source in sources]
        if value.node.operator == "BatchNormalization":
            read[1:] = _standard(value.node, graph, data)
        name = f"{value.name}/half" if value in outputs and not single else value.name
        return apply(value.node.operator, *read, name=name, **value.node.attributes)

    inside = rewrite(graph, rule)
    made = tuple(
        value if value.type.dtype == output.type.dtype else apply("Cast", value, name=output.name, to=_TO["float32"])
        for value, output in zip(inside.outputs, graph.outputs, strict=True)
    )
    return PassResult(replace(inside, outputs=made, data=data), done)


def _thresholds(graph: Graph) -> Collection[Value]:
    """The initializers that only Max and Min read."""
    return {
        value
        for value, made in readers(graph).items()
        if value.initializer and all(reader.node and reader.node.operator in ("Max", "Min") for reader in made)
    }


def _standard(norm: Node, graph: Graph, data: dict[str, Tensor]) -> list[Value]:
    """The initializers of the equal batch normalisation of mean 0 and variance 1."""
    epsilon = norm.attributes["epsilon"]
    assert isinstance(epsilon, float)
    old = [source for source in norm.inputs[1:] if source]
    shape = exact(graph.data[old[1].name]).shape
    contents: list[Tensor] = [
        VectorTensor(old[0].name, shape, lambda: affine(norm, graph.data).scale * np.sqrt(1 + epsilon)),
        VectorTensor(old[1].name, shape, lambda: affine(norm, graph.data).shift),
        ConstantTensor(np.zeros(shape, np.float16)),
        ConstantTensor(np.ones(shape, np.float16)),
    ]
    # A scale of ones may stand for several norms, so the scope of the new names is that of beta.
    scope = old[1].name.rpartition("/")[0]
    made = []
    for role, tensor in zip(("gamma", "beta", "moving_mean", "moving_variance"), contents, strict=True):
        name = f"{scope}/{role}/half"
        data[name] = tensor if isinstance(tensor, ConstantTensor) else HalfTensor(name, tensor, clipped=False)
        made.append(constant(name, "float16", shape))
    return made

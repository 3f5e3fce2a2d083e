"""Half precision: weights and activations in float16, except where half has too little range or precision.

`to_half` keeps the types of the graph's inputs and outputs. Two operators stay in float32, with a Cast before and
after: the mean over rows and columns, because its sum overflows half at 65504 and loses its last bits long before; and
Softmax, because of its exponentials.

Half cannot hold the variances of a batch normalisation, which range from 1e-8 to 1e5. With
a = gamma / sqrt(variance + epsilon) it is rewritten with mean 0 and variance 1::

    gamma' = a sqrt(1 + epsilon),  beta' = beta - a mean

so that gamma' / sqrt(1 + epsilon) (x - 0) + beta' = a x + (beta - a mean).

A weight above half's largest number is an error that names it; one below its smallest, 6e-8, becomes zero. The
threshold of a Max or Min is clipped to half's range, which no float16 input exceeds. Only a run of the model shows
whether its activations fit.

`half_io` makes inputs and outputs float16 too: it removes their Casts, and the values inside take their names. An
output that is float32 inside, such as that of Softmax, gets a Cast. An output beyond half's range is infinite.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.graph import (
    ONNX_TYPES,
    OPERATORS,
    ConstantTensor,
    Graph,
    Node,
    Tensor,
    Type,
    Value,
    VectorTensor,
    cast,
    initializer,
    made_by,
    rebuilt,
    rename,
    rewrite,
)
from resnet_compile.passes.base import PassResult
from resnet_compile.passes.batch_norm import affine

_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class HalfTensor:
    """A tensor rounded to float16 on demand.

    Attributes:
        name: The initializer's name, for errors.
        source: The tensor to round.
        clipped: Whether values beyond half's range are clipped to it.
    """

    name: str
    source: Tensor
    clipped: bool
    dtype: ClassVar[Literal["float16"]] = "float16"

    @property
    def shape(self) -> tuple[int, ...]:
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
    """Makes weights and activations float16; inputs and outputs keep their types.

    Initializers keep their names, except those of a batch normalisation. These, and the float16 value before a float32
    output, are called `.../half`.
    """
    outputs = frozenset(graph.outputs)
    clipped = _thresholds(graph)
    casts: dict[tuple[Value, str], Value] = {}
    done = 0

    def read_as(value: Value, dtype: Literal["float32", "float16"]) -> Value:
        if value.type.dtype == dtype or value.type.dtype not in ("float32", "float16"):
            return value
        name = f"{value.name}/{'half' if dtype == 'float16' else 'single'}"
        return casts.setdefault((value, dtype), cast(value, dtype, name))

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        if value.type.dtype != "float32" or value in graph.inputs:
            return None
        if value.contents:
            return initializer(value.name, HalfTensor(value.name, value.contents, value in clipped))
        done += 1
        single = OPERATORS[value.maker.operator].single
        read = [source and read_as(source, "float32" if single else "float16") for source in sources]
        if norm := made_by(value, "BatchNormalization"):
            read[1:] = _standard(norm)
        return rebuilt(value, read, f"{value.name}/half" if value in outputs and not single else value.name)

    inside = rewrite(graph, rule)
    made = tuple(
        value if value.type.dtype == output.type.dtype else cast(value, "float32", output.name)
        for value, output in zip(inside.outputs, graph.outputs, strict=True)
    )
    return PassResult(replace(inside, outputs=made), done)


def _thresholds(graph: Graph) -> Collection[Value]:
    """The initializers that only Max and Min read."""
    return {
        value
        for value, made in graph.readers().items()
        if value.contents and all(made_by(reader, "Max") or made_by(reader, "Min") for reader in made)
    }


def _standard(norm: Node) -> list[Value]:
    """The initializers of the equivalent batch normalisation with mean 0 and variance 1."""
    gamma, beta = norm.input(1), norm.input(2)
    epsilon, shape = norm.attributes.number("epsilon"), beta.static_shape
    # A scale of ones may stand for several norms, so the scope of the new names is that of beta.
    scope = beta.name.rpartition("/")[0]
    scale = VectorTensor(gamma.name, shape, lambda: affine(norm).scale * np.sqrt(1 + epsilon))
    shift = VectorTensor(beta.name, shape, lambda: affine(norm).shift)
    contents: dict[str, Tensor] = {
        "gamma": HalfTensor(f"{scope}/gamma/half", scale, clipped=False),
        "beta": HalfTensor(f"{scope}/beta/half", shift, clipped=False),
        "moving_mean": ConstantTensor(np.zeros(shape, np.float16)),
        "moving_variance": ConstantTensor(np.ones(shape, np.float16)),
    }
    return [initializer(f"{scope}/{role}/half", tensor) for role, tensor in contents.items()]


def half_io(graph: Graph) -> PassResult:
    """Makes the float32 inputs and outputs of a float16 graph float16; they keep their names."""
    inputs = {
        value: replace(value, type=Type("float16", value.shape))
        for value in graph.inputs
        if value.type.dtype == "float32"
    }

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value.node is None or not any(source in inputs for source in value.node.inputs):
            return None
        if value.node.operator == "Cast" and value.node.attributes.integer("to") == ONNX_TYPES["float16"]:
            return sources[0]
        read = [
            cast(new, "float32", f"{new.name}/single") if new and old in inputs else new
            for old, new in zip(value.node.inputs, sources, strict=True)
        ]
        return rebuilt(value, read)

    fed = rewrite(graph, rule, inputs=inputs)
    fed = rename(fed, {value.name: f"{value.name}/single" for value in fed.outputs if _is_single(value)})
    inside: dict[str, str] = {}
    outputs = tuple(
        _half_output(value, output.name, inside) for value, output in zip(fed.outputs, graph.outputs, strict=True)
    )
    told = rename(replace(fed, outputs=outputs), inside)
    return PassResult(told, len(inputs) + len(outputs))


def _is_single(output: Value) -> bool:
    """Whether an output is computed in float32, not just cast to it."""
    return output.type.dtype == "float32" and not made_by(output, "Cast")


def _half_output(value: Value, name: str, inside: dict[str, str]) -> Value:
    """The float16 output for a value; `inside` maps the value's name to the output's."""
    if value.type.dtype != "float32":
        return value
    if _is_single(value):
        return cast(value, "float16", name)
    source = value.maker.input(0)
    inside[source.name] = name
    return source

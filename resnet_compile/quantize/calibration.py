"""Calibration: the ranges and means of a graph's activations, from one run on images.

A range is the least and the greatest value, as in onnxruntime's `MinMaxCalibrater`. onnxruntime's histogram calibrators
were tried on ResNet-50 v2. `PercentileCalibrater` at 99.99 on both sides reduces the errors of logits and blocks by a
tenth (1.0 % instead of 1.1 %), but takes several times as long and holds all activations in memory. On a network of few
channels, 99.9 and `EntropyCalibrater` make the error larger.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.graph import ConstantTensor, Graph, Type, Value, Vector, apply, initializer, made_by, rewrite
from resnet_compile.quantize.images import CalibrationImages
from resnet_compile.runtime import Session, SessionOptions
from resnet_compile.serialize import ModelFormat, write_model

METHOD = "minmax"


@contextmanager
def opened(graph: Graph, fmt: ModelFormat = ModelFormat(), **options: Any) -> Iterator[Session]:  # noqa: B008  # frozen
    """A session on the CPU without spinning, open until the block ends; `options` are further session options."""
    with _written(graph, fmt) as path:
        yield Session.open(path, "cpu", SessionOptions(spinning=False, **options))


@dataclass(frozen=True, slots=True)
class Observed:
    """Statistics of an activation over all images.

    Attributes:
        low: The least value of each channel of a map; of any other value, the least of all its numbers.
        high: The greatest, likewise.
        mean: The mean of each channel over images, rows and columns; None if it was not requested.
    """

    low: Vector
    high: Vector
    mean: Vector | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(self.low.min()), float(self.high.max())

    def over(self, factors: Vector) -> Observed:
        """The statistics of the map after division by factors, one for each channel."""
        return Observed(self.low / factors, self.high / factors, None if self.mean is None else self.mean / factors)


def observe(
    graph: Graph, wanted: Collection[Value], convolved: Collection[Value], images: CalibrationImages
) -> Mapping[str, Observed]:
    """Ranges of activations by name, and means of those that convolutions read, from one run over the images.

    The graph itself computes the extremes. A max pool as large as the map gives its greatest value; the same pool of
    the negated map gives its least. The least value of a ReLU is taken to be 0.

    Args:
        graph: The graph to run.
        wanted: The activations whose ranges are needed.
        convolved: Those of `wanted` whose means are needed too.
        images: The calibration images.

    Raises:
        WeightsError: An activation is not a finite number.
    """
    sized = _sized(graph, (*wanted, *convolved), images.values.shape[1:])
    values = {value.name: value for value in sized.outputs}
    probes = _probes(values, {value.name for value in convolved})
    outputs = tuple(dict.fromkeys(probe for each in probes.values() for probe in each.values()))
    least, greatest, sums = (dict[str, Vector]() for _ in range(3))
    with opened(replace(sized, outputs=outputs)) as session:
        for batch in images.batches():
            made = session.run({graph.inputs[0].name: batch})
            for name, each in probes.items():
                high = _rows(made[each["high"].name])
                low = -_rows(made[each["low"].name]) if "low" in each else np.minimum(high, 0)
                if len(values[name].shape) != 4:
                    low = high
                greatest[name] = np.maximum(greatest.get(name, -np.inf), high.max(0))
                least[name] = np.minimum(least.get(name, np.inf), low.min(0))
                if "mean" in each:
                    sums[name] = sums.get(name, 0.0) + _rows(made[each["mean"].name]).sum(0)
    means = {name: total / len(images.values) for name, total in sums.items()}
    found = {name: Observed(least[name], greatest[name], means.get(name)) for name in sorted(probes)}
    for name, told in found.items():
        if not all(map(math.isfinite, told.range)):
            raise WeightsError("the network computes a value that is not finite", where=name)
    return found


def _sized(graph: Graph, values: Sequence[Value], shape: tuple[int, ...]) -> Graph:
    """The graph at the images' size, with these values as its outputs."""
    (source,) = graph.inputs
    fixed = replace(source, type=Type(source.type.dtype, (source.shape[0], *shape)))
    whole = replace(graph, outputs=tuple(dict.fromkeys(values)))
    return rewrite(whole, lambda value, sources: None, inputs={source: fixed})


def _probes(values: Mapping[str, Value], convolved: Collection[str]) -> dict[str, dict[str, Value]]:
    """The probes of each value: `high`; `low`, negated, unless a ReLU makes the value; and `mean` if requested."""
    minus = initializer("calibration/minus", ConstantTensor(np.full((1, 1, 1, 1), -1, np.float32)))
    probes: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        if len(value.shape) != 4:
            probes[name] = {"high": value}
            continue

        def greatest(source: Value, what: str, name: str = name) -> Value:
            sides = tuple(int(side or 0) for side in source.shape[2:])
            return apply("MaxPool", source, name=f"{name}/{what}", kernel_shape=sides)

        probes[name] = {"high": greatest(value, "high")}
        if not made_by(value, "Relu"):
            negative = apply("Mul", value, minus, name=f"{name}/negative")
            probes[name]["low"] = greatest(negative, "low")
        if name in convolved:
            probes[name]["mean"] = apply("GlobalAveragePool", value, name=f"{name}/mean")
    return probes


def _rows(made: NDArray[Any]) -> NDArray[np.float64]:
    """The values as a matrix with one row per image."""
    return made.reshape(len(made), -1).astype(np.float64)


@contextmanager
def _written(graph: Graph, fmt: ModelFormat) -> Iterator[Path]:
    # A file, because a model in memory is limited in size.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_model(graph, fmt, path)
        yield path

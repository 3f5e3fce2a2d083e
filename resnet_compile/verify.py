"""Verifies a compiled network by running it beside the same network in float32 without rewrites.

The error bound depends on the output. A softmax turns a difference d of logits into a factor of up to exp(2 d), so the
bound of predictions is the bound of the logits times twice the greatest logit, if that factor is more than one. With
initial weights, logits can be so large that predictions are all zeros and ones.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint
from resnet_compile.compiler import CompiledModel
from resnet_compile.errors import OptionError, VerificationError, inside
from resnet_compile.files import as_path
from resnet_compile.graph import Graph, Node, Value, made_by
from resnet_compile.lower.network import INPUT
from resnet_compile.plan.names import resolve_model_outputs
from resnet_compile.precision import PRECISIONS
from resnet_compile.quantize.calibration import opened
from resnet_compile.runtime import Session
from resnet_compile.runtime.image_input import ImageInput, image_input

_BATCH = 2

Kind = Literal["random", "given", "recorded"]
"""Random images, given images, or images recorded together with the original's outputs."""


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output of two models for the same images.

    Attributes:
        output: The output's name.
        images: The kind of images.
        error: Relative error: norm of the difference over norm of the reference.
        largest: The largest absolute difference.
        bound: The largest error that passes.
        note: What the comparison cannot show.
    """

    output: str
    images: Kind
    error: float
    largest: float
    bound: float
    note: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the error is at most the bound, and not NaN."""
        return self.error <= self.bound


def compare(
    model: CompiledModel,
    reference: CompiledModel,
    *,
    images: NDArray[np.float32] | Iterable[NDArray[np.uint8]] | None = None,
    seed: int = 0,
) -> tuple[OutputComparison, ...]:
    """Runs two models of one network on the CPU on the same images: normally distributed ones, and the given ones.

    A calibrated model runs on the given images alone, because values beyond its calibrated range would show nothing.

    Args:
        model: The model to verify.
        reference: The reference, in float32; it runs without onnxruntime's own rewrites.
        images: Images in the models' input format: float32, any number whatever the batch size; or photographs of any
            size, each uint8 ``[1, H, W, 3]``.
        seed: The seed of the random images. There are two images if the batch size is free.

    Raises:
        ResnetCompileError: A model cannot be run.
    """
    precision = PRECISIONS[model.format.metadata.dtype or "float32"]
    told: list[OutputComparison] = []
    with (
        opened(model.graph, model.format) as actual,
        opened(_with_logits(reference.graph), reference.format, graph_optimization="disabled") as expected,
    ):
        judge = Judge(precision.bound, _logits(reference.graph), untrained=model.format.metadata.untrained)
        if images is None or not precision.calibrated:
            source = image_input(actual)
            shape = source.shape(source.batch_size(None, _BATCH), model.plan.input.size)
            noise = _noise(source, shape, seed)
            told += _compared("random", (actual, expected), noise, judge)
        if images is not None:
            told += _compared("given", (actual, expected), images, judge)
    return tuple(told)


def _noise(source: ImageInput, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    generator = np.random.default_rng(seed)
    if source.takes_photographs:
        return generator.integers(0, 256, shape, np.uint8)
    return generator.standard_normal(shape, np.float32)


def require_agreement(comparisons: tuple[OutputComparison, ...]) -> None:
    """Raises unless every output agrees.

    Raises:
        VerificationError: An output does not agree; `where` names the worst.
    """
    failed = [each for each in comparisons if not each.agrees]
    if failed:
        worst = max(failed, key=lambda each: np.nan_to_num(each.error, nan=np.inf))
        raise VerificationError(
            f"{len(failed)} of {len(comparisons)} outputs differ from the network's in float32, "
            f"by up to {worst.error:.2e} where {worst.bound:.1e} is allowed",
            where=worst.output,
        )


@dataclass(slots=True)
class Difference:
    """The sums for one output over all batches."""

    squares: float = 0.0
    reference: float = 0.0
    largest: float = 0.0
    greatest_logit: float = 0.0

    def add(self, actual: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
        difference = actual.astype(np.float64) - expected
        self.squares += float(np.square(difference).sum())
        self.reference += float(np.square(expected, dtype=np.float64).sum())
        self.largest = float(np.maximum(self.largest, np.abs(difference).max()))

    @property
    def error(self) -> float:
        return math.sqrt(self.squares / self.reference if self.reference else self.squares)


@dataclass(frozen=True, slots=True)
class Judge:
    """Decides the error bound of each output.

    Attributes:
        bound: The precision's bound.
        logits: For each output that comes from a softmax, the name of the softmax's input.
        untrained: Whether the weights are initial values.
    """

    bound: float
    logits: Mapping[str, str]
    untrained: bool

    def comparison(self, output: str, kind: Kind, found: Difference) -> OutputComparison:
        bound, note = self.bound, None
        if output in self.logits:
            bound *= max(1.0, 2 * found.greatest_logit)
            if self.untrained:
                note = "initial weights: proves nothing"
            elif bound >= 1:
                note = f"logits up to {found.greatest_logit:.3g}: proves nothing"
        return OutputComparison(output, kind, found.error, found.largest, bound, note)


def _softmax(output: Value) -> Node | None:
    """The softmax that an output comes from, directly or as its greatest values; None if there is none."""
    best = made_by(output, "TopK")
    return made_by(best.input(0) if best else output, "Softmax")


def _logits(graph: Graph) -> dict[str, str]:
    """For each output that comes from a softmax, the name of the softmax's input."""
    return {output.name: node.input(0).name for output in graph.outputs if (node := _softmax(output))}


def _with_logits(graph: Graph) -> Graph:
    """The graph with the inputs of its softmaxes as further outputs."""
    made = (node.input(0) for output in graph.outputs if (node := _softmax(output)))
    return replace(graph, outputs=tuple(dict.fromkeys((*graph.outputs, *made))))


def _compared(
    kind: Kind,
    sessions: tuple[Session, Session],
    images: NDArray[Any] | Iterable[NDArray[Any]],
    judge: Judge,
) -> list[OutputComparison]:
    # Integer outputs are not compared: of two equally probable classes either may come first.
    floats = [name for name, info in sessions[0].outputs.items() if info.dtype.startswith("float")]
    differences = {name: Difference() for name in floats}
    step = image_input(sessions[0]).batch_size(None, _BATCH)
    if isinstance(images, np.ndarray):
        images = [images[begin : begin + step] for begin in range(0, len(images), step)]
    for batch in images:
        actual, expected = (session.run(image_input(session).feed(batch)) for session in sessions)
        for name, difference in differences.items():
            difference.add(actual[name][: len(batch)], expected[name][: len(batch)])
            if name in judge.logits:
                greatest = float(np.abs(expected[judge.logits[name]]).max())
                difference.greatest_logit = max(difference.greatest_logit, greatest)
    return [judge.comparison(name, kind, difference) for name, difference in differences.items()]


def compare_recorded(model: CompiledModel, path: str | os.PathLike[str]) -> tuple[OutputComparison, ...]:
    """Runs a model on recorded inputs and compares its outputs with the original's recorded outputs.

    Args:
        model: The model to verify.
        path: An `.npz` file. `input` holds the preprocessed images, ``[N, C, H, W]`` or ``[N, H, W, C]``. Each other
            array is an output to compare, in either layout, named with or without the network's name.

    Raises:
        CheckpointError: The file is not an `.npz`, or is damaged.
        OptionError: The file has no `input`, an array that is not an output of the model, or one of another shape.
    """
    where, bound = os.fspath(path), PRECISIONS[model.format.metadata.dtype or "float32"].bound
    with NpzCheckpoint(as_path(path)) as recorded:
        arrays = {name: recorded[name] for name in recorded}
    images = arrays.pop(INPUT, None)
    if images is None or not arrays or not len(images):
        hint = f"np.savez(path, {INPUT}=images, logits=logits)"
        raise OptionError(f"must hold an array {INPUT!r} and one for each output to compare", where=where, hint=hint)
    logits = _logits(model.graph)
    with opened(_with_logits(model.graph), model.format) as session, inside(where):
        names = resolve_model_outputs(model.outputs, tuple(arrays), model.plan)
        source = image_input(session)
        prepared = _as_shaped(INPUT, images, source.shape(len(images), model.plan.input.size))
        differences, step = [Difference() for _ in names], source.batch_size(None, _BATCH)
        for begin in range(0, len(images), step):
            rows = slice(begin, begin + step)
            made = session.run(source.feed(prepared[rows]))
            for name, array, difference in zip(names, arrays.values(), differences, strict=True):
                actual = made[name][: len(images) - begin]
                difference.add(actual, _as_shaped(name, array[rows], actual.shape))
                if name in logits:
                    greatest = float(np.abs(made[logits[name]]).max())
                    difference.greatest_logit = max(difference.greatest_logit, greatest)
    judge = Judge(bound, logits, untrained=False)
    return tuple(judge.comparison(name, "recorded", found) for name, found in zip(names, differences, strict=True))


def _as_shaped(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """An array in the model's layout: moves the channel axis, and drops or inserts axes of length 1, as needed."""
    if array.shape == shape:
        return array
    for order in ((0, 3, 1, 2), (0, 2, 3, 1)):
        if array.ndim == len(order) and tuple(array.shape[axis] for axis in order) == shape:
            return np.ascontiguousarray(array.transpose(order))
    if array.ndim != len(shape) and [n for n in array.shape[1:] if n > 1] == [n for n in shape[1:] if n > 1]:
        return array.reshape(shape)
    raise OptionError(f"is {list(array.shape)} and the model's {list(shape)}", where=name)

"""Comparing two models by running them: what was compiled, and the same network as it is, in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.compiler import CompiledModel
from resnet_compile.errors import VerificationError
from resnet_compile.precision import PRECISIONS
from resnet_compile.quantize.calibration import opened
from resnet_compile.runtime import Session
from resnet_compile.runtime.image_input import ImageInput, image_input

_BATCH = 2


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output of two models for the same images.

    Attributes:
        output: Its name.
        images: Which: random ones or those given.
        error: Norm of the difference over the norm of the reference.
        largest: The largest absolute difference.
        bound: What the error may be.
    """

    output: str
    images: Literal["random", "given"]
    error: float
    largest: float
    bound: float

    @property
    def agrees(self) -> bool:
        """Whether the error is a number and within the bound."""
        return self.error <= self.bound


def compare(
    model: CompiledModel,
    reference: CompiledModel,
    *,
    images: NDArray[np.float32] | Sequence[NDArray[np.uint8]] | None = None,
    seed: int = 0,
) -> tuple[OutputComparison, ...]:
    """Runs two models of one network on the same images on the CPU: normally distributed ones, and those given.

    Of a calibrated model those given stand alone: numbers beyond the range that it was calibrated for show nothing.

    Args:
        model: What is to be verified.
        reference: What it is held against, in float32; it runs without onnxruntime's own rewrites.
        images: As the models take them: float32, any number of them, whatever the batch size; or photographs of any
            sizes, each uint8 ``[1, H, W, 3]``.
        seed: Of the random images, two of them where the batch size is free.

    Raises:
        ResnetCompileError: A model cannot be run.
    """
    precision = PRECISIONS[model.format.metadata.dtype or "float32"]
    told: list[OutputComparison] = []
    with (
        opened(model.graph, model.format) as actual,
        opened(reference.graph, reference.format, graph_optimization="disabled") as expected,
    ):
        if images is None or not precision.calibrated:
            source = image_input(actual)
            shape = source.shape(source.batch_size(None, _BATCH), model.plan.input.size)
            noise = _noise(source, shape, seed)
            told += _compared("random", (actual, expected), noise, precision.bound)
        if images is not None:
            told += _compared("given", (actual, expected), images, precision.bound)
    return tuple(told)


def _noise(source: ImageInput, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    generator = np.random.default_rng(seed)
    if source.takes_photographs:
        return generator.integers(0, 256, shape, np.uint8)
    return generator.standard_normal(shape, np.float32)


def require_agreement(comparisons: tuple[OutputComparison, ...]) -> None:
    """Does nothing if every output agrees.

    Raises:
        VerificationError: One does not; the message is of the worst.
    """
    failed = [each for each in comparisons if not each.agrees]
    if failed:
        worst = max(failed, key=lambda each: np.nan_to_num(each.error, nan=np.inf))
        raise VerificationError(
            f"{len(failed)} of {len(comparisons)} outputs differ from the network's in float32, "
            f"by up to {worst.error:.2e} where {worst.bound:.0e} is allowed",
            where=worst.output,
        )


@dataclass(slots=True)
class _Difference:
    """What one output's values of all batches add up to."""

    squares: float = 0.0
    reference: float = 0.0
    largest: float = 0.0

    def add(self, actual: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
        difference = actual.astype(np.float64) - expected
        self.squares += float(np.square(difference).sum())
        self.reference += float(np.square(expected, dtype=np.float64).sum())
        self.largest = float(np.maximum(self.largest, np.abs(difference).max()))

    def comparison(self, output: str, images: Literal["random", "given"], bound: float) -> OutputComparison:
        error = math.sqrt(self.squares / self.reference if self.reference else self.squares)
        return OutputComparison(output, images, error, self.largest, bound)


def _compared(
    kind: Literal["random", "given"],
    sessions: tuple[Session, Session],
    images: NDArray[Any] | Sequence[NDArray[Any]],
    bound: float,
) -> list[OutputComparison]:
    # Of two classes that are equally probable either may be told first.
    floats = [name for name, info in sessions[0].outputs.items() if info.dtype.startswith("float")]
    differences = {name: _Difference() for name in floats}
    step = image_input(sessions[0]).batch_size(None, _BATCH)
    if isinstance(images, np.ndarray):
        images = [images[begin : begin + step] for begin in range(0, len(images), step)]
    for batch in images:
        actual, expected = (session.run(image_input(session).feed(batch)) for session in sessions)
        for name, difference in differences.items():
            difference.add(actual[name][: len(batch)], expected[name][: len(batch)])
    return [difference.comparison(name, kind, bound) for name, difference in differences.items()]

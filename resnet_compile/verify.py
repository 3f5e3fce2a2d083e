"""Comparing two models by running them: what was compiled, and the same network as it is, in float32."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_compile.compiler import CompiledModel
from resnet_compile.errors import VerificationError
from resnet_compile.runtime import Session, SessionOptions

# Of an output's error: norm of the difference over norm of the reference. ResNet-152 in float32 shows up to 1e-6 and in
# float16 up to 5e-3; a pass that computes something else, more than 1e-1.
_BOUNDS = {"float32": 1e-4, "float16": 5e-2}
_BATCH = 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output of two models for the same images.

    Attributes:
        output: Its name.
        error: Norm of the difference over the norm of the reference.
        largest: The largest absolute difference.
        bound: What the error may be.
    """

    output: str
    error: float
    largest: float
    bound: float

    @property
    def agrees(self) -> bool:
        """Whether the error is a number and within the bound."""
        return self.error <= self.bound


def compare(model: CompiledModel, reference: CompiledModel, *, seed: int = 0) -> tuple[Comparison, ...]:
    """Runs two models of one signature on the same normally distributed images, on the CPU.

    Args:
        model: What is to be verified.
        reference: What it is held against, in float32; it runs without onnxruntime's own rewrites.
        seed: Of the images, two of them where the batch size is free.

    Raises:
        ResnetCompileError: A model cannot be run.
    """
    images = _images(model, seed)
    expected = _run(reference, images, SessionOptions(graph_optimization="disabled"))
    actual = _run(model, images, SessionOptions())
    half = any(value.type.dtype == "float16" for value in model.graph.values())
    bound = _BOUNDS["float16" if half else "float32"]
    return tuple(_compared(name, actual[name], expected[name], bound) for name in model.outputs)


def require_agreement(comparisons: tuple[Comparison, ...]) -> None:
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


def _images(model: CompiledModel, seed: int) -> NDArray[np.float32]:
    (source,) = model.graph.inputs
    free = {"batch": _BATCH, "height": model.plan.input.height, "width": model.plan.input.width}
    shape = [dim if isinstance(dim, int) else free[str(dim)] for dim in source.shape]
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _run(model: CompiledModel, images: NDArray[np.float32], options: SessionOptions) -> dict[str, NDArray[np.float32]]:
    (source,) = model.graph.inputs
    # By way of a file, which no model is too large for.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.save(path)
        return Session.open(path, "cpu", options).run({source.name: images})


def _compared(name: str, actual: NDArray[np.float32], expected: NDArray[np.float32], bound: float) -> Comparison:
    difference = actual.astype(np.float64) - expected
    norm = float(np.linalg.norm(expected.astype(np.float64)))
    error = float(np.linalg.norm(difference))
    return Comparison(name, error / norm if norm else error, float(np.abs(difference).max()), bound)

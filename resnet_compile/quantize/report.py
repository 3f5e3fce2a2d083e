"""The cost of 8 bits: the quantised network compared with float32 on the calibration images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnet_compile.graph import Graph, Vector
from resnet_compile.notebook import html_table
from resnet_compile.quantize.calibration import METHOD, opened
from resnet_compile.quantize.images import CalibrationImages


@dataclass(frozen=True, slots=True)
class PointError:
    """An end point's error over all images.

    Attributes:
        name: The end point.
        snr: Signal-to-noise ratio, 10 log10(sum x^2 / sum (x' - x)^2), in dB; infinite without a difference.
        error: Norm of the difference over norm of the reference.
    """

    name: str
    snr: float
    error: float


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """The cost of quantisation.

    Attributes:
        method: The calibration method.
        source: `random` for normally distributed numbers, `images` for given images.
        images: The number of images.
        points: The errors of the blocks, and of the logits if there are any.
        top1: The fraction of images with the same largest logit in both networks; for logits with rows and columns, the
            fraction of positions. None without logits.
    """

    method: str
    source: Literal["random", "images"]
    images: int
    points: tuple[PointError, ...]
    top1: float | None

    def _repr_html_(self) -> str:
        top1 = "" if self.top1 is None else f"top-1 agreement {self.top1:.1%}, "
        rows = [(each.name, each.snr, each.error) for each in self.points]
        return html_table(f"{top1}on {self.images} {self.source}", ("end point", "SNR dB", "relative error"), rows)

    def document(self) -> dict[str, Any]:
        """Plain JSON values; an infinite ratio is null."""
        points = [
            {"name": each.name, "snr_db": each.snr if math.isfinite(each.snr) else None, "error": each.error}
            for each in self.points
        ]
        return {
            "method": self.method,
            "source": self.source,
            "images": self.images,
            "points": points,
            "top1_agreement": self.top1,
        }


def compare_points(
    reference: Graph,
    quantized: Graph,
    images: CalibrationImages,
    logits: str | None,
    factors: Mapping[str, Vector],
) -> QuantizationReport:
    """Runs two graphs with the same inputs and outputs, and compares every output.

    Args:
        reference: The network in float32.
        quantized: The network in 8 bits.
        images: The images.
        logits: The output whose largest value is the class.
        factors: Factors for the channels of the quantised network's outputs, by output name.
    """
    signal = {output.name: 0.0 for output in reference.outputs}
    noise = dict(signal)
    agreed: list[NDArray[np.bool_]] = []
    (source,) = reference.inputs
    with opened(reference) as expecting, opened(quantized) as acting:
        for batch in images.batches():
            expected, actual = expecting.run({source.name: batch}), acting.run({source.name: batch})
            for name, values in expected.items():
                signal[name] += float(np.square(values, dtype=np.float64).sum())
                made = actual[name].astype(np.float64)
                if name in factors:
                    places = (1, -1, 1, 1) if _channel_axis(reference, name) == 1 else (1, 1, 1, -1)
                    made *= factors[name].reshape(places)
                noise[name] += float(np.square(made - values).sum())
            if logits:
                axis = _channel_axis(reference, logits)
                agreed.append(expected[logits].argmax(axis) == actual[logits].argmax(axis))
    points = tuple(_point(name, signal[name], noise[name]) for name in signal)
    top1 = float(np.concatenate([each.ravel() for each in agreed]).mean()) if agreed else None
    return QuantizationReport(METHOD, images.source, len(images.values), points, top1)


def _channel_axis(graph: Graph, name: str) -> int:
    """The channel axis of an output: the last if the output was transposed to NHWC."""
    value = next(output for output in graph.outputs if output.name == name)
    return -1 if value.node and value.node.operator == "Transpose" else 1


def _point(name: str, signal: float, noise: float) -> PointError:
    if noise == 0:
        return PointError(name, math.inf, 0.0)
    if signal == 0:
        return PointError(name, -math.inf, math.inf)
    return PointError(name, 10 * math.log10(signal / noise), math.sqrt(noise / signal))

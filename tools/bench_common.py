"""What the scripts that compare models share: images, errors, timing in turn, tables."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.bench import Interval, Protocol, measure
from resnet_compile.runtime import describe_cpu, installed_packages

Images = NDArray[np.float32]
Step = Callable[[int], None]
CONTROL = "A/A control"
SYNTHETIC = "synthetic images, Gaussian fields with the 1/f amplitude spectrum of photographs; no real images"


def synthetic_images(count: int, side: int, seed: int) -> Images:
    """Images with a photograph's spectrum and nothing to see: float32 [count, 3, side, side], between -1 and 1.

    Amplitudes fall with the frequency (Field, Relations between the statistics of natural images and the response
    properties of cortical cells, 1987), and the channels share most of what they hold.
    """
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    noise = generator.standard_normal((count, 4, side, side))
    fields = np.fft.irfft2(np.fft.rfft2(noise) / frequency, (side, side))
    images = fields[:, :1] + 0.3 * fields[:, 1:]
    images /= images.std((1, 2, 3), keepdims=True)
    return np.clip(0.5 * images, -1, 1).astype(np.float32)


def relative(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """Norm of the difference over the norm of what was expected, of logits [N, C] in any shape that keeps N."""
    actual, expected = (each.reshape(len(each), -1).astype(np.float64) for each in (actual, expected))
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def agreement(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """The share of images whose greatest logit is the same."""
    actual, expected = (each.reshape(len(each), -1) for each in (actual, expected))
    return float((actual.argmax(1) == expected.argmax(1)).mean())


def interleaved(
    openers: Mapping[str, Callable[[], Step]], protocol: Protocol, openings: int = 1
) -> dict[str, tuple[float, ...]]:
    """Seconds of every contestant, one a round: all in turn in random order, and opened anew several times on the way.

    An opener makes the contestant ready and has run it once. Where a session's memory comes to lie moves its speed, so
    sessions are opened more than once, in random order; `protocol.burn_in` rounds follow each opening.
    """
    generator = np.random.default_rng(protocol.seed)
    labels = list(openers)
    seconds: dict[str, tuple[float, ...]] = dict.fromkeys(labels, ())
    openings = min(openings, protocol.steps)
    for number in range(openings):
        part = protocol.steps // openings + (number < protocol.steps % openings)
        opened = {labels[place]: openers[labels[place]]() for place in generator.permutation(len(labels))}
        rounds = protocol.replace(steps=part, seed=protocol.seed + number)
        measured = measure({label: opened[label] for label in labels}, rounds).seconds
        seconds = {label: (*seconds[label], *measured[label]) for label in labels}
        del opened
    return seconds


def environment() -> dict[str, Any]:
    """Where and when a comparison is made."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": dataclasses.asdict(describe_cpu()),
        "packages": installed_packages(),
    }


def interval(value: Interval | Mapping[str, float]) -> str:
    """A median with its confidence interval, as text."""
    fields = dataclasses.asdict(value) if isinstance(value, Interval) else value
    return f"{fields['median']:.3f} [{fields['low']:.3f}, {fields['high']:.3f}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, the others to the right; None is empty."""
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *rows]
    texts = [
        ["" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in texts)

"""What the makers of golden data share: numpy alone, so that it runs beside every original system."""

import json
import zlib
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_ROUNDING = 4e-6


class RoundingError(Exception):
    """Random variables for which float32 rounding alone moves an end point too far to tell a mistake from it."""


class Golden:
    """The cases of one golden file, with shared variables; arrays that are the same bit for bit are stored once."""

    def __init__(self, variables: Mapping[str, Array]) -> None:
        self._arrays = {f"var/{name}": value for name, value in variables.items()}
        self._names: dict[tuple[tuple[int, ...], bytes], str] = {}
        self._cases: list[str] = []

    def add(
        self, case: Mapping[str, Any], x: Array, end: Mapping[str, Array], exact: Mapping[str, Array], **others: Array
    ) -> None:
        """Add a case: its description, its input, its end points, the same in float64, and its other outputs.

        Raises:
            RoundingError: An end point is not within `MOST_ROUNDING` of its value in float64.
        """
        index = len(self._cases)
        for key, value in end.items():
            scale = np.linalg.norm(exact[key])
            if scale == 0 or np.linalg.norm(value - exact[key]) > MOST_ROUNDING * scale:
                raise RoundingError(f"case {index}: {key}")
        places = {
            "x": self._keep(f"x/{index}", x),
            "end": {key: self._keep(f"end/{index}/{key}", value) for key, value in end.items()},
            **{key: self._keep(f"{key}/{index}", value) for key, value in others.items()},
        }
        self._cases.append(json.dumps({**case, **places}))

    def save(self, path: Path) -> None:
        """Write the file."""
        np.savez_compressed(path, case=np.array(self._cases), **self._arrays)
        print(f"{path.name}: {len(self._cases)} cases, {path.stat().st_size:,} bytes")

    def _keep(self, name: str, value: Array) -> str:
        content = (value.shape, value.tobytes())
        if content not in self._names:
            self._names[content] = name
            self._arrays[name] = value
        return self._names[content]


def write_first_good(path: Path, seed: int, make: Callable[[int], Golden]) -> None:
    """Write what `make` gives for the first seed, from the given one on, whose variables are well-conditioned."""
    for attempt in count(seed):
        try:
            golden = make(attempt)
        except RoundingError as error:
            print(f"{path.name}: seed {attempt} is ill-conditioned at {error}")
        else:
            golden.save(path)
            return


def generator(seed: int, name: str) -> np.random.Generator:
    """A generator for the variable `name`, determined by the seed and the name alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def random_weights(seed: int, name: str, shape: tuple[int, ...], fan_in: int) -> Array:
    """Weights that keep the scale of what they act on, more or less."""
    return (generator(seed, name).standard_normal(shape) * np.sqrt(1.5 / fan_in)).astype(np.float32)


def random_gamma(seed: int, name: str, shape: tuple[int, ...]) -> Array:
    """Scales of either sign."""
    rng = generator(seed, name)
    return (rng.uniform(0.5, 1.5, shape) * rng.choice((-1.0, 1.0), shape)).astype(np.float32)


def random_offset(seed: int, name: str, shape: tuple[int, ...], deviation: float = 0.3) -> Array:
    """A bias, or the beta of a batch normalisation."""
    return (generator(seed, name).standard_normal(shape) * deviation).astype(np.float32)


def disturbed_mean(seed: int, name: str, mean: Array, variance: Array) -> Array:
    """A moving mean near that of the activations, but not equal to it."""
    noise = 0.25 * np.sqrt(variance) * generator(seed, name).standard_normal(mean.shape)
    return (mean + noise).astype(np.float32)


def disturbed_variance(seed: int, name: str, variance: Array) -> Array:
    """A moving variance near that of the activations, but not equal to it."""
    return (variance * generator(seed, name).uniform(0.6, 1.6, variance.shape)).astype(np.float32)


def variance_about_zero(mean: Array, variance: Array) -> Array:
    """The mean square of activations: never less than their variance, and more where their mean is far from 0.

    A normalisation by it cannot blow up the rounding of values that differ little from each other, which hundreds of
    layers of random weights make of a few images, so that two float32 runs of a deep network agree as those of a
    trained one do.
    """
    return variance + mean**2


def random_input(seed: int, batch: int, height: int, width: int, channels: int) -> Array:
    """An input around 0, NHWC, of slow waves and noise, so that its maps vary from place to place at every depth."""
    rng = np.random.default_rng([seed, batch, height, width, channels])
    places = np.stack(np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij"))
    x = rng.uniform(-0.5, 0.5, (batch, height, width, channels))
    for _ in range(5):
        frequencies = rng.uniform(-2.5, 2.5, (batch, channels, 2))
        phases = rng.uniform(0, 1, (batch, 1, 1, channels))
        x += 0.5 * np.cos(2 * np.pi * (np.einsum("bck,khw->bhwc", frequencies, places) + phases))
    return x.astype(np.float32)


def photo(height: int, width: int, seed: int) -> Array:
    """A made-up photograph, smooth blobs of colour with texture: [height, width, 3], whole 255ths from 0 to 1."""
    rng = np.random.default_rng([seed, height, width])
    rows, columns = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    image = np.full((height, width, 3), 0.45)
    for _ in range(12):
        row, column = rng.uniform(0, 1, 2)
        radius = rng.uniform(0.05, 0.4)
        blob = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))
        image += blob[..., None] * rng.uniform(-0.5, 0.5, 3)
    for _ in range(6):
        frequency = rng.uniform(-60, 60, 2)
        wave = np.sin(2 * np.pi * (rows * frequency[0] + columns * frequency[1]) + rng.uniform(0, 2 * np.pi))
        image += wave[..., None] * rng.uniform(0, 0.04, 3)
    image += rng.normal(0, 0.02, image.shape)
    return (np.rint(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)


def photos(count: int, side: int, seed: int) -> Array:
    """A batch of made-up photographs, NHWC, scaled to [-1, 1]."""
    return np.stack([photo(side, side, seed + index) for index in range(count)]) * np.float32(2) - np.float32(1)

"""Initial values, drawn from the original's distributions; they depend on the seed and the parameter's name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from resnet_compile.plan.parameters import Constant, Normal, Parameter, TruncatedNormal, Uniform
from resnet_compile.weights.tensor import Bound, ParameterTensor

# Values drawn at a time: small enough that drawing, comparing and redrawing stay in the cache.
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class InitialTensor(ParameterTensor):
    """The initial values of a parameter.

    Every parameter has its own generator (SFC64, seeded with a SHA-256 of seed and name), so its values do not depend
    on the order of drawing, the number of threads or the rest of the network. A generator's stream is the same within a
    version of numpy, not across versions.
    """

    seed: int

    def array(self) -> NDArray[Any]:
        match self.parameter.initial:
            case Constant(value):
                return np.full(self.shape, value, np.float32)
            case TruncatedNormal(stddev):
                values = _truncated_normal(self._generator(), self.parameter.size, stddev)
                return values.reshape(self.shape)
            case Normal(stddev):
                values = self._generator().standard_normal(self.shape, np.float32)
                return np.multiply(values, np.float32(stddev), out=values)
            case Uniform(limit):
                values = self._generator().random(self.shape, np.float32)
                values -= np.float32(0.5)
                return np.multiply(values, np.float32(2 * limit), out=values)
            case _:
                assert_never(self.parameter.initial)

    def _generator(self) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed}\0{self.parameter.name}".encode()).digest()
        return np.random.Generator(np.random.SFC64(np.frombuffer(digest, "<u4")))


def bind_initial(parameters: Iterable[Parameter], seed: int) -> Bound:
    """Every parameter with the original's initial values."""
    return Bound({parameter.name: InitialTensor(parameter, seed) for parameter in parameters})


def _truncated_normal(generator: np.random.Generator, size: int, stddev: float) -> NDArray[np.float32]:
    """Normal values of the given deviation; values beyond two deviations are drawn again until none is left."""
    values = np.empty(size, np.float32)
    for start in range(0, size, _CHUNK):
        chunk = values[start : start + _CHUNK]
        generator.standard_normal(out=chunk, dtype=np.float32)
        beyond = np.flatnonzero(np.abs(chunk) > 2)
        while beyond.size:
            again = generator.standard_normal(beyond.size, dtype=np.float32)
            chunk[beyond] = again
            beyond = beyond[np.abs(again) > 2]
        chunk *= np.float32(stddev)
    return values

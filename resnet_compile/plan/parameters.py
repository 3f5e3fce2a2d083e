"""Parameters: the names, shapes and initial distributions of a network's weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Role = Literal["weights", "biases", "gamma", "beta", "moving_mean", "moving_variance"]


@dataclass(frozen=True, slots=True)
class Constant:
    """Every element is `value`."""

    value: float


@dataclass(frozen=True, slots=True)
class TruncatedNormal:
    """A normal distribution of mean 0 and the given standard deviation, redrawn outside two standard deviations."""

    stddev: float


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution of mean 0 and the given standard deviation."""

    stddev: float


@dataclass(frozen=True, slots=True)
class Uniform:
    """A uniform distribution from -limit to limit."""

    limit: float


Initial = Constant | TruncatedNormal | Normal | Uniform


@dataclass(frozen=True, slots=True)
class Parameter:
    """One named tensor of a network.

    Attributes:
        name: The name in the model and, for TF-slim networks, in the original's checkpoints.
        shape: OIHW for convolution weights, OI for dense ones, else one axis of channels.
        role: The tensor's role in its layer.
        initial: The distribution of its initial values in the original.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    initial: Initial

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def trainable(self) -> bool:
        """Whether gradients change it. Moving statistics follow the batches instead."""
        return self.role not in ("moving_mean", "moving_variance")

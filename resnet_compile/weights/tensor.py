"""The base class of parameter values, and all values of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.plan.parameters import Parameter


@dataclass(frozen=True, slots=True)
class ParameterTensor(ABC):
    """The float32 values of one parameter, computed on demand; thread-safe."""

    parameter: Parameter
    dtype: ClassVar[Literal["float32"]] = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parameter.shape

    @abstractmethod
    def array(self) -> NDArray[Any]:
        """The values; raises `WeightsError` if one is not finite or the source is damaged."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The values of all parameters of a network.

    Attributes:
        tensors: The values by parameter name.
        facts: Fields of `Metadata` about the source.
        notes: Sentences for the user: guesses, and tensors that were left out.
    """

    tensors: Mapping[str, ParameterTensor]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def finite(values: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """Values as a float32 array of a parameter's shape; raises `WeightsError` if one is not finite in float32."""
    with np.errstate(over="ignore"):  # the error below names the tensor that overflows
        array = np.ascontiguousarray(values, np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise WeightsError("has values that are not finite float32 numbers", where=where)
    return array

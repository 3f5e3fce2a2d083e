"""The base of all sources of a parameter's values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.plan.parameters import Parameter


@dataclass(frozen=True, slots=True)
class ParameterTensor(ABC):
    """The lazily made float32 values of one parameter; thread-safe.

    Attributes:
        parameter: The parameter.
    """

    parameter: Parameter
    dtype: ClassVar[Literal["float32"]] = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parameter.shape

    @abstractmethod
    def array(self) -> NDArray[Any]:
        """The values; raises `WeightsError` if one is not finite or the source is damaged."""


def finite(values: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """Values as a float32 array of a parameter's shape.

    Raises:
        WeightsError: A value is not finite, or not finite in float32.
    """
    with np.errstate(over="ignore"):  # what overflows is told below, by name
        array = np.ascontiguousarray(values, np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise WeightsError("has values that are not finite float32 numbers", where=where)
    return array

"""What every source of a parameter's values shares."""

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
    """The values of one parameter, float32, made when they are asked for; asking from several threads is safe.

    Attributes:
        parameter: What is filled.
    """

    parameter: Parameter
    dtype: ClassVar[Literal["float32"]] = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's."""
        return self.parameter.shape

    @abstractmethod
    def array(self) -> NDArray[Any]:
        """The values; `WeightsError` where one is not a finite number or the source is damaged."""


def finite(values: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """Somebody's values as a float32 array of a parameter's shape.

    Raises:
        WeightsError: One of them is not a finite number, or is none in float32.
    """
    with np.errstate(over="ignore"):  # what overflows is told below, by name
        array = np.ascontiguousarray(values, np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise WeightsError("has values that are not finite float32 numbers", where=where)
    return array

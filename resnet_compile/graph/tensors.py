"""Contents of initializers: constants, unbound, cached, or derived from others on demand.

A derived tensor is computed in float64 and rounded to float32 once, even if several passes contribute to it: `exact`
gives the values before rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import GraphError, WeightsError
from resnet_compile.graph.ir import DType, Tensor, Value

Vector: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConstantTensor:
    """Constant contents."""

    values: NDArray[Any]

    @property
    def dtype(self) -> DType:
        return self.values.dtype.name  # type: ignore[return-value]  # numpy types the name as str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def array(self) -> NDArray[Any]:
        return np.ascontiguousarray(self.values).reshape(self.shape)  # numpy makes a scalar one axis


@dataclass(frozen=True, slots=True)
class Unbound:
    """The contents of a parameter before binding; `bound` replaces them."""

    dtype: DType
    shape: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """Always raises `GraphError`."""
        raise GraphError("an initializer without contents")


class Kept:
    """A tensor that is computed once and cached.

    Args:
        source: The tensor to cache.
    """

    def __init__(self, source: Tensor) -> None:
        self.dtype, self.shape = source.dtype, source.shape
        self._source = source
        self._lock = threading.Lock()
        self._values: NDArray[Any] | None = None

    def array(self) -> NDArray[Any]:
        with self._lock:
            if self._values is None:
                self._values = self._source.array()
            return self._values


@dataclass(frozen=True, slots=True)
class VectorTensor:
    """One value for each channel, computed from other tensors on demand.

    Attributes:
        name: The initializer's name, for errors.
        shape: Its shape, with one axis for channels.
        compute: A function that returns the values in float64.
    """

    name: str
    shape: tuple[int, ...]
    compute: Callable[[], Vector]
    dtype: ClassVar[Literal["float32"]] = "float32"

    def exact(self) -> Vector:
        """The values before they are rounded."""
        with np.errstate(all="ignore"):
            return self.compute().reshape(self.shape)

    def array(self) -> NDArray[np.float32]:
        """The values.

        Raises:
            WeightsError: One of them is not a finite float32 number.
        """
        with np.errstate(all="ignore"):
            return require_finite(self.exact().astype(np.float32), self.name)


@dataclass(frozen=True, slots=True)
class ScaledTensor:
    """Weights with one axis scaled, computed on demand.

    Attributes:
        name: The initializer's name, for errors.
        source: The weights, OIHW or OI.
        axis: The scaled axis: 0 for output channels, 1 for input channels.
        scale: A function that returns the factors, one for each index of the axis.
    """

    name: str
    source: Tensor
    axis: int
    scale: Callable[[], Vector]
    dtype: ClassVar[Literal["float32"]] = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def exact(self) -> Vector:
        """The values before they are rounded."""
        with np.errstate(all="ignore"):
            return exact(self.source) * self._factors()

    def array(self) -> NDArray[np.float32]:
        """The values.

        Raises:
            WeightsError: One of them is not a finite float32 number.
        """
        stored = self.source.exact() if isinstance(self.source, ScaledTensor) else self.source.array()
        values = np.empty(self.shape, np.float32)
        with np.errstate(all="ignore"):
            # Products are float64; numpy rounds them piece by piece, so no float64 copy of float32 weights is made.
            np.multiply(stored, self._factors(), out=values, casting="same_kind")
        return require_finite(values, self.name)

    def _factors(self) -> Vector:
        places = [1] * len(self.shape)
        places[self.axis] = -1
        return self.scale().reshape(places)


def exact(contents: Tensor | Value) -> Vector:
    """The values in float64; those of a derived tensor are not rounded to float32 first."""
    tensor = contents.tensor if isinstance(contents, Value) else contents
    values = tensor.exact() if isinstance(tensor, VectorTensor | ScaledTensor) else tensor.array()
    return values.astype(np.float64, copy=False)


def require_finite(values: NDArray[Any], name: str) -> NDArray[Any]:
    """The values themselves.

    Raises:
        WeightsError: One of them is not a finite number.
    """
    if not np.isfinite(values).all():
        raise WeightsError("has values that are not finite float32 numbers", where=name)
    return values

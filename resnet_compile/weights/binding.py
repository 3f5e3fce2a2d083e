"""Binding: every parameter of a network gets its values, from a mapping or from the seed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.errors import WeightsError
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.initial import InitialTensor


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """A parameter whose values somebody gave, float32; checked for what no network computes with."""

    parameter: Parameter
    values: ArrayLike

    @property
    def dtype(self) -> Literal["float32"]:
        """float32."""
        return "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's."""
        return self.parameter.shape

    def array(self) -> NDArray[Any]:
        """The values.

        Raises:
            WeightsError: One of them is not a finite number.
        """
        values = np.ascontiguousarray(self.values, np.float32)
        if not np.isfinite(values).all():
            raise WeightsError("has values that are not finite numbers", where=self.parameter.name)
        return values


def initial_weights(parameters: Iterable[Parameter], seed: int) -> dict[str, InitialTensor]:
    """Every parameter as the original starts its training, by name."""
    return {parameter.name: InitialTensor(parameter, seed) for parameter in parameters}


def bind(parameters: Iterable[Parameter], weights: Mapping[str, ArrayLike]) -> dict[str, GivenTensor]:
    """Every parameter with its values from a mapping, by name.

    Args:
        parameters: What has to be filled.
        weights: Arrays under the parameters' names, in the model's own layouts (convolution weights OIHW).

    Raises:
        WeightsError: A parameter is missing, an array has another shape or is not of numbers, or a name is no
            parameter's; all faults stand in one message, `where` names the first.
    """
    expected = {parameter.name: parameter for parameter in parameters}
    faults = [(name, _missing(name, weights)) for name in expected if name not in weights]
    faults += [(name, "is no parameter of this network") for name in weights if name not in expected]
    bound = {}
    for name, parameter in expected.items():
        if name in weights:
            values = np.asarray(weights[name])
            if values.dtype.kind not in "fiu" and values.dtype.name != "bfloat16":
                faults.append((name, f"holds {values.dtype}, not numbers"))
            elif values.shape != parameter.shape:
                faults.append((name, f"has shape {list(values.shape)}, not {list(parameter.shape)}"))
            bound[name] = GivenTensor(parameter, values)
    if faults:
        raise WeightsError(_summary(faults), where=faults[0][0])
    return bound


def _missing(name: str, weights: Mapping[str, ArrayLike]) -> str:
    near = difflib.get_close_matches(name, weights, n=1)
    return f"is missing (there is {near[0]})" if near else "is missing"


def _summary(faults: list[tuple[str, str]]) -> str:
    shown = "; ".join(f"{name} {fault}" for name, fault in faults[:5])
    return shown if len(faults) <= 5 else f"{shown}; and {len(faults) - 5} more"

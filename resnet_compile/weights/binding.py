"""Binding: every parameter of a network gets its values, from a mapping, a checkpoint or the seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.initial import InitialTensor
from resnet_compile.weights.matching import Match, fits, match
from resnet_compile.weights.tensor import ParameterTensor, finite

if TYPE_CHECKING:
    from resnet_compile.weights.structure import ComputedTensor

STRUCTURE = "structure"


@dataclass(frozen=True, slots=True)
class StoredTensor(ParameterTensor):
    """A parameter filled from a source: read, checked, laid out as ours and converted to float32.

    Attributes:
        source: Where from.
        name: The source's name for it.
        axes: The order in which to take the source's axes.
    """

    source: Mapping[str, ArrayLike]
    name: str
    axes: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """The values; `WeightsError` where one is not a finite number or the source is damaged."""
        return finite(np.asarray(self.source[self.name]).transpose(self.axes), self.shape, self.name)


@dataclass(frozen=True, slots=True)
class Bound:
    """A network's parameters with their values.

    Attributes:
        tensors: By parameter name.
        naming: The table by which a source's names were read; None for initial values.
    """

    tensors: Mapping[str, InitialTensor | StoredTensor | ComputedTensor]
    naming: str | None = None


def bind_initial(parameters: Iterable[Parameter], seed: int) -> Bound:
    """Every parameter as the original starts its training."""
    return Bound({parameter.name: InitialTensor(parameter, seed) for parameter in parameters})


def bind(plan: Plan, source: Mapping[str, ArrayLike], naming: str | None = None) -> Bound:
    """Every parameter with its values from a checkpoint or a mapping.

    Args:
        plan: The network.
        source: A checkpoint, or arrays by name.
        naming: The naming table; None finds it, and matches an ONNX model by its structure where no table fits its
            names. `native` is our own names and layouts, convolution weights OIHW; `structure` is no table, but asks
            for that match.

    Raises:
        WeightsError: The source does not fill the network, all faults in one message; or it holds no numbers.
        OptionError: There is no table of that name.
    """
    if isinstance(source, Checkpoint):
        # Deferred: initial weights and mappings need no reader.
        from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
        from resnet_compile.weights.structure import match_structure

        if isinstance(source, OnnxCheckpoint) and _by_structure(plan, source, naming):
            return Bound(match_structure(plan, source), STRUCTURE)
    found = match(plan.name, plan.parameters, _shapes(source), naming)
    _require_numbers(found, source)
    tensors = {
        parameter.name: StoredTensor(parameter, source, theirs, _axes(found, parameter, source, theirs))
        for parameter in plan.parameters
        if (theirs := found.names[parameter.name])
    }
    return Bound(tensors, found.naming.name)


def _by_structure(plan: Plan, source: Checkpoint, naming: str | None) -> bool:
    """Whether to go by structure: where that is asked for, or no table knows the names."""
    return naming == STRUCTURE or (naming is None and fits(plan.name, plan.parameters, _shapes(source)) is None)


def _shapes(source: Mapping[str, ArrayLike]) -> dict[str, tuple[int, ...]]:
    if isinstance(source, Checkpoint):
        return {name: source.info(name).shape for name in source}
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise WeightsError(f"must be a checkpoint's path, or arrays by name, not {type(source).__name__}")
    return {name: _shape(name, values) for name, values in source.items()}


def _shape(name: str, values: ArrayLike) -> tuple[int, ...]:
    try:
        return np.shape(values)
    except ValueError:
        raise WeightsError("is no array: its rows differ in length", where=name) from None


def _dtype(source: Mapping[str, ArrayLike], name: str) -> str:
    return source.info(name).dtype if isinstance(source, Checkpoint) else np.asarray(source[name]).dtype.name


def _require_numbers(found: Match, source: Mapping[str, ArrayLike]) -> None:
    for name in found.names.values():
        dtype = _dtype(source, name)
        if not dtype.startswith(("float", "bfloat", "int", "uint")):
            raise WeightsError(f"holds {dtype}, not numbers", where=name)


def _axes(found: Match, parameter: Parameter, source: Mapping[str, ArrayLike], name: str) -> tuple[int, ...]:
    rank = len(source.info(name).shape if isinstance(source, Checkpoint) else np.shape(source[name]))
    return found.naming.axes(rank) if parameter.role == "weights" else tuple(range(rank))

"""The tensors of a source of weights, by plain names: those of the bare network.

PyTorch's wrappers (`DataParallel`, `torch.compile`, FSDP, activation checkpointing) add a component to names; plain
names leave it out. A weight that is stored as factors is their product:

* weight norm (torch.nn.utils.weight_norm, and its parametrization): g v / |v|, the norm over the axes where g has 1;
* spectral norm: W / (u^T W v), W as a matrix with a row for each entry of its first axis;
* pruning: W times its mask.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.checkpoints.base import AVERAGE, Checkpoint
from resnet_compile.errors import WeightsError

_COMPONENTS = 16  # twice as many as the longest name of a table has

_UNREAD = "unread"
_INTEGERS = frozenset({"int32", "int64"})
_WRAPPERS = re.compile(r"(?<![^./])(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_LORA = re.compile(r"(^|[./])lora_[A-Za-z_]+([./]|$)")


def is_within(name: str, scope: str) -> bool:
    """Whether a name of a source is the scope, or below it after a dot or a slash."""
    scope = scope.rstrip("./")
    return name == scope or name.startswith((f"{scope}.", f"{scope}/"))


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """One tensor of a source, or one computed from several.

    Attributes:
        shape: As the source lays it out.
        dtype: numpy's name of the type; `unread` if reading raises an error that says what to do.
        names: The source's own names of the tensor, or of its factors.
        read: Reads the values.
        place: Equal for tensors that share their values in the file; None if unknown.
    """

    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...]
    read: Callable[[], NDArray[Any]]
    place: object = None

    @property
    def is_numeric(self) -> bool:
        return self.dtype.startswith(("float", "bfloat", "int", "uint"))


class Tensors(dict[str, SourceTensor]):
    """The tensors of a source by their plain names."""

    @cached_property
    def prefixes(self) -> Mapping[str, Sequence[str]]:
        """The text before each ending of a name that starts at a component, by ending."""
        found: dict[str, list[str]] = {}
        for name in self:
            starts = [0, *(at + 1 for at, char in enumerate(name) if char in "./")]
            for start in starts[-_COMPONENTS:]:
                found.setdefault(name[start:], []).append(name[:start])
        return found


def tensors_of(source: Mapping[str, ArrayLike]) -> Tensors:
    """The tensors of a checkpoint or mapping by plain names, factors multiplied.

    Raises:
        WeightsError: It is no mapping from names to arrays, or has adapters that change weights when the network runs.
    """
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise WeightsError(f"weights must be a checkpoint's path or arrays by name, got {type(source).__name__}")
    names = _names(source) if isinstance(source, Checkpoint) else [*source]
    if found := next(filter(_LORA.search, names), None):
        raise WeightsError(
            "a LoRA adapter is not merged into the weights", where=found, hint="save model.merge_and_unload()"
        )
    plain = {name: _WRAPPERS.sub("", name) for name in names}
    counts = Counter(plain.values())
    # Two names that differ in a wrapper alone keep it: a model and its average.
    tensors = {plain[name] if counts[plain[name]] == 1 else name: _tensor(source, name) for name in names}
    return Tensors(_multiplied(tensors))


def _names(source: Checkpoint) -> list[str]:
    """The names of tensors that could be weights: not the integers of a graph, which are shapes and axes."""
    if not source.is_graph:
        return [*source, *source.unread]
    return [*(name for name in source if source.info(name).dtype not in _INTEGERS), *source.unread]


def averaged(tensors: Tensors) -> Tensors:
    """The tensors, TensorFlow's moving averages in place of their variables."""
    averages = {name.removesuffix(AVERAGE): tensor for name, tensor in tensors.items() if name.endswith(AVERAGE)}
    return Tensors({**{name: tensor for name, tensor in tensors.items() if not name.endswith(AVERAGE)}, **averages})


def _tensor(source: Mapping[str, ArrayLike], name: str) -> SourceTensor:
    def read() -> NDArray[Any]:
        return np.asarray(source[name])

    if isinstance(source, Checkpoint):
        if unread := source.unread.get(name):
            return SourceTensor(unread.shape, _UNREAD, (name,), read)
        info = source.info(name)
        return SourceTensor(info.shape, info.dtype, (name,), read, info.place)
    try:
        values = read()
    except ValueError:
        raise WeightsError("is not an array: its rows differ in length", where=name) from None
    return SourceTensor(values.shape, values.dtype.name, (name,), read)


def _multiplied(tensors: Mapping[str, SourceTensor]) -> Mapping[str, SourceTensor]:
    """The tensors, each weight in place of its factors."""
    made = dict(tensors)
    for suffixes, combine in _FACTORS:
        for name in tensors:
            if not name.endswith(suffixes[0]):
                continue
            stem = name.removesuffix(suffixes[0])
            parts = [made.get(stem + suffix) for suffix in suffixes]
            if f"{stem}.weight" in made or None in parts:
                continue
            factors = [part for part in parts if part]
            names = tuple(each for part in factors for each in part.names)
            values = partial(_combined, combine, factors)
            for suffix in suffixes:
                del made[stem + suffix]
            whole = max(factors, key=lambda part: len(part.shape) * 2**40 + int(np.prod(part.shape)))
            made[f"{stem}.weight"] = SourceTensor(whole.shape, whole.dtype, names, values)
    return made


def _combined(combine: Callable[..., NDArray[Any]], factors: list[SourceTensor]) -> NDArray[Any]:
    return combine(*(factor.read().astype(np.float64) for factor in factors))


def _weight_norm(g: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    axes = tuple(axis for axis in range(v.ndim) if g.ndim != v.ndim or g.shape[axis] == 1)
    return np.asarray(g * v / np.sqrt(np.square(v).sum(axis=axes, keepdims=True)))


def _spectral_norm(weight: NDArray[Any], u: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(weight / (u @ weight.reshape(len(weight), -1) @ v))


def _pruned(weight: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(weight * mask)


_KEPT = ".parametrizations.weight"
_FACTORS: tuple[tuple[tuple[str, ...], Callable[..., NDArray[Any]]], ...] = (
    ((".weight_g", ".weight_v"), _weight_norm),
    ((f"{_KEPT}.original0", f"{_KEPT}.original1"), _weight_norm),
    ((".weight_orig", ".weight_u", ".weight_v"), _spectral_norm),
    ((f"{_KEPT}.original", f"{_KEPT}.0._u", f"{_KEPT}.0._v"), _spectral_norm),
    ((".weight_orig", ".weight_mask"), _pruned),
)
"""The endings of the factors' names, and the function that makes a weight of them."""

"""The names of a frozen graph's variables where it has lost them, by what the graph does with their values.

TensorFlow 2 reads a variable by an operator of its own, and `convert_variables_to_constants_v2` calls the constant by
that: ``conv1_conv/Conv2D/ReadVariableOp/resource`` was ``conv1_conv/kernel``. A layer's operators stand in its scope,
so that the scope of the operator and the place among its inputs tell the variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_READ = re.compile(r"(?:^|/)ReadVariableOp(?:_\d+)?(?:/resource)?$")
_SCOPE = re.compile(r"(?P<scope>.*)/[^/]+")
_NORM = {1: "gamma", 2: "beta", 3: "moving_mean", 4: "moving_variance"}
_INPUTS: Mapping[str, Mapping[int, str]] = {
    "Conv2D": {1: "kernel"},
    "MatMul": {1: "kernel"},
    "BiasAdd": {1: "bias"},
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _NORM),
}
USES = frozenset(_INPUTS)
"""The operators by which variables are known."""

_SLIM = {"kernel": "weights", "bias": "biases"}  # what TF-slim's layers call theirs
_SLIM_SCOPE = "BatchNorm"  # which no other system calls its norms


class Use(NamedTuple):
    """A node of one of the operators in `USES`: its name, the operator, and the names of what it reads."""

    name: str
    operator: str
    inputs: tuple[str, ...]


def is_read(name: str) -> bool:
    """Whether a node is called by how a variable is read."""
    return bool(_READ.search(name))


def variable_names(uses: Iterable[Use], reads: Mapping[str, str]) -> dict[str, str]:
    """Names for constants that are called by how they are read, by their node's names.

    Args:
        uses: The nodes that tell.
        reads: What each `Identity` reads.
    """
    found: dict[str, tuple[str, str]] = {}
    for use in uses:
        scope = _SCOPE.fullmatch(use.name)
        for position, word in _INPUTS[use.operator].items():
            constant = use.inputs[position] if position < len(use.inputs) else ""
            constant = reads.get(constant, constant)
            if scope and is_read(constant):
                found.setdefault(constant, (scope["scope"], word))
    is_slim = any(scope.rpartition("/")[2] == _SLIM_SCOPE for scope, _ in found.values())
    names = {
        constant: f"{scope}/{_SLIM.get(word, word) if is_slim else word}" for constant, (scope, word) in found.items()
    }
    taken: dict[str, int] = {}
    for name in names.values():
        taken[name] = taken.get(name, 0) + 1
    return {constant: name for constant, name in names.items() if taken[name] == 1}

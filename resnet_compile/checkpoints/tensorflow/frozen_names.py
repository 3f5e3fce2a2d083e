"""The lost names of a frozen graph's variables, recovered from the operators that use their values.

TensorFlow 2 reads a variable with a `ReadVariableOp`, and `convert_variables_to_constants_v2` names the constant after
that: ``conv1_conv/Conv2D/ReadVariableOp/resource`` was ``conv1_conv/kernel``. A layer's operators are in its scope, so
the operator's scope and the position among its inputs identify the variable.
"""

from __future__ import annotations

import re
from collections import Counter
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
"""The operators that identify variables."""

_SLIM = {"kernel": "weights", "bias": "biases"}  # the names in TF-slim's layers
_SLIM_SCOPE = "BatchNorm"  # the scope of TF-slim's norms, and of no other system's


class Use(NamedTuple):
    """A node with an operator of `USES`: its name, the operator, and the names of its inputs."""

    name: str
    operator: str
    inputs: tuple[str, ...]


def is_read(name: str) -> bool:
    return bool(_READ.search(name))


def variable_names(uses: Iterable[Use], reads: Mapping[str, str]) -> dict[str, str]:
    """The variables' names for constants with the name of a read, by that name; `reads` has each `Identity`'s input."""
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
    taken = Counter(names.values())
    return {constant: name for constant, name in names.items() if taken[name] == 1}

"""Equal constants merged into one.

Two Constant nodes with equal attributes have the same value, and so do two constant initializers with the same type and
bytes, such as the ones for a missing gamma, or amounts of channel padding. Bytes are compared, so 0.0 and -0.0 stay
distinct. Parameters are not compared, since their values are made when they are written.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from resnet_compile.graph import ConstantTensor, Graph, Value, made_by, rewrite
from resnet_compile.passes.base import PassResult


def share_constants(graph: Graph) -> PassResult:
    """Replaces each constant by the first that is equal to it."""
    first: dict[Hashable, Value] = {}
    done = 0

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        nonlocal done
        key = _contents(value)
        if key is None or (kept := first.setdefault(key, value)) is value:
            return None
        done += 1
        return kept

    return PassResult(rewrite(graph, rule), done)


def _contents(value: Value) -> Hashable:
    """The key by which constants are equal; None for anything else."""
    if made := made_by(value, "Constant"):
        return made.attributes.integers("value_ints")
    tensor = value.contents
    return (value.type, tensor.values.tobytes()) if isinstance(tensor, ConstantTensor) else None

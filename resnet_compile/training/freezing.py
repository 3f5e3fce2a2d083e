"""Which variables a training leaves as they are."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from resnet_compile.errors import OptionError
from resnet_compile.plan import Plan


def frozen_parameters(plan: Plan, scopes: Sequence[str]) -> frozenset[str]:
    """The names of the parameters within scopes: moving statistics among them, so that a norm is frozen whole.

    Args:
        plan: The network.
        scopes: Of layers, units or blocks, with or without the network's name.

    Raises:
        OptionError: There is no such scope, or nothing is left to train.
    """
    known = dict.fromkeys(scope for parameter in plan.parameters for scope in _scopes(parameter.name, plan.name))
    frozen: set[str] = set()
    for index, scope in enumerate(scopes):
        short = scope.removeprefix(f"{plan.name}/").rstrip("/")
        if short not in known:
            near = difflib.get_close_matches(short, known, n=1) or [each for each in known if "/" not in each]
            hint = f"there is {', '.join(near)}"
            raise OptionError(f"the network has no scope {scope!r}", where=f"$.freeze[{index}]", hint=hint)
        frozen |= {p.name for p in plan.parameters if p.name.startswith(f"{plan.name}/{short}/")}
    if all(parameter.name in frozen for parameter in plan.parameters if parameter.trainable):
        raise OptionError("everything is frozen, and nothing is left to train", where="$.freeze")
    return frozenset(frozen)


def _scopes(name: str, network: str) -> Iterator[str]:
    """All scopes that a parameter lies in, the widest first."""
    *parts, _ = name.removeprefix(f"{network}/").split("/")
    return ("/".join(parts[: length + 1]) for length in range(len(parts)))

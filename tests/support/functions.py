"""What plans compute, whatever their layers are called."""

import dataclasses
from dataclasses import replace
from typing import Any

from resnet_compile.plan import Plan
from resnet_compile.plan.layers import Conv
from resnet_compile.plan.parameters import Parameter

# Of names, of first weights, and of what other sizes would change.
_NO_FUNCTION = {"scope", "initializer"}


def function(planned: Plan, *, folded: bool = False, rules: bool = True) -> Any:
    """All that a plan resolves, without names and blocks.

    Args:
        planned: The plan.
        folded: Whether to leave out what folding norms into convolutions leaves no trace of.
        rules: Whether to tell apart paddings that are alike at this size alone, and units whose rate no layer has.
    """
    left = _NO_FUNCTION | (set() if rules else {"rule"})
    units = tuple(unit if rules else replace(unit, rate=1) for unit in planned.units)
    return _stripped((planned.root, units, planned.head), left, folded=folded)


def _stripped(value: Any, left: set[str], *, folded: bool) -> Any:
    if isinstance(value, Parameter):
        return value.role, value.shape
    if isinstance(value, tuple):
        return tuple(_stripped(each, left, folded=folded) for each in value)
    if not dataclasses.is_dataclass(value):
        return value
    fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.name not in left}
    if folded and isinstance(value, Conv):
        fields["biases"] = bool(fields["biases"] or fields.pop("norm"))
        fields.pop("norm", None)
    return type(value).__name__, *((name, _stripped(each, left, folded=folded)) for name, each in fields.items())

"""Newer forms of nodes rewritten for an older opset, with the same numbers.

- A list of integers as a Constant's attribute (from opset 12) becomes an initializer.
- A sum's axes as an input (13) become its attribute.
- Softmax and LogSoftmax over one axis (13) get that axis moved to the end and back: older ones are over an axis and all
  axes after it.
- A part of a Shape (15) becomes a Slice of the whole.

The rest, such as a scale for each channel (13) or Resize's antialias (18), has no older form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from resnet_compile.errors import OptionError
from resnet_compile.graph import (
    ConstantTensor,
    Graph,
    Value,
    apply,
    initializer,
    latest_form,
    newer_forms,
    rewrite,
)
from resnet_compile.graph.shape_rules import list_of


def in_older_forms(graph: Graph, opset: int) -> Graph:
    """The graph in forms of an opset; the graph itself if the opset has all its forms.

    Raises:
        OptionError: A form has no older one.
    """
    if latest_form(graph).since <= opset:
        return graph

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value.node is None or all(since <= opset for since, _ in newer_forms(value.node)):
            return None
        form = _OLDER.get(value.node.operator)
        return form(value, sources[0] if sources else None) if form else None

    older = rewrite(graph, rule)
    if (needed := latest_form(older)).since > opset:
        fault = f"opset {opset} cannot express {needed.where!r}, a {needed.words}"
        raise OptionError(fault, where="opset", hint=f"opset {needed.since} can")
    return older


def _listed(name: str, numbers: Sequence[int]) -> Value:
    return initializer(name, ConstantTensor(np.array(numbers, np.int64)))


def _constant(value: Value, _: Value | None) -> Value:
    return _listed(value.name, value.maker.attributes.integers("value_ints"))


def _sum(value: Value, x: Value | None) -> Value:
    keepdims = value.maker.attributes.integer("keepdims")
    return apply("ReduceSum", x, name=value.name, axes=list_of(value.maker, 1), keepdims=keepdims)


def _softmax(value: Value, x: Value | None) -> Value:
    rank, axis = len(value.shape), value.maker.attributes.integer("axis") % len(value.shape)
    order = [*(each for each in range(rank) if each != axis), axis]
    moved = apply("Transpose", x, name=f"{value.name}/last", perm=tuple(order))
    made = apply(value.maker.operator, moved, name=f"{value.name}/{value.maker.operator}", axis=rank - 1)
    return apply("Transpose", made, name=value.name, perm=tuple(map(order.index, range(rank))))


def _shape(value: Value, x: Value | None) -> Value:
    start = value.maker.attributes.integer("start")
    whole = apply("Shape", x, name=f"{value.name}/Shape")
    bounds = {"start": start, "end": start + value.static_shape[0], "axis": 0, "step": 1}
    lists = (_listed(f"{value.name}/{role}", (number,)) for role, number in bounds.items())
    return apply("Slice", whole, *lists, name=value.name)


_OLDER: Mapping[str, Callable[[Value, Value | None], Value]] = {
    "Constant": _constant,
    "LogSoftmax": _softmax,
    "ReduceSum": _sum,
    "Shape": _shape,
    "Softmax": _softmax,
}

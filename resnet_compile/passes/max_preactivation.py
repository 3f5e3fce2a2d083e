"""Batch normalisation and ReLU before convolutions, as one maximum or minimum.

    relu(a x + b) = a max(x, -b/a) + b  for a > 0,
                    a min(x, -b/a) + b  for a < 0,
                    relu(b)             for a = 0.

With m the maximum or minimum, every unpadded convolution or dense layer that reads the result, directly or as a mean,
takes a and b into its own parameters::

    Conv(a m + b, W) + e = Conv(m, W a) + (e + W b)

For a = 0, W gets the factor 0 and the offset is relu(b). If |b/a| is above the largest float32, no input reaches the
threshold. The channel is then 0 everywhere (b < 0: as for a = 0) or linear everywhere (b > 0: the threshold is the
lowest float32).

A threshold with b < 0 is multiplied by W a and cancels against W b. In float16 W a has an absolute error of 2^-25, so
with |b/a| <= 2^10 the remainder is below 2^-15 for each channel; a unit with a smaller |a| stays as it is.

A unit with channels of both signs stays too: a Max and a Min would be as many operators as before. If b is large
against the activations, the two forms round differently; `cancellation` sets the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_compile.graph import Graph, Value, Vector, apply, made_by, rewrite
from resnet_compile.passes.base import PassResult
from resnet_compile.passes.batch_norm import Affine, affine
from resnet_compile.passes.cancellation import relu_moments
from resnet_compile.passes.edits import Edits, linear_readers

_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_CUT = 2.0**10


@dataclass(frozen=True, slots=True)
class _Form:
    """relu(a x + b) as scale * operator(x, threshold) + offset, channel by channel."""

    operator: str
    threshold: Vector
    scale: Vector
    offset: Vector


def max_preactivation(graph: Graph) -> PassResult:
    """Rewrites batch normalisation and ReLU where convolutions without padding read them."""
    read_by, outputs = graph.readers(), frozenset(graph.outputs)
    edits = Edits("preactivated")
    found: dict[Value, tuple[str, Value]] = {}
    refused = []
    for relu in graph.values():
        activation = made_by(relu, "Relu")
        normed = activation.input(0) if activation else None
        norm = made_by(normed, "BatchNormalization")
        if normed is None or norm is None or made_by(norm.input(0), "Conv"):
            continue  # `fold_batch_norm` folds it into the convolution
        if normed in outputs:
            refused.append(f"{relu.name}: {normed.name} is a requested output")
        elif len(read_by[normed]) > 1:
            refused.append(f"{relu.name}: {normed.name} has other readers")
        elif isinstance(consumers := linear_readers(relu, read_by, outputs), str):
            refused.append(f"{relu.name}: {consumers}")
        elif isinstance(form := _form(affine(norm), edits, consumers), str):
            refused.append(f"{relu.name}: {form}")
        else:
            shape = (1, form.threshold.size, 1, 1)
            found[relu] = (form.operator, edits.vector(f"{relu.name}/threshold", form.threshold, shape))

    def rule(value: Value, sources: Sequence[Value | None]) -> Value | None:
        if value in found:
            operator, threshold = found[value]
            x = sources[0].maker.input(0) if sources[0] else None
            return apply(operator, x, threshold, name=f"{value.name}/{operator}")
        return edits.rebuild(value, sources, value.name) if edits.edited(value) else None

    return PassResult(rewrite(graph, rule), len(found), tuple(refused))


def _form(values: Affine, edits: Edits, consumers: Mapping[Value, bool]) -> _Form | str:
    """Adds the edits of one place and returns its form, or returns the reason for a refusal."""
    if not values.finite:
        return "its scale or shift is not a finite number"
    form = _split(values)
    if isinstance(form, str):
        return form
    if reason := edits.absorb(consumers, form.offset, relu_moments(values.deviation, values.centre)):
        return reason
    edits.input_scales.update(dict.fromkeys(consumers, form.scale))
    return form


def _split(values: Affine) -> _Form | str:
    a, b = values.scale, values.shift
    with np.errstate(all="ignore"):
        threshold = -b / a
    beyond = ~(np.abs(threshold) <= _LARGEST)
    constant = (a == 0) | (beyond & (b < 0))
    if (a[~constant] > 0).any() and (a[~constant] < 0).any():
        return "channels of both signs would need a Max and a Min"
    if (np.abs(threshold[~constant & (b < 0)]) > _LARGEST_CUT).any():
        return f"a threshold is above {_LARGEST_CUT:g}"
    falling = bool((a[~constant] < 0).any())
    # No input passes a linear channel's threshold: the lowest float32 for Max, the largest for Min.
    linear = _LARGEST if falling else -_LARGEST
    return _Form(
        "Min" if falling else "Max",
        np.where(constant, 0.0, np.where(beyond, linear, threshold)),
        np.where(constant, 0.0, a),
        np.where(constant, np.maximum(b, 0), b),
    )

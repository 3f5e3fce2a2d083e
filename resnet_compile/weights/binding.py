"""Binding: from a mapping or a checkpoint to the values of a network's parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.checkpoints.base import QUANTISED, Checkpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan
from resnet_compile.plan.parameters import Parameter
from resnet_compile.weights.hub import check_config, contradiction
from resnet_compile.weights.matching import Choice, Match, fits, match
from resnet_compile.weights.naming import STRUCTURE
from resnet_compile.weights.sections import ROOT
from resnet_compile.weights.source import SourceTensor, Tensors, tensors_of
from resnet_compile.weights.tensor import Bound, ParameterTensor, finite

if TYPE_CHECKING:
    from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint

UNTOLD = "the names do not determine"
"""The start of a note on facts that only the spec has."""

# Types of quantised weights, which are meaningless without a scale.
_QUANTISED = frozenset({"int8", "uint8", "int4", "uint4"})


@dataclass(frozen=True, slots=True)
class StoredTensor(ParameterTensor):
    """A parameter from a source: read, its axes transposed, converted to float32 and checked."""

    source: SourceTensor
    axes: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """The values; `WeightsError` where one is not a finite number or the source is damaged."""
        return finite(self.source.read().transpose(self.axes), self.shape, self.source.names[0])


def bind(
    plan: Plan,
    source: Mapping[str, ArrayLike],
    *,
    naming: str | None = None,
    section: Sequence[str] = (),
    ignore: Sequence[str] = (),
    averages: bool = False,
    head: str | None = None,
) -> Bound:
    """The values of every parameter, from a checkpoint or a mapping. Binding finds the arguments that are left out.

    Args:
        plan: The network.
        source: A checkpoint, or arrays by name.
        naming: The naming table. `native` is this package's own names and layouts, convolution weights OIHW.
            `structure` matches an ONNX model by its structure, which is also the way if no table fits its names.
        section: The section with the network: keys or prefixes of names; several if the network is spread over them.
        ignore: Tensors to ignore: names, scopes or patterns such as `*.total_ops`.
        averages: Whether to take the moving averages of the weights, if there are any.
        head: The scope of the logits; None for the table's.

    Raises:
        WeightsError: The source does not fill the network (the message lists all faults), a tensor has no numbers, or
            the source's configuration names another network.
        OptionError: There is no table of that name.
    """
    choice = Choice(naming, tuple(section), tuple(ignore), averages, head)
    tensors = tensors_of(source)
    configured = not isinstance(source, Checkpoint) or check_config(plan.spec, source)
    model = _model(source)
    if model and (naming == STRUCTURE or (naming is None and not fits(plan, tensors))):
        from resnet_compile.weights.structure import match_structure

        return Bound(match_structure(plan, model), {"weights_naming": STRUCTURE})
    found = _matched(plan, tensors, choice, source)
    filled = {parameter: found.tensors[found.names[parameter.name]] for parameter in plan.parameters}
    for tensor in filled.values():
        if not tensor.is_numeric:
            tensor.read()  # a reader that refuses it says what to do
            raise WeightsError(f"holds {tensor.dtype}, not numbers", where=tensor.names[0])
        if tensor.dtype in _QUANTISED:
            hint = "give the weights from before they were quantised"
            raise WeightsError(
                f"holds {tensor.dtype}, which means nothing without its scale", where=tensor.names[0], hint=hint
            )
    told = source.notes if isinstance(source, Checkpoint) else ()
    notes = found.notes
    if found.naming.untold and not configured:
        notes += (f"{UNTOLD} {found.naming.untold}: the spec does",)
    named = {p.name: StoredTensor(p, tensor, _axes(found, p, tensor)) for p, tensor in filled.items()}
    bound = Bound(named, _facts(found, choice), (*told, *notes))
    return _compared(plan, model, found, choice, bound) if model else bound


def _model(source: object) -> OnnxCheckpoint | None:
    """The source, if it is an ONNX model. What reads a structure is imported for these alone, here and below."""
    if not isinstance(source, Checkpoint) or not source.is_graph:
        return None
    from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint

    return source if isinstance(source, OnnxCheckpoint) else None


def _compared(plan: Plan, model: OnnxCheckpoint, found: Match, choice: Choice, named: Bound) -> Bound:
    """The parameters by the names of an ONNX graph, unless the graph computes with other tensors: then those.

    Raises:
        WeightsError: It computes something else with the weights, and the user did not choose a naming.
    """
    from resnet_compile.weights.structure import match_structure
    from resnet_compile.weights.structure.model import OtherFunctionError

    try:
        read = match_structure(plan, model)
    except WeightsError as error:
        if isinstance(error, OtherFunctionError) and choice.naming is None:
            hint = f"{error.hint}; or --naming {found.naming.name} to take the weights alone"
            raise WeightsError(error.message, where=error.where, hint=hint) from None
        note = f"the names fit, but the graph could not be shown to compute what the spec does: {error}"
        return replace(named, notes=(*named.notes, note))
    if choice.naming is not None:
        return named
    given = (name for name, tensor in read.items() if tensor.given)
    other = next((name for name in given if not np.array_equal(read[name].array(), named.tensors[name].array())), None)
    if other is None:
        return named
    note = (
        f"the graph uses another tensor for {other} than its name says: the graph's are taken "
        f"(--naming {found.naming.name} takes those of the names)"
    )
    return Bound(read, {"weights_naming": STRUCTURE}, (*named.notes, note))


def _matched(plan: Plan, tensors: Tensors, choice: Choice, source: Mapping[str, ArrayLike]) -> Match:
    """The match; its error adds the networks of the catalogue that fit, and the reader's notes."""
    try:
        return match(plan, tensors, choice)
    except WeightsError as error:
        told, unread = (source.notes, source.unread) if isinstance(source, Checkpoint) else ((), {})
        if quantised := next((name for name, each in unread.items() if each.kind == QUANTISED), None):
            _ = source[quantised]  # raises the reader's error, which says what to do
        # Deferred: the catalogue is looked through only for this message.
        from resnet_compile.weights.fitting import fitting_specs

        fitting = [str(fit) for fit in fitting_specs(tensors) if not contradiction(fit.name, source)]
        if not fitting and not told:
            raise
        fit = f"the weights fit {', '.join(fitting[:3])}" if fitting else None
        hint = "; ".join(filter(None, [error.hint, fit, *told]))
        raise WeightsError(error.message, where=error.where, hint=hint) from None


def _facts(found: Match, choice: Choice) -> dict[str, Any]:
    """Metadata about the match, defaults left out."""
    facts = {
        "weights_naming": found.naming.name,
        "weights_section": found.section.word if found.section.word != ROOT else None,
        "weights_head": found.head,
        "weights_averages": "true" if choice.averages or found.section.averages else None,
        "weights_ignored": choice.ignore or None,
        "normalization": json.dumps(found.others.normalization) if found.others.normalization else None,
        "weights_left": tuple(sorted(set(found.others.left.values()))) or None,
    }
    return {key: value for key, value in facts.items() if value}


def _axes(found: Match, parameter: Parameter, tensor: SourceTensor) -> tuple[int, ...]:
    rank = len(tensor.shape)
    return found.naming.axes(rank) if parameter.role == "weights" else tuple(range(rank))

"""The end of the walk: the network's result must be an output of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan
from resnet_compile.weights.structure.model import ATTRIBUTE, Counterpart, Place, Walk, Wanted, through
from resnet_compile.weights.structure.walk import places, takers

_OPERATORS = {"softmax": "Softmax", "sigmoid": "Sigmoid"}
# From this opset on a Softmax is over one axis; before, over that axis and all behind it.
_ONE_AXIS = 13


def require_end(model: Walk, plan: Plan, steps: Sequence[Counterpart]) -> Counterpart:
    """The step whose logits or predictions are an output of the model; without a head the last one.

    Raises:
        WeightsError: The model continues where the network ends.
    """
    logits = plan.head.logits
    if logits is None:
        _require_no_more_units(model, plan, steps[0])
        return steps[0]
    wanted = Wanted(logits.scope, "the end")
    for step in steps:
        for end in (step, *_predictions(model, plan, step, wanted)):
            if any(here.value in model.source.outputs and not here.border for here in places(model, end, wanted)):
                return end
    raise model.error(wanted)


def _predictions(model: Walk, plan: Plan, step: Counterpart, wanted: Wanted) -> Iterator[Counterpart]:
    kind = plan.head.predictions
    for node, here in takers(model, step, wanted, *_OPERATORS.values()):
        over = _softmax_axes(model, node, here)
        word = next(word for word, operator in _OPERATORS.items() if operator == node.operator)
        if word == kind and over == "C" and not here.border:
            yield step.on(through(here, node), node)
        elif over != "C":
            model.note(
                step, wanted, node, "is not over the classes", "export the model up to its logits", closeness=ATTRIBUTE
            )
        else:
            fault = f"makes predictions of the logits, the spec {f'a {kind}' if kind else 'none'}"
            model.note(step, wanted, node, fault, f'set $.head.predictions to "{word}"', closeness=ATTRIBUTE)


def _softmax_axes(model: Walk, node: OnnxNode, here: Place) -> str:
    """The axes of a Softmax, without axes of length 1."""
    if node.operator == "Sigmoid":
        return "C"
    newer, rank = model.source.opset >= _ONE_AXIS, len(here.axes)
    (axis,) = node.ints.get("axis", (-1 if newer else 1,))
    if not -rank <= axis < rank:
        return ""
    labels = here.axes[axis % rank] if newer else here.axes[axis % rank :]
    return labels.replace("1", "")


def _require_no_more_units(model: Walk, plan: Plan, step: Counterpart) -> None:
    """Without a head a network is the beginning of the model, as long as only a head follows.

    Raises:
        WeightsError: Another unit does.
    """
    ahead, seen = [step.place.value], {step.place.value}
    while ahead:
        for node in model.readers(ahead.pop()):
            if node.operator in ("Add", "Sum") and not any(map(model.is_constant, node.inputs)):
                raise WeightsError(
                    "the model has more units than the network",
                    where=plan.name,
                    hint=f"{node} is another sum of two maps: see $.blocks",
                )
            fresh = [name for name in node.outputs if name not in seen]
            seen.update(fresh)
            ahead.extend(fresh)

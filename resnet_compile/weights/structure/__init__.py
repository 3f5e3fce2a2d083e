"""Matching by structure: an ONNX model whose names are not the author's, walked beside the plan of a network.

Exporters rename initializers and fold batch normalisation into the convolution before it. What they keep is the
function. So the plan is walked from the image on, and each of its layers is looked up among the nodes that read the
same value. A node is a layer's counterpart where it computes the same from every map of its size: operator,
weights' shape, strides, dilations, groups, padding whoever pads, what the padding holds, the activation and its slope.
Nodes that only move numbers about are looked through, and what they do to axes and borders is kept in mind; any other
node between two layers means that there is no match. The model may compute more beside that, as long as one of its
outputs is the network's.

A value of the network can be several of the model's, two equal convolutions for one; all are followed, each once, so
the walk takes time in proportion to the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.errors import SpecError, WeightsError
from resnet_compile.plan import Plan, plan_network
from resnet_compile.weights.structure.ends import require_end
from resnet_compile.weights.structure.layers import chain
from resnet_compile.weights.structure.model import ComputedTensor, Counterpart, Place, Site, Walk
from resnet_compile.weights.structure.units import through_unit

_WITH_WEIGHTS = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization"})


@dataclass(frozen=True, slots=True)
class Structure:
    """A model that computes what a network does.

    Attributes:
        plan: The network, at the model's size.
        image: The model's input, with the order of its axes.
        places: Where the model has the network's values: the outputs of its units, its logits and predictions, by the
            plan's names for them.
        tensors: Every parameter.
    """

    plan: Plan
    image: Place
    places: Mapping[str, Place]
    tensors: dict[str, ComputedTensor]


def match_structure(plan: Plan, source: OnnxCheckpoint) -> dict[str, ComputedTensor]:
    """Every parameter of a network from a model that computes the same; raises as `structure_of`."""
    return structure_of(plan, source).tensors


def structure_of(plan: Plan, source: OnnxCheckpoint) -> Structure:
    """Where a model has what a network computes.

    Raises:
        WeightsError: The model computes something else; `where` names the first layer that has no counterpart, and the
            hint the node that comes nearest, what it has and the spec has not, and the spec's field for that.
    """
    if len(source.inputs) != 1:
        raise WeightsError(f"the model must have one input, got {len(source.inputs)}", where=plan.name)
    plan = _at_size_of(source, plan)
    model = Walk(source)
    places: dict[str, Place] = {}
    # The image may come as NHWC; then a Transpose stands before the first layer.
    starts = [Counterpart(Place(source.inputs[0], axes, plan.input.channels)) for axes in ("NCHW", "NHWC")]
    model.enter(Site("$.root"))
    steps = chain(model, plan.root, starts)
    for index, (block, kind) in enumerate(zip(plan.blocks, plan.spec.blocks, strict=True)):
        for unit in block.units:
            model.enter(Site(f"$.blocks[{index}]", kind.unit))
            steps = through_unit(model, unit, steps)
            places[unit.scope] = steps[0].place
    model.enter(Site("$.head"))
    steps = chain(model, plan.head.layers, steps)
    last = require_end(model, plan, steps)
    _require_all_used(plan, model, last)
    if plan.head.logits:
        predicted = last not in steps
        places[plan.head.logits.scope] = (last.before[0] if predicted else last).place
        if predicted:
            places["predictions"] = last.place
    image = next(step.place for step in last.all() if not step.before)
    tensors = {tensor.parameter.name: tensor for step in last.all() for tensor in step.filled}
    return Structure(plan, image, places, tensors)


def _at_size_of(source: OnnxCheckpoint, plan: Plan) -> Plan:
    """The network for images of the model's size, where it has one; its padding is for that size."""
    shape = source.input_shape
    if len(shape) != 4:
        return plan
    height, width = shape[2:] if shape[1] == plan.input.channels else shape[1:3]
    if height is None or width is None or (height, width) == plan.input.size:
        return plan
    try:
        return plan_network(plan.spec.replace(input=plan.spec.input.replace(height=height, width=width)))
    except SpecError:  # no network of that size; what does not fit is told by the walk
        return plan


def _require_all_used(plan: Plan, model: Walk, last: Counterpart) -> None:
    used = {id(node) for step in last.all() for node in step.nodes}
    left = [node for node in model.source.nodes if node.operator in _WITH_WEIGHTS and id(node) not in used]
    left = [node for node in left if any(map(model.is_constant, node.inputs))]
    if left and plan.head.logits:
        raise WeightsError(
            f"the model has {len(left)} more nodes with weights than the network, the first a {left[0].operator}",
            where=left[0].outputs[0] if left[0].outputs else plan.name,
        )


__all__ = ["ComputedTensor", "Structure", "match_structure", "structure_of"]

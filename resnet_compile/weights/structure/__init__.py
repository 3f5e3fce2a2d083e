"""Matching by structure: walks an ONNX model beside the plan of a network, without relying on names.

Exporters rename initializers and fold batch normalisation into the convolution before it, but they keep the function.
So the walk follows the plan from the image on, and looks up each layer among the nodes that read the same value. A node
matches a layer if it computes the same from every map of that size: operator, shape of the weights, strides, dilations,
groups, padding (whichever node pads) and its fill, activation and slope. Nodes that only move numbers are skipped, and
their effect on axes and borders is tracked. Any other node between two layers means no match. The model may compute
more, as long as one of its outputs is the network's.

One value of the network can match several of the model, for example two equal convolutions. All are followed, each
once, so time is linear in the size of the graph.
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
from resnet_compile.weights.structure.prologue import Prologue, prologue, without_nodes
from resnet_compile.weights.structure.units import through_unit

_WITH_WEIGHTS = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization"})


@dataclass(frozen=True, slots=True)
class Structure:
    """A model that computes what a network does.

    Attributes:
        plan: The network, at the model's size.
        prologue: The model's input, and what its first nodes make of it before the network begins.
        places: The model's places of the network's unit outputs, logits and predictions, by the plan's names.
        tensors: Every parameter, by name.
    """

    plan: Plan
    prologue: Prologue
    places: Mapping[str, Place]
    tensors: dict[str, ComputedTensor]


def match_structure(plan: Plan, source: OnnxCheckpoint) -> dict[str, ComputedTensor]:
    """Every parameter of a network from a model that computes the same; raises as `structure_of`."""
    return structure_of(plan, source).tensors


def structure_of(plan: Plan, source: OnnxCheckpoint) -> Structure:
    """Matches a model with a network.

    Raises:
        WeightsError: The model computes something else. `where` names the first layer without a counterpart. The hint
            names the nearest node, how it differs, and the spec's field for the difference.
    """
    if len(source.inputs) != 1:
        raise WeightsError(f"the model must have one input, got {len(source.inputs)}", where=plan.name)
    plan = _at_size_of(source, plan)
    model = Walk(source)
    places: dict[str, Place] = {}
    # The image may be NHWC; then a Transpose precedes the first layer.
    begun, _ = prologue(model)
    plain = [Counterpart(Place(source.inputs[0], axes, plan.input.channels)) for axes in ("NCHW", "NHWC")]
    starts = [Counterpart(begun.place, begun.nodes, depth=len(begun.nodes))] if begun else plain
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
    begun = begun or without_nodes(image)
    tensors = {tensor.parameter.name: tensor for step in last.all() for tensor in step.filled}
    return Structure(plan, begun, places, tensors)


def _at_size_of(source: OnnxCheckpoint, plan: Plan) -> Plan:
    """The network at the model's image size if that is fixed, because the model's padding is for that size."""
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

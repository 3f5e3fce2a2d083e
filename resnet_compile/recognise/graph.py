"""Recognises a network from an ONNX graph.

First the graph is sketched: its sums, and the nodes on the two paths to each. Then candidate units in the spec language
are matched against the graph, one after another (`weights.structure`), and those that match form a spec. Finally the
plan of that spec is matched as a whole, as it is whenever weights are taken from a model.
"""

from __future__ import annotations

import math
from collections import Counter

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.errors import SpecError, WeightsError
from resnet_compile.plan import Plan, layers, plan_network
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.network import network_scope
from resnet_compile.plan.root_kinds import RootLayers, plan_root
from resnet_compile.plan.scope import LayerScope
from resnet_compile.recognise.assembly import block_of, networks
from resnet_compile.recognise.hypotheses import activation_in, heads_for, roots_for
from resnet_compile.recognise.sketch import STEPS, Sketch, Trail, convolutions, explored, first_of, sketch
from resnet_compile.recognise.trials import Run, units_of
from resnet_compile.spec import (
    BatchNorm,
    Block,
    Head,
    Input,
    LeakyReluActivation,
    NetworkSpec,
    Relu6Activation,
    ScaleOffset,
    TorchvisionBasic,
    UnitArgs,
)
from resnet_compile.spec.network import NormKind
from resnet_compile.spec.parts import ActivationKind
from resnet_compile.spec.roots import RootKind
from resnet_compile.weights.structure import match_structure
from resnet_compile.weights.structure.activations import digits
from resnet_compile.weights.structure.layers import chain
from resnet_compile.weights.structure.model import MAP, Counterpart, Place, Site, Walk, Wanted, pixel
from resnet_compile.weights.structure.prologue import WIDEST, Prologue, prologue, without_nodes
from resnet_compile.weights.structure.walk import takers

_ROUNDING = 1e-6  # of an epsilon in float32, over itself
_SIDES = 32, 224
"""The image size assumed for a dynamic one: for a network whose first convolution has stride 1, and for any other."""


def read_graph(source: OnnxCheckpoint, name: str = "network") -> NetworkSpec:
    """The network that a model computes: a catalogue network if it equals one.

    Args:
        source: The model.
        name: The name of a network that is not in the catalogue.

    Raises:
        WeightsError: The spec language cannot describe a part of the model; the message names the node.
    """
    try:
        return _known(_recognised(source, name), source)
    except SpecError as error:
        raise WeightsError(f"no spec can describe the model: {error}") from None


def _recognised(source: OnnxCheckpoint, name: str) -> NetworkSpec:
    if len(source.inputs) != 1:
        raise WeightsError(f"the model must have one input, got {len(source.inputs)}")
    model = Walk(source)
    begun = _begun(model)
    start = begun.place
    found = sketch(model, start)
    if not found.units:
        raise _stuck(model, start, "the model has no residual unit, two ways from one value to a sum")
    image, norm = _input(model, found, begun.image), _norm(model)
    words = dict.fromkeys(word for unit in found.units for word in _words(activation_in(model, unit)))
    fault: WeightsError | None = None
    read: list[tuple[int, NetworkSpec]] = []
    for word in words:
        spec = NetworkSpec(
            name=name,
            input=image,
            norm=norm,
            activation=word,
            head=Head(num_classes=None),
            blocks=(Block(scope="block1", unit=TorchvisionBasic(), args=(UnitArgs(depth=1),)),),
        )
        try:
            read.append(_read(model, found, start, spec))
        except WeightsError as error:
            fault = fault or error
        if read and read[-1][0] == 0:
            break
    if not read:
        assert fault, "there is a word for every activation"
        raise fault
    return min(read, key=lambda each: each[0])[1]


def _begun(model: Walk) -> Prologue:
    """Where the network begins, with the axes in which its first convolution or norm reads the image."""
    begun, last = prologue(model)
    if begun:
        return begun
    (name,) = model.source.inputs
    for axes in ("NCHW", "NHWC"):
        for trail in explored(model, Place(name, axes, 0), {name}).trails:
            if (step := trail.last) and step.here.axes == MAP and (shape := model.shape(step.node, 1)):
                reads = shape[1] * first_of(step.node, "group") if len(shape) > 1 else shape[0]
                if reads <= WIDEST:
                    return without_nodes(Place(name, axes, reads))
    raise _stuck(model, last, "no layer reads the model's input")


def _stuck(model: Walk, start: Place, message: str) -> WeightsError:
    """An error that names the first node after a place that matches nothing."""
    model.enter(Site("$"))
    for depth, trail in enumerate(explored(model, start, {start.value}).trails):
        for _ in takers(model, Counterpart(trail.end, depth=depth), Wanted("network", "one of its layers"), *STEPS):
            pass
    return WeightsError(message, where=start.value, hint=model.nearest[1] if model.nearest else None)


def _input(model: Walk, found: Sketch, image: Place) -> Input:
    """The spec's input; a dynamic size becomes a usual one."""
    shape, convs = model.source.input_shape, convolutions(model, found.root)
    sides = dict(zip(image.axes, shape, strict=True)) if len(shape) == len(image.axes) else {}
    usual = _SIDES[bool(convs) and convs[0].stride > 1]
    return Input(height=sides.get("H") or usual, width=sides.get("W") or usual, channels=image.channels)


def _words(activation: layers.Activation | None) -> tuple[ActivationKind | None, ...]:
    """The spec's candidates for an activation. A leaky ReLU can be the unit kind's own."""
    match activation:
        case layers.Relu6():
            return (Relu6Activation(),)
        case layers.LeakyRelu(slope):
            return None, LeakyReluActivation(slope=slope)
        case _:
            return (None,)


def _norm(model: Walk) -> NormKind:
    """The normalisation of the model's nodes. If all have been folded into convolutions, any kind computes the same.

    It always has a scale: for a network without one, exporters write a scale of ones.
    """
    nodes = (node for node in model.source.nodes if node.operator == "BatchNormalization")
    epsilons = Counter(digits(node.floats.get("epsilon", 1e-5)) for node in nodes)
    if not epsilons:
        return BatchNorm()
    ((epsilon, _),) = epsilons.most_common(1)
    return BatchNorm(epsilon=epsilon) if epsilon else ScaleOffset()


def _read(model: Walk, found: Sketch, start: Place, spec: NetworkSpec) -> tuple[int, NetworkSpec]:
    """The spec, completed by the parts that match the sketch, and how many parameters of its units the model lacks."""
    scope = network_scope(spec)
    source = FeatureMap(spec.input.channels, spec.input.height, spec.input.width)
    root, planned, steps = _root(model, found, scope, source, Counterpart(start))
    begin = planned[-1].output if planned else source
    units = units_of(model, found, scope, Run(begin, steps), activation=spec.activation)
    strides = [layer.stride for layer in planned] + [each.stride for each in units.strides]
    atrous = any(each.nominal != each.stride or each.rate > 1 for each in units.strides)
    blocks = tuple(block_of(number, kind, args) for number, (kind, args) in enumerate(units.blocks, 1))
    end = units.steps[0].place
    end = pixel(end) if units.source.size == (1, 1) else end
    fault: WeightsError | None = None
    trails: list[Trail] = [*explored(model, end, {end.value}, units.source.size).trails]
    for head in heads_for(model, trails, preactivated=found.units[-1].preactivated):
        changes = {"root": root, "blocks": blocks, "output_stride": math.prod(strides) if atrous else None}
        made = spec.replace(head=head, **changes)
        try:
            match_structure(plan_network(made), model.source)
        except WeightsError as error:
            fault = fault or error
        else:
            return units.made, made
    raise fault or _stuck(model, end, f"no output is reached from unit {len(found.units)}, the model's last")


def _root(
    model: Walk, found: Sketch, scope: LayerScope, source: FeatureMap, step: Counterpart
) -> tuple[RootKind | None, RootLayers, list[Counterpart]]:
    """The root block, its layers, and the places behind them."""
    begun = found.units[0].residual[:1]
    folded = bool(begun) and begun[0].node.operator not in ("BatchNormalization", "Mul", "Conv")
    nearest: tuple[tuple[int, int, int], str] | None = None
    for kind in roots_for(model, found.root, folded=folded):
        model.enter(Site("$.root"))
        try:
            planned = plan_root(kind, scope, source)
            return kind, planned, chain(model, planned, [step])
        except SpecError:
            continue
        except WeightsError:
            nearest = max(filter(None, (nearest, model.nearest)), default=None)
    first = f"it begins with {found.root[0].node}" if found.root else None
    hint = f"nearest mismatch: {nearest[1]}" if nearest else first
    raise WeightsError("no root block of a spec matches the model's", where=model.source.inputs[0], hint=hint)


def _known(spec: NetworkSpec, source: OnnxCheckpoint) -> NetworkSpec:
    """The catalogue network that computes the same, with the model's input, classes and predictions; else the spec.

    Several may match if they differ in facts that the model does not show. Then the one closest to the spec is taken.
    """
    own = plan_network(spec)
    normed = any(node.operator == "BatchNormalization" for node in source.nodes)
    found: list[tuple[tuple[bool, ...], int, NetworkSpec]] = []
    for known in networks():
        epsilons = _epsilon(known.norm), _epsilon(spec.norm)
        if _depths(known) != _depths(spec) or (normed and not math.isclose(*epsilons, rel_tol=_ROUNDING)):
            continue
        head = known.head.replace(num_classes=spec.head.num_classes, predictions=spec.head.predictions)
        image = known.input.replace(height=spec.input.height, width=spec.input.width, preprocess=None)
        try:
            like = known.replace(head=head, input=image)
            planned = plan_network(like.replace(name=spec.name))
            made = sum(not tensor.given for tensor in match_structure(planned, source).values())
        except (SpecError, WeightsError):
            continue
        alike = (
            _borders(planned) == _borders(own),
            planned.head == own.head and known.head.predictions == spec.head.predictions,
            known.name.startswith("torchvision"),
        )
        found.append((alike, -made, like))
    return max(found, key=lambda each: each[:2])[2] if found else spec


def _depths(spec: NetworkSpec) -> list[int]:
    """The depth of every unit."""
    return [args.depth for block in spec.blocks for args in block.args for _ in range(args.repeat)]


def _borders(planned: Plan) -> list[object]:
    """The padding of the root block's maps."""
    return [(layer.padding, layer.pad_value if isinstance(layer, layers.MaxPool) else 0) for layer in planned.root]


def _epsilon(norm: NormKind) -> float:
    return norm.epsilon if isinstance(norm, BatchNorm) else 0.0

"""Sketches an ONNX graph in the terms of residual networks: sums of two maps, and the two paths to each.

Hypotheses are built from a sketch. The sketch checks nothing; `weights.structure` decides later whether nodes match
layers and their padding. Every value is visited once, so time is linear in the size of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnet_compile.checkpoints.onnx_file import OnnxNode
from resnet_compile.plan import layers
from resnet_compile.weights.structure.activations import ACTIVATIONS, activation_of
from resnet_compile.weights.structure.convolutions import is_border
from resnet_compile.weights.structure.model import MAP, PIXEL, Counterpart, Place, Walk, through
from resnet_compile.weights.structure.pools import mean_axes
from resnet_compile.weights.structure.walk import takers

Shape = tuple[int, ...]

_POOLS = ("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean", "Slice")
_SUMS = ("Add", "Sum")
_RANKS = {"Conv": (3, 4), "Gemm": (2,), "MatMul": (2,)}  # of the weights
_DENSE = tuple(_RANKS)
_NORMS = ("BatchNormalization", "Mul")  # a product is one with the sum behind it
STEPS = (*ACTIVATIONS, *_POOLS, *_SUMS, *_DENSE, *_NORMS, "Expand", "Sigmoid", "Softmax")
"""The operators that layers have."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One node on a path, and the place that it reads."""

    node: OnnxNode
    here: Place


Way = tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Trail:
    """A place, and the path to it.

    Attributes:
        end: The place.
        last: The node that makes it; None at the start of the trail.
        before: The trail to the place that this node reads.
    """

    end: Place
    last: Passage | None = None
    before: Trail | None = None

    @property
    def way(self) -> Way:
        """The nodes in order."""
        found: list[Passage] = []
        trail: Trail | None = self
        while trail and trail.last:
            found.append(trail.last)
            trail = trail.before
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Region:
    """The values reachable from a place without passing a sum of two maps.

    Attributes:
        trails: The trails to every value, the nearest first.
        sums: The sums at its end, each with the trails to its terms.
        gates: Products with a factor without rows and columns, by id, each with the trail to that factor.
    """

    trails: Sequence[Trail]
    sums: Sequence[tuple[OnnxNode, Sequence[Trail]]]
    gates: dict[int, Trail]


@dataclass(frozen=True, slots=True)
class ConvSketch:
    """A convolution or dense layer of the graph.

    Attributes:
        node: The node.
        shape: The shape of its weights.
        biased: Whether it has its own biases.
        normed: Whether a BatchNormalization follows.
        blur: The kernel size of a blur filter that follows and takes over the stride; None without one.
        stride: The stride of the layer, or of that filter.
    """

    node: OnnxNode
    shape: Shape
    biased: bool
    normed: bool
    blur: int | None
    stride: int

    @property
    def rate(self) -> int:
        return first_of(self.node, "dilations")

    @property
    def groups(self) -> int:
        return first_of(self.node, "group")


@dataclass(frozen=True, slots=True)
class UnitSketch:
    """One unit.

    Attributes:
        total: The sum.
        residual: The path from the unit's start to the sum with more convolutions.
        shortcut: The other path.
        padded: Whether the shortcut ends by padding channels of zeros.
        gate: The path from the residual's mean to the factors of its channels; empty without a gate.
        activation: The activation after the sum; None without one.
        convs: The residual's convolutions.
    """

    total: OnnxNode
    residual: Way
    shortcut: Way
    padded: bool
    gate: Way
    activation: layers.Activation | None
    convs: tuple[ConvSketch, ...]

    @property
    def preactivated(self) -> bool:
        """Whether any node comes before the first convolution."""
        return bool(self.residual) and self.residual[0].node.operator != "Conv"

    @property
    def depth(self) -> int:
        return self.convs[-1].shape[0] if self.convs else 0

    @property
    def stride(self) -> int:
        found = 1
        for conv in self.convs:
            found *= conv.stride
        return found

    @property
    def rates(self) -> tuple[int, ...]:
        """Those of its convolutions that have a window."""
        return tuple(conv.rate for conv in self.convs if conv.shape[-1] > 1)


@dataclass(frozen=True, slots=True)
class Sketch:
    """A network.

    Attributes:
        root: The path before the units.
        units: The units in order.
    """

    root: Way
    units: tuple[UnitSketch, ...]


def sketch(model: Walk, start: Place) -> Sketch:
    """The units of a graph, from a place on."""
    seen, place = {start.value}, start
    root: Way = ()
    units: list[UnitSketch] = []
    while found := _meeting(region := explored(model, place, seen)):
        total, trails = found
        end, activation = _activated(model, replace(trails[0].end, value=total.outputs[0], border=None), seen)
        ways = [trail.way for trail in trails]
        if not units:
            root, ways = _parted(ways, rectified=activation is not None)
        units.append(_unit(model, region, total, list(zip(ways, trails, strict=True)), activation))
        place = end
    return Sketch(root, tuple(units))


def explored(model: Walk, start: Place, seen: set[str], size: tuple[int, int] | None = None) -> Region:
    """The region after a place.

    Args:
        model: The graph.
        start: The place.
        seen: Values that belong to other regions; this region's values are added.
        size: Rows and columns of the map at the place, if known; a pool over all of them leaves one pixel.
    """
    trails, gates = [Trail(start)], dict[int, Trail]()
    sums: dict[int, tuple[OnnxNode, list[Trail]]] = {}
    for trail in trails:
        for node, here in takers(model, Counterpart(trail.end), None, *STEPS):
            alone = not any(map(model.is_constant, node.inputs))
            if node.operator in _SUMS and alone:
                sums.setdefault(id(node), (node, []))[1].append(replace(trail, end=here))
            elif node.operator == "Mul" and alone and not set(here.axes) & {"H", "W"}:
                gates[id(node)] = trail
            elif (there := _behind(model, node, here, size)) and there.value not in seen:
                seen.add(there.value)
                trails.append(Trail(there, Passage(node, here), trail))
    return Region(trails, [*sums.values()], gates)


def _behind(model: Walk, node: OnnxNode, here: Place, size: tuple[int, int] | None) -> Place | None:
    """The place after a node; None if the node's result is neither a map nor a vector."""
    there = replace(through(here, node), border=None)
    shape = model.shape(node, 1) if node.operator in _DENSE else None
    match node.operator:
        case "Conv" if here.axes in (MAP, PIXEL):
            return replace(there, channels=shape[0]) if shape else None
        case "Gemm" | "MatMul":
            turned = node.ints.get("transB", (0,)) != (0,)
            return replace(there, channels=shape[0 if turned else -1]) if shape else None
        case "GlobalAveragePool":
            return replace(there, axes=PIXEL)
        case "AveragePool" if node.ints.get("kernel_shape") == size:
            return replace(there, axes=PIXEL)
        case "ReduceMean":
            axes = mean_axes(model, node, here)
            return replace(there, axes=axes) if axes else None
        case _:
            return there


def _meeting(region: Region) -> tuple[OnnxNode, tuple[Trail, Trail]] | None:
    """The first sum that adds two values of a region."""
    for node, trails in region.sums:
        ends = {trail.end.value: trail for trail in trails}
        if node.outputs and len(node.inputs) == 2 == len(ends):
            first, second = ends.values()
            return node, (first, second)
    return None


def _activated(model: Walk, total: Place, seen: set[str]) -> tuple[Place, layers.Activation | None]:
    """The place after a sum's activation (one or two nodes), and the activation; without one, the sum and None."""
    place, found = total, None
    for _ in range(2):
        for node, here in takers(model, Counterpart(place), None, *ACTIVATIONS):
            if activation := activation_of(model, node, here):
                place, found = through(here, node), joined(found, activation)
                break
        else:
            break
    seen.add(place.value)
    return place, found


def joined(first: layers.Activation | None, second: layers.Activation) -> layers.Activation:
    """The activation that two nodes in a row make."""
    return first if isinstance(first, layers.Relu6) else second


def _parted(ways: Sequence[Way], *, rectified: bool) -> tuple[Way, list[Way]]:
    """The common start of two paths, and the rest of each.

    A unit without an activation after its sum begins with one, and with the norm before it.
    """
    first, second = ways
    common = 0
    while common < min(len(first), len(second)) and first[common].node is second[common].node:
        common += 1
    begun = any(way[common:] and way[common].node.operator in (*ACTIVATIONS, *_NORMS) for way in ways)
    if not rectified and not begun:
        for operators in (ACTIVATIONS, ("Add",), _NORMS):
            if common and first[common - 1].node.operator in operators:
                common -= 1
    return first[:common], [first[common:], second[common:]]


def _convs_in(way: Way) -> int:
    return sum(step.node.operator == "Conv" for step in way)


def _unit(
    model: Walk,
    region: Region,
    total: OnnxNode,
    ways: list[tuple[Way, Trail]],
    activation: layers.Activation | None,
) -> UnitSketch:
    (shortcut, trail), (residual, _) = sorted(ways, key=lambda each: (_convs_in(each[0]), len(each[0])))
    gates = (region.gates.get(id(step.node)) for step in residual if step.node.operator == "Mul")
    gate = next((trail.way for trail in gates if trail), ())
    pool = max((at for at, step in enumerate(gate) if step.node.operator in _POOLS), default=0)
    border = trail.end.border
    return UnitSketch(
        total,
        residual,
        shortcut,
        border is not None and "C" in border.amounts,
        gate[pool:],
        activation,
        convolutions(model, residual),
    )


def first_of(node: OnnxNode, name: str) -> int:
    """The attribute's value for rows; 1 if it is absent or malformed, which `weights.structure` refuses later."""
    found = node.ints.get(name, ())
    return found[0] if found and found[0] > 0 else 1


def convolutions(model: Walk, way: Way) -> tuple[ConvSketch, ...]:
    """The convolutions and dense layers on a path, each with its norm and blur filter."""
    found: list[ConvSketch] = []
    for at, (node, here) in enumerate((step.node, step.here) for step in way):
        shape = model.shape(node, 1) if node.operator in _DENSE else None
        known = shape is not None and min(shape, default=0) > 0 and len(shape) in _RANKS[node.operator]
        if shape is None or not known or (node.operator == "Conv" and is_border(model, node, here.channels)):
            continue
        stride = first_of(node, "strides")
        if node.operator == "Conv" and here.border and here.border.mode == "reflect" and found:
            found[-1] = replace(found[-1], blur=shape[-1], stride=stride)
            continue
        shape = shape[::-1] if node.operator != "Conv" and node.ints.get("transB", (0,)) == (0,) else shape
        normed = at + 1 < len(way) and way[at + 1].node.operator in _NORMS
        found.append(ConvSketch(node, shape, model.has(node, 2), normed, None, stride))
    return tuple(found)

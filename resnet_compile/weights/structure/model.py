"""The state of a walk through a model: nodes by their inputs, places that layers lead to, and the nearest mismatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, OnnxNode
from resnet_compile.errors import WeightsError
from resnet_compile.plan.parameters import Parameter
from resnet_compile.spec.units import UnitModel
from resnet_compile.weights.structure.constants import Constants
from resnet_compile.weights.structure.weights import StoredWeights, Values
from resnet_compile.weights.tensor import ParameterTensor, finite

NO_WORD = "the spec language cannot express that"
MAP, PIXEL = "NCHW", "NC11"
"""The axes of a map and of one pixel as ONNX's operators take them."""

_SMALL = 64
_TO_PIXEL = str.maketrans("HW", "11")

OPERATOR, WEIGHTS, FOREIGN, ATTRIBUTE = range(4)
"""How much a node tells of why nothing matches: it is one of another layer, one of other weights, one that no layer
has, or the layer's but for an attribute.
"""


class OtherFunctionError(WeightsError):
    """The model has the network's weights in the right places, but computes something else with them."""


@dataclass(frozen=True, slots=True)
class ComputedTensor(ParameterTensor):
    """A parameter computed from a source's tensors.

    Attributes:
        compute: Returns the values.
        given: Whether the source holds the parameter directly; otherwise it was derived so that the function is equal.
    """

    compute: Values
    given: bool = True

    def array(self) -> NDArray[Any]:
        """The values; raises `WeightsError` if one is not finite."""
        return finite(self.compute(), self.shape, self.parameter.name)


@dataclass(frozen=True, slots=True)
class Border:
    """The padding that Pad nodes put around a value, until a layer counts it as its own.

    Attributes:
        amounts: The amounts before and after, by axis; only axes with padding.
        mode: ONNX's mode of Pad.
        fill: The fill value, if the mode is `constant`.
    """

    amounts: Mapping[str, tuple[int, int]]
    mode: str
    fill: float


@dataclass(frozen=True, slots=True)
class Place:
    """A value of the model that equals a value of the network, apart from its layout.

    Attributes:
        value: The value's name.
        axes: The meaning of each axis: N, C, H or W, or 1 for an axis of length 1.
        channels: The number of channels.
        border: The padding around it.
        nonnegative: Whether no number is negative.
        owed: Biases included here but not in the network's value; the next normalisation must absorb them.
    """

    value: str
    axes: str
    channels: int
    border: Border | None = None
    nonnegative: bool = False
    owed: Values | None = None


@dataclass(frozen=True, slots=True)
class Counterpart:
    """One matched step: its place, its nodes and parameters, and the steps before it."""

    place: Place
    nodes: tuple[OnnxNode, ...] = ()
    filled: tuple[ComputedTensor, ...] = ()
    before: tuple[Counterpart, ...] = ()
    depth: int = 0

    def on(
        self, place: Place, *nodes: OnnxNode, filled: tuple[ComputedTensor, ...] = (), also: Counterpart | None = None
    ) -> Counterpart:
        """The step after this one, and after `also` where two paths join."""
        return Counterpart(place, nodes, filled, (self, also) if also else (self,), self.depth + len(nodes))

    def all(self, since: Counterpart | None = None) -> Iterator[Counterpart]:
        """This step and all before it, back to `since`, exclusive."""
        ahead, seen = [self], {id(self), id(since)}
        while ahead:
            step = ahead.pop()
            yield step
            fresh = [each for each in step.before if id(each) not in seen]
            seen.update(map(id, fresh))
            ahead.extend(fresh)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: the name of a layer, and the layer in words."""

    scope: str
    words: str


@dataclass(frozen=True, slots=True)
class Site:
    """The part of the spec that the walk is in: its path, and the kind of its units."""

    path: str
    unit: UnitModel | None = None


@dataclass(frozen=True, slots=True)
class _Fault:
    """A mismatch: how near the node came, the layer's scope, what differs, and what to change."""

    rank: tuple[int, int, int]
    scope: str
    what: str
    advice: str


@dataclass
class Walk:
    """The state of a walk through a model.

    Attributes:
        source: The model's file.
        site: The current part of the spec.
        stage: The number of parts of the current unit that matched.
        taken: The ids of nodes that matched other layers of the unit.
    """

    source: OnnxCheckpoint
    site: Site = field(default_factory=lambda: Site("$"))
    stage: int = 0
    taken: set[int] = field(default_factory=set)
    _readers: dict[str, list[OnnxNode]] = field(default_factory=dict)
    _makers: dict[str, OnnxNode] = field(default_factory=dict)
    _batched: set[str] = field(default_factory=set)
    _constants: Constants = field(init=False)
    _weights: StoredWeights = field(init=False)
    _fault: _Fault | None = None

    def __post_init__(self) -> None:
        for node in self.source.nodes:
            for name in dict.fromkeys(node.inputs):
                self._readers.setdefault(name, []).append(node)
            self._makers.update(dict.fromkeys(node.outputs, node))
        self._constants = Constants(self.source, self._makers)
        self._weights = StoredWeights(self.source, self._makers, self.integers)

    @property
    def batch(self) -> int | None:
        """The model's batch size; None if it is dynamic."""
        return self.source.input_shape[0] if self.source.input_shape else None

    def enter(self, site: Site) -> None:
        """Enters another part of the spec."""
        self.site, self.stage, self.taken, self._fault = site, 0, set(), None

    def readers(self, value: str) -> list[OnnxNode]:
        """The nodes that read a value."""
        return self._readers.get(value, [])

    def maker(self, value: str) -> OnnxNode | None:
        """The node that makes a value; None for inputs and initializers."""
        return self._makers.get(value)

    def visit(self, place: Place) -> None:
        """Remembers a value whose first axis is the images."""
        if place.axes.startswith("N"):
            self._batched.add(place.value)

    def is_batch(self, name: str) -> bool:
        """Whether a value is the number of images, read off the shape of a value of the network."""
        steps = 0
        while (node := self.maker(name)) and node.operator in ("Unsqueeze", "Squeeze", "Cast", "Identity"):
            name, steps = node.inputs[0], steps + 1
            if steps > _SMALL:
                return False
        if node and node.operator == "Gather" and len(node.inputs) == 2 and self.numbers(node.inputs[1]) == (0,):
            node = self.maker(node.inputs[0])
            return bool(node and node.operator == "Shape" and not node.ints and node.inputs[0] in self._batched)
        if node and node.operator == "Shape":
            first = node.ints.get("start", (0,)) == (0,) and node.ints.get("end") == (1,)
            return first and node.inputs[0] in self._batched
        return False

    def has(self, node: OnnxNode, index: int) -> bool:
        """Whether a node has an input."""
        return index < len(node.inputs) and node.inputs[index] != ""

    def shape(self, node: OnnxNode, index: int) -> tuple[int, ...] | None:
        """The shape of an input that is a tensor of the file or computed from one; otherwise None."""
        found = self._weights.find(node.inputs[index]) if index < len(node.inputs) else None
        return found.shape if found else None

    def values(self, node: OnnxNode, index: int) -> Values:
        """The values of an input that has a shape, in float64."""
        found = self._weights.find(node.inputs[index])
        assert found, "its shape was asked for"
        return found.compute

    def constant(self, name: str) -> NDArray[Any] | None:
        """A small constant; None for anything else."""
        return self._constants.array(name)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """The numbers of a small constant; None for anything else."""
        found = self._constants.array(name)
        return None if found is None else tuple(np.asarray(found, np.float64).ravel().tolist())

    def is_constant(self, name: str) -> bool:
        """Whether a value is the same whatever the image."""
        return name in self.source.numbers or self._weights.find(name) is not None

    def integers(self, name: str) -> tuple[int, ...] | None:
        """The whole numbers of a small constant; None for anything else."""
        found = self._constants.array(name)
        return tuple(map(int, found.ravel())) if found is not None and found.dtype.kind in "iu" else None

    def note(
        self,
        step: Counterpart,
        wanted: Wanted | None,
        node: OnnxNode,
        fault: str,
        advice: str | None,
        *,
        closeness: int,
    ) -> None:
        """Records why a node does not match, unless a nearer mismatch is recorded.

        Args:
            step: The current step of the walk.
            wanted: The layer to match; None during a mere trial, which records nothing.
            node: The node.
            fault: What the node is or has, against the spec.
            advice: What to change in the spec; None refers to the current part of the spec.
            closeness: How informative the mismatch is.
        """
        rank = self.stage, step.depth, closeness
        if wanted and id(node) not in self.taken and (self._fault is None or rank >= self._fault.rank):
            self._fault = _Fault(rank, wanted.scope, f"{node} {fault}", advice or f"see {self.site.path} of the spec")

    def error(self, wanted: Wanted) -> WeightsError:
        """The error for a walk that cannot continue."""
        message = "the model has no counterpart of this layer in its place"
        if self._fault is None:
            return WeightsError(message, where=wanted.scope, hint="the model ends before it")
        kind = OtherFunctionError if self._fault.rank[-1] == ATTRIBUTE else WeightsError
        return kind(message, where=self._fault.scope, hint=f"{self._fault.what}: {self._fault.advice}")

    @property
    def nearest(self) -> tuple[tuple[int, int, int], str] | None:
        """How near the nearest mismatch came, and its node and difference in words."""
        return (self._fault.rank, self._fault.what) if self._fault else None


def pixel(place: Place) -> Place:
    """The place of a map of one pixel, whose rows and columns are axes of length 1."""
    return replace(place, axes=place.axes.translate(_TO_PIXEL))


def through(place: Place, node: OnnxNode) -> Place:
    """The place after an elementwise node."""
    return replace(place, value=node.outputs[0], nonnegative=False)


def or_zeros(parameter: Parameter, biases: Values | None) -> ComputedTensor:
    """A parameter with these values, or zeros if there are none."""
    return ComputedTensor(parameter, biases or (lambda: np.zeros(parameter.shape)), given=biases is not None)

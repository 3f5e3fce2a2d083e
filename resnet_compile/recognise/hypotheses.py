"""Candidates in the spec language for the parts of a sketch, the likeliest first.

`weights.structure` decides which candidate matches. A candidate that matches computes what the graph does. So if a list
here lacks the right candidate, the graph is refused, never misread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

from resnet_compile.plan import layers
from resnet_compile.plan.root_kinds import in_parts
from resnet_compile.recognise.assembly import KINDS, attention_of, groups_of, root_parts, unit_args
from resnet_compile.recognise.sketch import ConvSketch, Shape, Sketch, Trail, UnitSketch, Way, convolutions, joined
from resnet_compile.spec import (
    AverageRootPool,
    BlurPool,
    BlurredMaxRootPool,
    EfficientChannel,
    Head,
    MaxRootPool,
    PaddedPool,
    PaddedSubsample,
    PooledProjection,
    Projection,
    StemRoot,
    UnitArgs,
)
from resnet_compile.spec.parts import AttentionKind, PoolPadding, RootPoolKind, ShortcutKind
from resnet_compile.spec.roots import RootKind
from resnet_compile.spec.units import UnitKind
from resnet_compile.weights.structure.activations import ACTIVATIONS, activation_of
from resnet_compile.weights.structure.convolutions import is_border
from resnet_compile.weights.structure.model import Counterpart, Walk
from resnet_compile.weights.structure.walk import places


def shapes_of(model: Walk, unit: UnitSketch) -> dict[str, Shape]:
    """The shapes of the weights of a unit's residual, by our names."""
    named = {f"conv{number}/weights": conv.shape for number, conv in enumerate(unit.convs, 1)}
    gate = convolutions(model, unit.gate)
    if len(gate) == 1 and gate[0].shape[:2] == (1, 1):
        named["attention/channels/weights"] = gate[0].shape
    for number, conv in enumerate(gate if len(gate) > 1 else (), 1):
        named[f"attention/conv{number}/weights"] = conv.shape
        if conv.biased:
            named[f"attention/conv{number}/biases"] = conv.shape[:1]
    return named


@dataclass(frozen=True)
class Strides:
    """The stride and rate of a unit, and its nominal stride, which `output_stride` may have replaced by rates.

    Attributes:
        stride: The actual stride.
        rate: The rate of its convolutions up to the one with the stride.
        nominal: The nominal stride.
    """

    stride: int
    rate: int
    nominal: int

    @property
    def after(self) -> int:
        """The rate of the layers after it."""
        return self.rate * self.nominal // self.stride


def strides_of(sketch: Sketch, *, late: bool) -> list[Strides]:
    """The strides of every unit. A replaced nominal stride shows in the rates of the layers after it.

    Args:
        sketch: The network.
        late: Whether the windows of bottlenecks come after the convolution with the stride, so that they show its rate.
    """
    found: list[Strides] = []
    units = sketch.units
    shown = [unit.rates or (1,) for unit in units]
    last = 1
    for at, unit in enumerate(units):
        rate = shown[at][0] if len(unit.convs) == 2 or not late else last
        ahead = shown[at + 1][0] if at + 1 < len(units) else rate
        after = shown[at][-1] if len(unit.convs) == 2 or late else ahead
        nominal = unit.stride if unit.stride > 1 or after % rate else after // rate
        if nominal == 1 and any(conv.blur for conv in unit.convs):
            nominal = 2
        found.append(Strides(unit.stride, rate, nominal))
        last = after
    return found


def activation_in(model: Walk, unit: UnitSketch) -> layers.Activation | None:
    """The first activation of a unit's residual, or else the one after its sum."""
    made: layers.Activation | None = None
    for step in unit.residual:
        each = activation_of(model, step.node, step.here) if step.node.operator in ACTIVATIONS else None
        if made and not each:
            break
        made = joined(made, each) if each else made
    return made or unit.activation


_AHEAD = 64  # units inspected for the parts that a kind must have; units with other parts begin another run


def units_for(model: Walk, units: Sequence[UnitSketch]) -> Iterator[UnitKind]:
    """Candidate kinds, with their parts, for the first unit and those after it.

    Args:
        model: The graph.
        units: The sketches of the units.
    """
    units = units[:_AHEAD]
    first = units[0]
    bottleneck = len(first.convs) == 3
    windows = {conv.shape[-1] for conv in first.convs}
    if len(first.convs) not in (2, 3) or (bottleneck and windows == {1}):
        return
    own: dict[str, Any] = {"groups": groups_of([shapes_of(model, first)])} if bottleneck else {}
    activation = activation_in(model, first)
    slope = activation.slope if isinstance(activation, layers.LeakyRelu) else 0.0
    convs = (conv for unit in units for conv in (*unit.convs, *convolutions(model, unit.shortcut)))
    strided = any(conv.stride > 1 and conv.shape[-1] > 1 for conv in convs)
    kinds = [each for each in sorted(KINDS.values(), key=_rank) if each.bottleneck == bottleneck]
    shortcuts = dict.fromkeys(_shortcuts(model, units))
    paddings = (None, "same") if strided else (None,)
    for blur, padding, biases, attention, shortcut, kind in product(
        _blurs(units), paddings, _biases(units), _attentions(model, first), shortcuts, kinds
    ):
        parts: dict[str, Any] = {"padding": padding, "biases": biases, "attention": attention, "shortcut": shortcut}
        parts |= {"anti_aliasing": blur, **own}
        if not kind.fixed_activation:
            yield kind(**parts)
            continue
        for word in ("raw", "activated"):
            yield kind(**parts, relu_leakiness=slope, first_shortcut=word)


def _blurs(units: Sequence[UnitSketch]) -> tuple[BlurPool | None, ...]:
    """The blur filter that takes over the stride, from the first unit that has one; earlier units may go without."""
    kernels = (conv.blur for unit in units for conv in unit.convs if conv.blur)
    kernel = next(kernels, None)
    blur = BlurPool.model_validate({"kernel": kernel}) if kernel in (3, 5, 7) else None
    return (blur, None) if blur else (None,)


def _rank(kind: type[UnitKind]) -> tuple[bool, bool, str]:
    """The order of kinds that compute the same for some units: torchvision's first, the CIFAR system's last."""
    word = kind.model_fields["kind"].default
    return kind.fixed_activation, not word.startswith("torchvision"), word


def _biases(units: Sequence[UnitSketch]) -> tuple[bool, ...]:
    convs = [conv for unit in units for conv in unit.convs]
    if any(conv.biased and conv.normed for conv in convs):
        return True, False
    return (False, True) if any(conv.biased for conv in convs) else (False,)


def _attentions(model: Walk, unit: UnitSketch) -> tuple[AttentionKind | None, ...]:
    found = attention_of([shapes_of(model, unit)])
    return (EfficientChannel(), found) if isinstance(found, EfficientChannel) else (found,)


def _shortcuts(model: Walk, units: Sequence[UnitSketch]) -> Iterator[ShortcutKind | None]:
    """Candidate shortcuts for the nodes on the units' shortcut paths."""
    yield None
    if not units[0].shortcut:
        yield Projection(at="shape")
    for unit in units:
        operators = {step.node.operator for step in unit.shortcut}
        convs = convolutions(model, unit.shortcut)
        if unit.padded:
            yield from (PaddedPool(), PaddedSubsample())
        elif convs and operators & _MEANS:
            yield from (PooledProjection(at=at, norm=norm) for norm, at in product((None, False, True), ATS))
        elif convs:
            yield from _projections(convs[0])
        elif "MaxPool" in operators:
            yield PaddedSubsample()


ATS = (None, "shape", "first")


def _projections(conv: ConvSketch) -> Iterator[Projection]:
    kernel = conv.shape[-1]
    told = dict.fromkeys((None, conv.normed, True, False))
    for norm, biases, at in product(told, (None, conv.biased, not conv.biased), ATS):
        yield Projection(at=at, kernel=kernel, norm=norm, biases=biases)


def arguments(model: Walk, unit: UnitSketch, kind: UnitKind, nominal: int) -> UnitArgs:
    """The arguments of a unit of a kind."""
    return unit_args(shapes_of(model, unit), nominal, kind.bottleneck, getattr(kind, "groups", 1))


def roots_for(model: Walk, way: Way, *, folded: bool) -> Iterator[RootKind | None]:
    """Candidate root blocks for these nodes.

    Args:
        model: The graph.
        way: The nodes from the image to the first unit.
        folded: Whether the norm of the first unit's pre-activation has been folded into the root block.
    """
    convs = convolutions(model, way)
    if not convs:
        yield None
        return
    pooling = len(convs) in (2, 4)
    stem = convs[:-1] if pooling else convs
    behind = [step.node for step in way]
    behind = behind[behind.index(stem[-1].node) : behind.index(convs[-1].node) if pooling else None]
    activated = any(node.operator in ACTIVATIONS for node in behind)
    names = ["conv1"] if len(stem) == 1 else ["stem1", "stem2", "stem3"]
    shapes = {f"{name}/weights": conv.shape for name, conv in zip(names, stem, strict=False)}
    if pooling:
        shapes["pool1/weights"] = convs[-1].shape
    told = root_parts(shapes) if stem[-1].shape[-1] in (3, 7) else None
    if told is None:
        return
    biased, norms = stem[-1].biased, (True, False) if activated else (False,)
    for padding, norm, pool in product((None, "same"), norms, _pools(model, convs, way, told)):
        unknown = folded or (norm and not stem[-1].normed)
        for biases in (False, True) if unknown else (biased, not biased):
            yield named(told.replace(norm=norm, biases=biases, padding=padding, pool=pool))


_PADDINGS: tuple[PoolPadding, ...] = get_args(PoolPadding)


def _pools(model: Walk, convs: Sequence[ConvSketch], way: Way, told: StemRoot) -> tuple[RootPoolKind | None, ...]:
    operators = {step.node.operator for step in way}
    if blur := convs[-1].blur:
        return (BlurredMaxRootPool.model_validate({"kernel": blur}),)
    if "MaxPool" in operators:
        zeros = any(
            (step.here.border and step.here.border.fill == 0)
            if step.node.operator == "MaxPool"
            else step.node.operator == "Conv" and is_border(model, step.node, step.here.channels)
            for step in way
        )
        words = ("zero", *_PADDINGS) if zeros else _PADDINGS
        return tuple(MaxRootPool(padding=padding) for padding in words)
    if "AveragePool" in operators:
        return (AverageRootPool(),)
    return (told.pool if len(convs) in (2, 4) else None,)


def named(root: StemRoot) -> RootKind:
    """The named kind that is short for these parts, if there is one; otherwise the parts."""
    for kind in get_args(RootKind):
        if kind is not StemRoot and in_parts(other := kind(depth=root.depth)) == root:
            return other  # type: ignore[no-any-return]  # get_args gives Any
    return root


def heads_for(model: Walk, trails: Sequence[Trail], *, preactivated: bool) -> Iterator[Head]:
    """Candidate heads for the nodes between the last unit and an output, the longest first.

    Args:
        model: The graph.
        trails: The trails to all values after the last unit.
        preactivated: Whether the units begin with a norm and an activation.
    """
    ends = [
        (trail.way, here)
        for trail in trails
        for here in places(model, Counterpart(trail.end), None)
        if here.value in model.source.outputs
    ]
    for way, end in sorted(ends, key=lambda each: -len(each[0]))[:_HEADS]:
        operators = [step.node.operator for step in way]
        dense = convolutions(model, way)
        pooled = not _MEANS.isdisjoint(operators)
        normed = bool(operators) and operators[0] in ("BatchNormalization", "Mul", *ACTIVATIONS)
        postnorm: Any = "none" if preactivated and not normed else None
        if not dense:
            yield Head(num_classes=None, global_pool=pooled, postnorm=postnorm)
            continue
        logits: Any = "conv" if dense[-1].node.operator == "Conv" else "dense"
        squeeze = logits == "dense" or not set(end.axes) & {"H", "W", "1"}
        predictions: Any = {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(operators[-1])
        yield Head(
            num_classes=dense[-1].shape[0],
            global_pool=pooled,
            spatial_squeeze=None if squeeze == pooled else squeeze,
            hidden=tuple(each.shape[0] for each in dense[:-1]) if logits == "dense" else (),
            logits=logits,
            predictions=predictions,
            postnorm=postnorm,
        )


_HEADS = 4  # the most heads that are tried
_MEANS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})

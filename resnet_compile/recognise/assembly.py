"""Builds candidate specs for a reading: names and shapes give what they can, the family's convention the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any, get_args

from resnet_compile.plan.root_kinds import in_parts
from resnet_compile.recognise.reading import Reading, Shape
from resnet_compile.spec import (
    BatchNorm,
    Block,
    ConvolutionRootPool,
    DeepStem,
    EfficientChannel,
    Head,
    Input,
    NetworkSpec,
    PaddedPool,
    PaddedSubsample,
    PooledProjection,
    Projection,
    ScaleOffset,
    SevenStem,
    SqueezeExcitation,
    StemRoot,
    ThreeStem,
    UnitArgs,
    catalogue,
    load_spec,
)
from resnet_compile.spec.parts import AttentionKind, ShortcutKind
from resnet_compile.spec.roots import RootKind
from resnet_compile.spec.units import UnitKind

KINDS: dict[str, type[UnitKind]] = {each.model_fields["kind"].default: each for each in get_args(UnitKind)}


@cache
def networks() -> tuple[NetworkSpec, ...]:
    """The networks of the catalogue."""
    return tuple(load_spec(name) for name in catalogue())


def candidates(reading: Reading, name: str) -> Iterator[tuple[NetworkSpec, NetworkSpec]]:
    """Candidate specs for a reading, the likeliest first, each with the catalogue network whose convention it uses."""
    bottleneck = any("conv3/weights" in unit for unit in reading.units.values())
    kinds = [*reading.kinds] or reading.naming.kinds
    fitting = [kind for kind in kinds if kind in KINDS and KINDS[kind].bottleneck == bottleneck]
    for kind in fitting if len(reading.kinds) <= 1 else ():
        model = _prototype(reading, kind)
        if model is None:
            continue
        for shortcut in dict.fromkeys(_shortcuts(reading, model)):
            if reading.naming.projects and getattr(shortcut, "at", None) not in reading.naming.projects:
                continue
            yield _assembled(reading, name, model, shortcut), model


def _prototype(reading: Reading, kind: str) -> NetworkSpec | None:
    """The catalogue network of this kind that the names belong to, or else the one that shares the most parts."""
    root, attention = root_parts(reading.shapes), attention_of([*reading.units.values()])
    pooled = any("projection/weights" in unit for unit in reading.units.values())
    padded = not pooled and not any("shortcut/weights" in unit for unit in reading.units.values())

    def alike(spec: NetworkSpec) -> tuple[bool, ...]:
        unit = spec.blocks[0].unit
        return (
            reading.prefix.endswith(f"{spec.name}/"),
            re.match(reading.naming.family, spec.name) is not None,
            (spec.root and _form(in_parts(spec.root))) == (root and _form(root)),
            type(unit.attention) is type(attention),
            isinstance(unit.shortcut, PooledProjection) == pooled,
            isinstance(unit.shortcut, PaddedSubsample | PaddedPool) == padded,
        )

    own = [spec for spec in networks() if spec.blocks[0].unit.kind == kind]
    return max(own, key=alike, default=None)


def _form(root: StemRoot) -> tuple[Any, ...]:
    return root.stem.kind, root.norm, root.biases, isinstance(root.pool, ConvolutionRootPool)


def root_parts(shapes: Mapping[str, Shape]) -> StemRoot | None:
    """The root block, as far as names and shapes determine it."""
    last = "stem3" if "stem3/weights" in shapes else "conv1"
    if (weights := shapes.get(f"{last}/weights")) is None:
        return None
    parts: dict[str, Any] = {"depth": weights[0], "biases": f"{last}/biases" in shapes}
    parts["norm"] = f"{last}/BatchNorm/beta" in shapes
    if "pool1/weights" in shapes:
        parts["pool"] = ConvolutionRootPool()
    if last == "stem3":
        widths = tuple(shapes.get(f"stem{number}/weights", (1,))[0] for number in (1, 2))
        return StemRoot(stem=DeepStem(widths=widths), **parts)
    if weights[2:] == (7, 7):
        return StemRoot(stem=SevenStem(), **parts)
    return StemRoot(**{"stem": ThreeStem(), "pool": None, **parts})


def _root(reading: Reading, model: NetworkSpec) -> RootKind | None:
    """The root block: the model network's if it has the file's layers, with the file's depths."""
    told = root_parts(reading.shapes)
    if told is None or model.root is None or _form(in_parts(model.root)) != _form(told):
        return told
    if isinstance(model.root, StemRoot):
        return model.root.replace(stem=told.stem, depth=told.depth)
    return model.root.replace(depth=told.depth)


def _shortcuts(reading: Reading, model: NetworkSpec) -> Iterator[ShortcutKind | None]:
    """The shortcuts that could have the file's parameters, the model network's own first."""
    units = reading.units.values()
    yield model.blocks[0].unit.shortcut
    yield None
    pooled = any("projection/weights" in unit for unit in units)
    projections = [unit for unit in units if "shortcut/weights" in unit]
    if pooled:
        yield from (PooledProjection(at=at) for at in (None, "first", "shape"))
    elif projections:
        first = projections[0]
        norm, biases = "shortcut/BatchNorm/beta" in first, "shortcut/biases" in first
        kernel = first["shortcut/weights"][-1] if len(first["shortcut/weights"]) == 4 else 1
        for at in (None, "first", "shape"):
            yield Projection(at=at, kernel=kernel)
            yield Projection(at=at, kernel=kernel, norm=norm, biases=biases)
    else:
        yield from (PaddedSubsample(), PaddedPool())


def _assembled(reading: Reading, name: str, model: NetworkSpec, shortcut: ShortcutKind | None) -> NetworkSpec:
    shapes = reading.shapes
    roles = {each.rpartition("/")[2] for each in shapes}
    norm: Any = ScaleOffset()
    if "moving_mean" in roles:
        norm = model.norm if isinstance(model.norm, BatchNorm) else BatchNorm()
        norm = norm.replace(scale="gamma" in roles)
    root = _root(reading, model)
    first = next(iter(shapes[each] for each in ("conv1/weights", "stem1/weights") if each in shapes), None)
    channels = first[1] if first else reading.units[1, 1]["conv1/weights"][1]
    image = {key: value for key, value in model.input if key != "channels"}
    return model.replace(
        name=name,
        origin=None,
        input=Input(**image, channels=channels),
        root=root,
        blocks=tuple(_block(reading, number, model, shortcut) for number in range(1, len(reading.blocks) + 1)),
        output_stride=None,
        norm=norm,
        head=_head(reading, model),
    )


def _block(reading: Reading, number: int, model: NetworkSpec, shortcut: ShortcutKind | None) -> Block:
    """A block; its strides are placed as in the model network."""
    units = [reading.units[place] for place in reading.units if place[0] == number]
    parts: dict[str, Any] = {"shortcut": shortcut, "attention": attention_of(units)}
    parts["biases"] = any("conv1/biases" in unit for unit in units)
    unit = model.blocks[min(number, len(model.blocks)) - 1].unit
    if unit.bottleneck:
        parts |= {"groups": groups_of(units), "base_width": 64}
    strides = [1] * len(units)
    last, even = stride_rule(model)
    if number != (1 if even == "first" else len(reading.blocks)):
        strides[-1 if last else 0] = 2
    args = (
        unit_args(each, stride, unit.bottleneck, parts.get("groups", 1))
        for each, stride in zip(units, strides, strict=True)
    )
    changed = {key: value for key, value in parts.items() if value != getattr(unit, key)}
    return block_of(number, unit.replace(**changed), args)


def block_of(number: int, unit: UnitKind, args: Iterable[UnitArgs]) -> Block:
    """A block of units with these arguments; consecutive equal units become one run."""
    runs = ((each, len([*run])) for each, run in groupby(args))
    return Block(
        scope=f"block{number}",
        unit=unit,
        args=tuple(each.replace(repeat=count) if count > 1 else each for each, count in runs),
    )


def stride_rule(model: NetworkSpec) -> tuple[bool, str]:
    """Whether the last unit of a block has the stride, and which block has no stride: the `first` or the `last`."""
    strides = [[args.stride for args in block.args for _ in range(args.repeat)] for block in model.blocks]
    even = [number for number, block in enumerate(strides) if max(block) == 1]
    last = any(block[-1] > 1 and len(block) > 1 for block in strides)
    return last, "last" if even and even[0] > 0 else "first"


def unit_args(unit: Mapping[str, Shape], stride: int, bottleneck: bool, groups: int) -> UnitArgs:
    widths = [unit[f"conv{number}/weights"][0] for number in range(1, 4) if f"conv{number}/weights" in unit]
    *inner, depth = widths
    if bottleneck and len(set(inner)) == 1 and inner[0] % groups == 0:
        return UnitArgs(depth=depth, depth_bottleneck=inner[0] // groups, stride=stride)
    if not bottleneck and inner == [depth]:
        return UnitArgs(depth=depth, stride=stride)
    return UnitArgs(depth=depth, widths=tuple(inner), stride=stride)


def groups_of(units: list[Mapping[str, Shape]]) -> int:
    """The groups of a bottleneck's 3x3 convolution: its input channels over the channels that one output reads."""
    unit = units[0]
    source, reads = unit["conv1/weights"][0], unit["conv2/weights"][1]
    return source // reads if source % reads == 0 else 1


def attention_of(units: list[Mapping[str, Shape]]) -> AttentionKind | None:
    unit = units[0]
    if taps := unit.get("attention/channels/weights"):
        return EfficientChannel(kernel=taps[-1])
    if squeeze := unit.get("attention/conv1/weights"):
        between, channels = squeeze[:2]
        biases = "attention/conv1/biases" in unit
        default = SqueezeExcitation(biases=biases)
        if between == max(int(channels / default.reduction / default.rounding + 0.5), 1) * default.rounding:
            return default
        return SqueezeExcitation(reduction=channels / between, rounding=1, biases=biases)
    return None


def _head(reading: Reading, model: NetworkSpec) -> Head:
    shapes = reading.shapes
    preactivated = any(layer.startswith("preact/") for unit in reading.units.values() for layer in unit)
    postnorm = "none" if preactivated and not any(name.startswith("postnorm/") for name in shapes) else None
    logits = shapes.get("logits/weights")
    hidden = [shape[0] for name, shape in shapes.items() if name.startswith("hidden/") and name.endswith("/weights")]
    changes: dict[str, Any] = {"num_classes": logits[0] if logits else None, "postnorm": postnorm}
    return model.head.replace(**changes, **({"hidden": tuple(hidden)} if hidden else {}))

"""The plan of a network: the spec with every stride, rate, pad, shape and parameter resolved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, assert_never

from resnet_compile.errors import SpecError, inside
from resnet_compile.limits import MAX_PARAMETERS
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.initializers import INITIALIZERS
from resnet_compile.plan.layers import (
    Activation,
    Conv,
    Dense,
    GlobalPool,
    Layer,
    LeakyRelu,
    NormActivation,
    Relu,
    Relu6,
)
from resnet_compile.plan.parameters import Parameter
from resnet_compile.plan.root_kinds import RootLayers, plan_root
from resnet_compile.plan.scope import LayerScope
from resnet_compile.plan.stacking import strides_and_rates
from resnet_compile.plan.unit import UnitPlan, UnitSite
from resnet_compile.plan.unit_kinds import plan_unit
from resnet_compile.spec import parts
from resnet_compile.spec.catalogue import SpecSource, as_spec
from resnet_compile.spec.network import HIDDEN_SCOPE, NetworkSpec
from resnet_compile.spec.parts import ActivationKind


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The units of one block. The end point `scope` is the last unit's output."""

    scope: str
    units: tuple[UnitPlan, ...]

    @property
    def output(self) -> FeatureMap:
        return self.units[-1].output


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """The layers after the blocks; None for a layer that the spec leaves out.

    Attributes:
        postnorm: The norm and activation after the last sum of a network of pre-activation units.
        pool: The mean over rows and columns.
        hidden: Dense layers before dense logits.
        logits: The class scores.
        squeeze: Whether logits and predictions drop their 1x1 rows and columns.
        predictions: The function from logits to predictions.
    """

    postnorm: NormActivation | None
    pool: GlobalPool | None
    hidden: tuple[Dense, ...]
    logits: Conv | Dense | None
    squeeze: bool
    predictions: Literal["softmax", "sigmoid"] | None

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in (self.postnorm, self.pool, *self.hidden, self.logits) if layer)


@dataclass(frozen=True, slots=True)
class EndPoint:
    """A value that can be a graph output.

    Attributes:
        name: Its name by TF-slim's rules, such as `resnet_v2_50/block1`.
        shape: Its shape for one image: channels, rows and columns, or channels alone if the head squeezes.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A resolved network, for images of one size.

    Attributes:
        spec: The spec.
        root: The layers of the root block; empty without one.
        blocks: The blocks, in order.
        head: The layers after the blocks.
    """

    spec: NetworkSpec
    root: RootLayers
    blocks: tuple[BlockPlan, ...]
    head: HeadPlan

    def __repr__(self) -> str:
        shape = f"{self.input.channels}x{self.input.height}x{self.input.width}"
        return f"Plan({self.name}: {shape}, {self.num_parameters:,} parameters, {self.macs:,} multiply-accumulates)"

    def _repr_html_(self) -> str:
        # Deferred: summaries are made from plans, and only notebooks need tables.
        from resnet_compile.notebook import html_table
        from resnet_compile.plan.summary import summarize

        whole = summarize(self)
        rows = [
            (part.name, part.kind, "x".join(map(str, part.output)), part.parameters, part.macs)
            for part in (*whole.parts, whole)
        ]
        return html_table(repr(self), ("", "kind", "output", "parameters", "multiply-accumulates"), rows)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def input(self) -> FeatureMap:
        return FeatureMap(self.spec.input.channels, self.spec.input.height, self.spec.input.width)

    @property
    def units(self) -> Iterator[UnitPlan]:
        return (unit for block in self.blocks for unit in block.units)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, in the order in which the original creates its variables.

        Each has its `scope`, the shapes of its `source` and its `output` (channels, height, width), its `parameters`,
        its `macs` and a `description`, such as `conv 3x3, stride 2`. `resnet_compile.costs.costs` also counts the
        operations between layers (sums, activations).
        """
        units = (layer for unit in self.units for layer in unit.layers)
        return (*self.root, *units, *self.head.layers)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter, moving statistics included, in the original's order."""
        return tuple(p for layer in self.layers for p in layer.parameters)

    @property
    def num_parameters(self) -> int:
        return sum(p.size for p in self.parameters if p.trainable)

    @property
    def num_moving_statistics(self) -> int:
        """Values of moving means and variances."""
        return sum(p.size for p in self.parameters if not p.trainable)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of all convolutions and matrices, the logits included."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def end_points(self) -> tuple[EndPoint, ...]:
        """TF-slim's end points, in its order."""
        return tuple(_end_points(self))

    @property
    def features(self) -> str:
        """The name of the last value before the logits: the pooled map, or the map itself without a pool."""
        last = self.head.pool or self.head.postnorm
        return last.scope if last else self.blocks[-1].scope


def plan_network(spec: SpecSource) -> Plan:
    """Resolves a spec, given as such, as a name of the catalogue or as a path.

    Raises:
        SpecError: The spec describes no network: its output stride cannot be reached, it squeezes a map that is not
            1x1, or it has more parameters than the limit.
    """
    spec = as_spec(spec)
    with inside(spec.source):
        return _planned(spec)


def _planned(spec: NetworkSpec) -> Plan:
    source = FeatureMap(spec.input.channels, spec.input.height, spec.input.width)
    initializer, scope = INITIALIZERS[spec.initializer], network_scope(spec)
    root = plan_root(spec.root, scope, source)
    root_stride = math.prod(layer.stride for layer in root)
    blocks = _plan_blocks(spec, scope, root[-1].output if root else source, root_stride=root_stride)
    head = _plan_head(spec, scope, replace(scope, initializer=initializer.logits), blocks[-1])
    planned = Plan(spec, root, blocks, head)
    if (total := planned.num_parameters + planned.num_moving_statistics) > MAX_PARAMETERS:
        raise SpecError(f"the network must have at most {MAX_PARAMETERS} parameters, got {total}", where="$.blocks")
    return planned


def network_scope(spec: NetworkSpec) -> LayerScope:
    """The scope of a network, with its layers' common settings."""
    return LayerScope(spec.name, spec.norm, _activation(spec.activation), INITIALIZERS[spec.initializer].body)


def _activation(kind: ActivationKind | None) -> Activation:
    """The network's activation, in place of a ReLU."""
    match kind:
        case None | parts.ReluActivation():
            return Relu()
        case parts.LeakyReluActivation(slope=slope):
            return LeakyRelu(slope)
        case parts.Relu6Activation():
            return Relu6()
        case _:
            assert_never(kind)


def _plan_blocks(
    spec: NetworkSpec, network: LayerScope, source: FeatureMap, *, root_stride: int
) -> tuple[BlockPlan, ...]:
    """The blocks in order, their units' strides limited by the output stride."""
    nominal = (args.stride for block in spec.blocks for args in block.args for _ in range(args.repeat))
    resolved = strides_and_rates(nominal, _stride_of_blocks(spec.output_stride, root_stride))
    blocks = []
    for index, block in enumerate(spec.blocks):
        scope = network.inner(block.scope)
        planned: list[UnitPlan] = []
        for args_index, args in enumerate(block.args):
            where = f"$.blocks[{index}]"
            for _ in range(args.repeat):
                stride, rate = next(resolved)
                unit_scope = scope.inner(f"unit_{len(planned) + 1}/{block.unit.kind}")
                site = UnitSite(
                    block.unit,
                    unit_scope,
                    args,
                    source,
                    stride,
                    rate,
                    first=not planned,
                    where=f"{where}.args[{args_index}]",
                    block=where,
                )
                planned.append(plan_unit(site))
                source = planned[-1].output
        blocks.append(BlockPlan(scope.name, tuple(planned)))
    next(resolved, None)  # raises the resolver's error if the strides do not reach the target
    return tuple(blocks)


def _stride_of_blocks(output_stride: int | None, root_stride: int) -> int | None:
    """The output stride with the root block's divided out."""
    if output_stride is None:
        return None
    if output_stride % root_stride:
        raise SpecError(
            f"output_stride must be a multiple of the root block's {root_stride}, got {output_stride}",
            where="$.output_stride",
        )
    return output_stride // root_stride


def _plan_head(spec: NetworkSpec, body: LayerScope, scores: LayerScope, last: BlockPlan) -> HeadPlan:
    preactivation = None if spec.head.postnorm == "none" else last.units[-1].preactivation
    postnorm = body.norm_activation("postnorm", last.output, preactivation.activation) if preactivation else None
    pool = GlobalPool(f"{spec.name}/pool5", last.output) if spec.head.global_pool else None
    source = pool.output if pool else last.output
    if spec.head.num_classes is None:
        return HeadPlan(postnorm, pool, (), logits=None, squeeze=False, predictions=None)
    if spec.head.squeezes and source.size != (1, 1):
        raise SpecError(
            f"the map must be 1x1 to be squeezed, got {source.height}x{source.width}",
            where="$.head.spatial_squeeze",
            hint="turn global_pool on or spatial_squeeze off",
        )
    hidden: list[Dense] = []
    for number, depth in enumerate(spec.head.hidden, start=1):
        hidden.append(scores.dense(f"{HIDDEN_SCOPE}/{number}", source, depth, activation=body.activation))
        source = hidden[-1].output
    logits: Conv | Dense
    if spec.head.logits == "dense":
        logits = scores.dense("logits", source, spec.head.num_classes)
    else:
        logits = scores.conv("logits", source, spec.head.num_classes, 1, biases=True)
    return HeadPlan(postnorm, pool, tuple(hidden), logits, spec.head.squeezes, spec.head.predictions)


def _end_points(plan: Plan) -> Iterator[EndPoint]:
    def end_point(name: str, output: FeatureMap) -> EndPoint:
        return EndPoint(name, (output.channels, output.height, output.width))

    stem = [layer for layer in plan.root if isinstance(layer, Conv) and not layer.scope.endswith("/pool1")]
    if stem:
        yield end_point(stem[-1].scope, stem[-1].output)
    for block in plan.blocks:
        for unit in block.units:
            projections = [layer for layer in unit.shortcut.layers if isinstance(layer, Conv)]
            residual = [layer for layer in unit.residual if isinstance(layer, Conv)]
            for layer in (*projections, *residual):
                yield end_point(layer.scope, layer.output)
            yield end_point(unit.scope, unit.output)
        yield end_point(block.scope, block.output)
    if logits := plan.head.logits:
        shape = (logits.output.channels,) if plan.head.squeeze else None
        for name in (logits.scope, *(["predictions"] if plan.head.predictions else [])):
            yield EndPoint(name, shape) if shape else end_point(name, logits.output)

"""The plan of a network: the spec with every stride, rate, pad, shape and parameter resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from resnet_compile.errors import SpecError
from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.layers import (
    Conv,
    GlobalPool,
    Layer,
    MaxPool,
    NormActivation,
    Relu,
    conv,
    max_pool_same,
    norm_activation,
)
from resnet_compile.plan.parameters import Parameter
from resnet_compile.plan.stacking import strides_and_rates
from resnet_compile.plan.units import UnitPlan, plan_unit
from resnet_compile.spec.base import MAX_PARAMETERS
from resnet_compile.spec.network import NetworkSpec
from resnet_compile.spec.roots import ImagenetRoot

# The stride of the root block: its convolution's times its pool's.
ROOT_STRIDE = 4


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The units of one block; its end point `scope` is the output of the last."""

    scope: str
    units: tuple[UnitPlan, ...]

    @property
    def output(self) -> FeatureMap:
        """The last unit's."""
        return self.units[-1].output


@dataclass(frozen=True, slots=True)
class Head:
    """What follows the blocks, each part where the spec has it."""

    postnorm: NormActivation | None
    pool: GlobalPool | None
    logits: Conv | None
    squeeze: bool

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In order."""
        return tuple(layer for layer in (self.postnorm, self.pool, self.logits) if layer)


@dataclass(frozen=True, slots=True)
class EndPoint:
    """A value that can be a graph output.

    Attributes:
        name: Under TF-slim's rules, such as `resnet_v2_50/block1`.
        shape: For one image: channels, rows and columns, or channels alone where the head squeezes.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A resolved network, for images of one size.

    Attributes:
        spec: What was planned.
        root: The layers of the root block, none where the spec leaves it out.
        blocks: In order.
        head: What follows them.
    """

    spec: NetworkSpec
    root: tuple[Conv | MaxPool, ...]
    blocks: tuple[BlockPlan, ...]
    head: Head

    @property
    def name(self) -> str:
        """The network's scope."""
        return self.spec.name

    @property
    def input(self) -> FeatureMap:
        """The image."""
        return FeatureMap(self.spec.input.channels, self.spec.input.height, self.spec.input.width)

    @property
    def units(self) -> Iterator[UnitPlan]:
        """Of all blocks, in order."""
        return (unit for block in self.blocks for unit in block.units)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, in the order in which the original creates its variables."""
        units = (layer for unit in self.units for layer in unit.layers)
        return (*self.root, *units, *self.head.layers)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter, moving statistics among them, in the original's order."""
        return tuple(p for layer in self.layers for p in layer_parameters(layer))

    @property
    def num_parameters(self) -> int:
        """Trainable values."""
        return sum(p.size for p in self.parameters if p.trainable)

    @property
    def num_moving_statistics(self) -> int:
        """Values of moving means and variances."""
        return sum(p.size for p in self.parameters if not p.trainable)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all convolutions, the logits among them, for one image."""
        return sum(layer_macs(layer) for layer in self.layers)

    @cached_property
    def end_points(self) -> tuple[EndPoint, ...]:
        """TF-slim's end points, in its order."""
        return tuple(_end_points(self))

    @property
    def features(self) -> str:
        """The name of the last value before the logits: the pooled map, or the map itself where there is no pool."""
        last = self.head.pool or self.head.postnorm
        return last.scope if last else self.blocks[-1].scope


def layer_parameters(layer: Layer) -> tuple[Parameter, ...]:
    """The layer's own parameters; pools have none."""
    return layer.parameters if isinstance(layer, Conv | NormActivation) else ()


def layer_macs(layer: Layer) -> int:
    """The layer's multiply-accumulates for one image; only convolutions count."""
    return layer.macs if isinstance(layer, Conv) else 0


def plan_network(spec: NetworkSpec) -> Plan:
    """Resolves a spec.

    Raises:
        SpecError: The spec describes no network: an output stride that cannot be reached, a squeeze of a map that is
            not 1x1, more parameters than the limit.
    """
    source = FeatureMap(spec.input.channels, spec.input.height, spec.input.width)
    root = _plan_root(spec, source)
    blocks = _plan_blocks(spec, root[-1].output if root else source)
    head = _plan_head(spec, blocks[-1])
    planned = Plan(spec, root, blocks, head)
    if (total := planned.num_parameters + planned.num_moving_statistics) > MAX_PARAMETERS:
        raise SpecError(f"{total} parameters are more than the limit of {MAX_PARAMETERS}", where="$.blocks")
    return planned


def _plan_root(spec: NetworkSpec, source: FeatureMap) -> tuple[Conv | MaxPool, ...]:
    match spec.root:
        case None:
            return ()
        case ImagenetRoot(depth=depth):
            conv1 = conv(f"{spec.name}/conv1", source, depth, 7, stride=2, biases=True)
            return conv1, max_pool_same(f"{spec.name}/pool1", conv1.output, 3, stride=2)


def _plan_blocks(spec: NetworkSpec, source: FeatureMap) -> tuple[BlockPlan, ...]:
    units = [[args for args in block.args for _ in range(args.repeat)] for block in spec.blocks]
    resolved = strides_and_rates((args.stride for block in units for args in block), _stride_of_blocks(spec))
    blocks = []
    for block, block_units in zip(spec.blocks, units, strict=True):
        scope = f"{spec.name}/{block.scope}"
        planned = []
        for number, args in enumerate(block_units, start=1):
            stride, rate = next(resolved)
            unit = plan_unit(block.unit, f"{scope}/unit_{number}", args, source, stride, rate, spec.norm)
            planned.append(unit)
            source = unit.output
        blocks.append(BlockPlan(scope, tuple(planned)))
    next(resolved, None)  # lets the resolver judge whether the target was reached
    return tuple(blocks)


def _stride_of_blocks(spec: NetworkSpec) -> int | None:
    """The output stride with the root block's divided out."""
    if spec.output_stride is None or spec.root is None:
        return spec.output_stride
    if spec.output_stride % ROOT_STRIDE:
        raise SpecError(
            f"the output stride must be a multiple of {ROOT_STRIDE}, the root block's, not {spec.output_stride}",
            where="$.output_stride",
        )
    return spec.output_stride // ROOT_STRIDE


def _plan_head(spec: NetworkSpec, last: BlockPlan) -> Head:
    postnorm = norm_activation(f"{spec.name}/postnorm", last.output, spec.norm, Relu())
    pool = GlobalPool(f"{spec.name}/pool5", last.output) if spec.head.global_pool else None
    source = pool.output if pool else last.output
    if spec.head.num_classes is None:
        return Head(postnorm, pool, logits=None, squeeze=False)
    if spec.head.squeezes and source.size != (1, 1):
        raise SpecError(
            f"a map of {source.height}x{source.width} cannot be squeezed",
            where="$.head.spatial_squeeze",
            hint="only a 1x1 map can; turn global_pool on or spatial_squeeze off",
        )
    logits = conv(f"{spec.name}/logits", source, spec.head.num_classes, 1, biases=True)
    return Head(postnorm, pool, logits, squeeze=spec.head.squeezes)


def _end_points(plan: Plan) -> Iterator[EndPoint]:
    def end_point(name: str, output: FeatureMap) -> EndPoint:
        return EndPoint(name, (output.channels, output.height, output.width))

    if plan.root:
        yield end_point(plan.root[0].scope, plan.root[0].output)
    for block in plan.blocks:
        for unit in block.units:
            projections = [layer for layer in unit.shortcut.layers if isinstance(layer, Conv)]
            for layer in (*projections, *unit.residual):
                yield end_point(layer.scope, layer.output)
            yield end_point(unit.scope, unit.output)
        yield end_point(block.scope, block.output)
    if logits := plan.head.logits:
        shape = (logits.output.channels,) if plan.head.squeeze else None
        for name in (logits.scope, "predictions"):
            yield EndPoint(name, shape) if shape else end_point(name, logits.output)

"""The costs of a network: multiply-accumulates, memory and memory traffic for every value that it computes.

They are counted on the graph of `--target portable` in float32, which folds batch normalisations into convolutions.
Every operator is counted as reading its inputs and weights from memory and writing its output there; a runtime that
fuses operators moves less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from resnet_compile.compiler import compile as compile_network
from resnet_compile.graph import Graph, Node, Value
from resnet_compile.notebook import html_table
from resnet_compile.options import CompileOptions
from resnet_compile.plan import Plan
from resnet_compile.spec import SpecSource

_BYTES = 4  # of a float32


@dataclass(frozen=True, slots=True)
class ValueCost:
    """The cost of computing one value.

    Attributes:
        name: The value's name.
        operator: The ONNX operator that computes it.
        shape: The value's shape, images first.
        weights: Number of weight elements that the operator reads.
        macs: Multiply-accumulates.
        activation_bytes: The value's size in bytes.
        bytes_moved: Bytes that the operator reads, weights included, and writes.
        held_bytes: The size of the values that live while it is computed, in bytes: the input until its last use, each
            value from when it is computed to its last use, outputs to the end.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    weights: int
    macs: int
    activation_bytes: int
    bytes_moved: int
    held_bytes: int

    @property
    def arithmetic_intensity(self) -> float:
        """Floating-point operations per byte moved; a multiply-accumulate counts as two."""
        return 2 * self.macs / self.bytes_moved


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a network for one batch.

    Attributes:
        plan: The network.
        batch: Images in the batch.
        values: Every value, in the order in which they are computed.
    """

    plan: Plan
    batch: int
    values: tuple[ValueCost, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(value.macs for value in self.values)

    @property
    def activation_bytes(self) -> int:
        """The size of all values together, in bytes."""
        return sum(value.activation_bytes for value in self.values)

    @property
    def activation_bytes_peak(self) -> int:
        """The peak memory of live values, in bytes."""
        return max(value.held_bytes for value in self.values)

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all operators."""
        return sum(value.bytes_moved for value in self.values)

    @property
    def arithmetic_intensity(self) -> float:
        """Floating-point operations per byte moved; a multiply-accumulate counts as two."""
        return 2 * self.macs / self.bytes_moved

    def _repr_html_(self) -> str:
        rows = [
            (each.name, each.operator, "x".join(map(str, each.shape)), each.macs, each.activation_bytes)
            for each in self.values
        ]
        header = ("value", "operator", "shape", "multiply-accumulates", "bytes")
        return html_table(f"{self.plan.name}, {self.batch} images", header, rows)


def costs(spec: SpecSource, options: CompileOptions | None = None) -> Costs:
    """The costs of a network.

    Args:
        spec: The network: a spec, a name of the catalogue, or a path.
        options: Only the size, the batch (one image if dynamic), the classes and the outputs are used.

    Raises:
        SpecError: The spec describes no network.
        OptionError: The size is dynamic.
    """
    options = CompileOptions.given(options)
    batch = 1 if options.batch == "dynamic" else options.batch
    size = None if options.size == "dynamic" else options.size
    asked = CompileOptions(
        batch=batch, size=size, num_classes=options.num_classes, outputs=options.outputs, target="portable"
    )
    model = compile_network(spec, asked)
    return Costs(model.plan, batch, tuple(_costs(model.graph)))


def _costs(graph: Graph) -> Iterator[ValueCost]:
    for (node, made), held in zip(graph.nodes(), _held(graph), strict=True):
        read = [value for value in node.inputs if value]
        weights = sum(_elements(value) for value in read if value.contents is not None)
        written = sum(map(_bytes, made))
        moved = sum(map(_bytes, dict.fromkeys(read))) + written
        value = made[0]
        shape, macs = value.static_shape, _macs(node, value)
        yield ValueCost(value.name, node.operator, shape, weights, macs, written, moved, held)


def _macs(node: Node, made: Value) -> int:
    """Each output element costs one kernel of a convolution, or one row of a matrix product."""
    match node.operator:
        case "Conv":
            return _elements(made) * math.prod(node.input(1).static_shape[1:])
        case "Gemm" | "MatMul":
            return _elements(made) * node.input(0).static_shape[-1]
        case _:
            return 0


def _held(graph: Graph) -> Iterator[int]:
    """The size of the values that live at each node: a value lives until its last reader, an output to the end."""
    order = list(graph.nodes())
    last = {value: step for step, (node, _) in enumerate(order) for value in node.inputs if value}
    last |= dict.fromkeys(graph.outputs, len(order))
    live = sum(map(_bytes, graph.inputs))
    for step, (node, made) in enumerate(order):
        live += sum(map(_bytes, made))
        yield live
        read = {value for value in node.inputs if value and value.contents is None}
        live -= sum(_bytes(value) for value in read if last[value] == step)


def _elements(value: Value) -> int:
    return math.prod(value.static_shape)


def _bytes(value: Value) -> int:
    return _BYTES * _elements(value)

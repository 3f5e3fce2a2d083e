"""From a plan to a graph: root block, units, head and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from resnet_compile.errors import OptionError
from resnet_compile.graph import Dim, Graph, Type, Value, apply, rename
from resnet_compile.lower.layers import Lowering, lower_activation, lower_layer
from resnet_compile.plan import BlockPlan, HeadPlan, Plan, UnitPlan
from resnet_compile.plan.layers import AveragePool, Dense

Layout = Literal["nchw", "nhwc"]
INPUT = "input"


def lower(
    plan: Plan,
    *,
    outputs: Sequence[str],
    batch: int | None = None,
    dynamic_size: bool = False,
    layout: Layout = "nchw",
) -> Graph:
    """The graph of a planned network.

    Args:
        plan: The network.
        outputs: Full names of values, from `plan.names.resolve_outputs`.
        batch: The batch size; None for a dynamic axis called `batch`.
        dynamic_size: Whether rows and columns are dynamic axes, called `height` and `width`.
        layout: The layout of the input and of every output with rows and columns. The graph inside is NCHW.

    Raises:
        OptionError: The size is dynamic, but the network works only at some sizes: it squeezes without a global pool,
            or has average-pooled shortcuts.
    """
    if dynamic_size:
        _refuse_one_size(plan)
    lowering = Lowering(dynamic_size)
    source = _input(plan, batch, dynamic_size, layout)
    x = apply("Transpose", source, name=f"{INPUT}/nchw", perm=(0, 3, 1, 2)) if layout == "nhwc" else source
    for layer in plan.root:
        x = lower_layer(layer, x, lowering)
    for block in plan.blocks:
        x = _block(block, x, lowering)
    _head(plan.head, x, lowering)
    graph = Graph(plan.name, (source,), tuple(lowering.values[name] for name in outputs))
    return _nhwc_outputs(graph) if layout == "nhwc" else graph


def _refuse_one_size(plan: Plan) -> None:
    if plan.head.squeeze and not plan.head.pool:
        raise OptionError("size must be fixed for a network that squeezes without pooling", where="size")
    # The pool's output rounds down and that of the parallel convolution up: at some sizes the Add would fail or
    # broadcast.
    shortcuts = (layer for unit in plan.units for layer in unit.shortcut.layers)
    if any(isinstance(layer, AveragePool) and layer.padding.rule == "fixed" for layer in shortcuts):
        raise OptionError("size must be fixed for a network with average-pooled shortcuts", where="size")


def _input(plan: Plan, batch: int | None, dynamic_size: bool, layout: Layout) -> Value:
    n: Dim = "batch" if batch is None else batch
    height, width = ("height", "width") if dynamic_size else plan.input.size
    channels = plan.input.channels
    shape = (n, channels, height, width) if layout == "nchw" else (n, height, width, channels)
    return Value(INPUT, Type("float32", shape))


def _block(block: BlockPlan, x: Value, lowering: Lowering) -> Value:
    for unit in block.units:
        x = _unit(unit, x, lowering)
    # The end point is a second name of the last unit's output; the next block reads the output itself.
    lowering.record(apply("Identity", x, name=block.scope))
    return x


def _unit(unit: UnitPlan, x: Value, lowering: Lowering) -> Value:
    residual = lower_layer(unit.preactivation, x, lowering) if unit.preactivation else x
    shortcut = residual if unit.shortcut.from_preactivation else x
    for layer in unit.shortcut.layers:
        shortcut = lower_layer(layer, shortcut, lowering)
    for inner in unit.residual:
        residual = lower_layer(inner, residual, lowering)
    total = apply("Add", shortcut, residual, name=f"{unit.scope}/Add" if unit.activation else unit.scope)
    return lowering.record(lower_activation(unit.activation, total, unit.scope) if unit.activation else total)


def _head(head: HeadPlan, x: Value, lowering: Lowering) -> None:
    for layer in (head.postnorm, head.pool):
        if layer:
            x = lower_layer(layer, x, lowering)
    if not head.logits:
        return
    if isinstance(head.logits, Dense):
        x = apply("Flatten", x, name=f"{head.logits.scope}/Flatten", axis=1)
        for hidden in head.hidden:
            x = lower_layer(hidden, x, lowering)
        logits = lower_layer(head.logits, x, lowering)
    elif head.squeeze:
        logits = lower_layer(head.logits, x, lowering, name=f"{head.logits.scope}/Conv")
        logits = lowering.record(apply("Flatten", logits, name=head.logits.scope, axis=1))
    else:
        logits = lower_layer(head.logits, x, lowering)
    match head.predictions:
        case "softmax":
            lowering.record(apply("Softmax", logits, name="predictions", axis=1))
        case "sigmoid":
            lowering.record(apply("Sigmoid", logits, name="predictions"))


def _nhwc_outputs(graph: Graph) -> Graph:
    """The graph with its 4-D outputs transposed to NHWC; the transposed values take over the names."""
    maps = {output.name: f"{output.name}/nchw" for output in graph.outputs if len(output.shape) == 4}
    inside = rename(graph, maps)
    outputs = (
        apply("Transpose", value, name=output.name, perm=(0, 2, 3, 1)) if output.name in maps else value
        for value, output in zip(inside.outputs, graph.outputs, strict=True)
    )
    return Graph(graph.name, graph.inputs, tuple(outputs))

"""The step as this machine's processor runs it fastest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ResnetCompileError
from resnet_compile.graph import Graph, Type, Value, apply
from resnet_compile.passes.blocked_layout import blocked_layout
from resnet_compile.runtime import Session, SessionOptions
from resnet_compile.serialize import ModelFormat, to_proto
from resnet_compile.training.step import TrainingStep

_BLOCKS = (16, 8)
"""The sizes of blocks that onnxruntime's CPU provider has on one processor or another."""
_MOST_DIFFERENCE = 1e-5  # of small whole numbers in another order; another block's result is another altogether


def blocked_step(step: TrainingStep) -> tuple[TrainingStep, int]:
    """The step with its convolutions in onnxruntime's blocked layout, and the channels of a block.

    The step itself and 0 if onnxruntime has no such layout on this processor.
    """
    block = block_size()
    return (replace(step, graph=blocked_layout(step.graph, block).graph), block) if block else (step, 0)


def block_size() -> int:
    """The channels of a block in onnxruntime's layout on this processor; 0 without one.

    A convolution is tried, since onnxruntime does not tell: blocks of another size give another result.
    """
    channels = 2 * max(_BLOCKS)
    generator = np.random.default_rng(0)
    x = Value("x", Type("float32", (1, channels, 4, 4)))
    weights = Value("weights", Type("float32", (channels, channels, 3, 3)))
    feeds = {each.name: generator.integers(-4, 5, each.static_shape).astype(np.float32) for each in (x, weights)}
    graph = Graph("probe", (x, weights), (apply("Conv", x, weights, name="y", pads=(1, 1, 1, 1)),))
    expected = _run(graph, feeds)
    for block in _BLOCKS:
        try:
            made = _run(blocked_layout(graph, block, lambda value: True).graph, feeds)
        except ResnetCompileError:
            continue  # no such operators, or none for this processor
        if np.allclose(made, expected, rtol=0, atol=_MOST_DIFFERENCE):
            return block
    return 0


def _run(graph: Graph, feeds: dict[str, NDArray[np.float32]]) -> NDArray[Any]:
    model = to_proto(graph, ModelFormat()).SerializeToString()
    (made,) = Session.open(model, "cpu", SessionOptions(threads=1, spinning=False)).run(feeds).values()
    return made

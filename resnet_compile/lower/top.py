"""The most probable classes, told by the model itself."""

from __future__ import annotations

from dataclasses import replace

from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, apply, apply_many, cast

CLASSES = "top_classes"
PROBABILITIES = "top_probabilities"
_PREDICTIONS = "predictions"


def with_top(graph: Graph, count: int) -> Graph:
    """The graph with two outputs more: the most probable classes' indices, int64 ``[N, count]`` under ``top_classes``,
    best first, and their probabilities, float32 of the same shape under ``top_probabilities``.

    Raises:
        OptionError: It outputs no predictions of a row of classes an image, or of fewer classes.
    """
    predictions = next((output for output in graph.outputs if output.name == _PREDICTIONS), None)
    if predictions is None or len(predictions.shape) != 2:
        fault = "the model outputs no predictions, one row of classes an image"
        raise OptionError(fault, where="top", hint="name predictions among --outputs, or leave them out")
    classes = predictions.shape[1]
    if isinstance(classes, int) and count > classes:
        raise OptionError(f"must be at most {classes}, the network's classes, not {count}", where="top")
    if predictions.type.dtype != "float32":
        predictions = cast(predictions, "float32", "top/predictions")
    number = apply("Constant", name="top/count", value_ints=(count,))
    probabilities, indices = apply_many("TopK", predictions, number, names=(PROBABILITIES, CLASSES), axis=1)
    return replace(graph, outputs=(*graph.outputs, indices, probabilities))

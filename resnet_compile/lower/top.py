"""The most probable classes, told by the model itself."""

from __future__ import annotations

from dataclasses import replace

from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, apply, apply_many, cast

CLASSES = "top_classes"
PROBABILITIES = "top_probabilities"


def with_top(graph: Graph, count: int) -> Graph:
    """The graph with two outputs more: the most probable classes' indices, int64 ``[N, count]`` under ``top_classes``,
    best first, and their probabilities, float32 of the same shape under ``top_probabilities``.

    Raises:
        OptionError: It outputs neither predictions nor logits, a row of classes an image, or there are fewer classes.
    """
    rows = {output.name.rpartition("/")[2]: output for output in graph.outputs if len(output.shape) == 2}
    found = next((name for name in ("predictions", "logits") if name in rows), None)
    if found is None:
        fault = "the model outputs no predictions and no logits, one row of classes an image"
        raise OptionError(fault, where="top", hint="name logits among the outputs")
    values = rows[found]
    classes = values.shape[1]
    if isinstance(classes, int) and count > classes:
        raise OptionError(f"must be at most {classes}, the network's classes, not {count}", where="top")
    if values.type.dtype != "float32":
        values = cast(values, "float32", "top/values")
    predictions = apply("Softmax", values, name="top/Softmax", axis=1) if found == "logits" else values
    number = apply("Constant", name="top/count", value_ints=(count,))
    probabilities, indices = apply_many("TopK", predictions, number, names=(PROBABILITIES, CLASSES), axis=1)
    return replace(graph, outputs=(*graph.outputs, indices, probabilities))

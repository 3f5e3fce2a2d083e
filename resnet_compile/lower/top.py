"""The most probable classes as outputs of the model."""

from __future__ import annotations

from dataclasses import replace

from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, apply, apply_many, cast

CLASSES = "top_classes"
PROBABILITIES = "top_probabilities"


def with_top(graph: Graph, count: int) -> Graph:
    """The graph with the most probable classes as two more outputs, best first.

    ``top_classes`` has their indices, int64 ``[N, count]``; ``top_probabilities`` their probabilities, float32 of the
    same shape.

    Raises:
        OptionError: The graph outputs neither predictions nor logits of shape ``[N, C]``, or C is below `count`.
    """
    rows = {output.name.rpartition("/")[2]: output for output in graph.outputs if len(output.shape) == 2}
    found = next((name for name in ("predictions", "logits") if name in rows), None)
    if found is None:
        fault = "the model outputs neither predictions nor logits with one row of classes per image"
        raise OptionError(fault, where="top", hint="add logits to the outputs")
    values = rows[found]
    classes = values.shape[1]
    if isinstance(classes, int) and count > classes:
        raise OptionError(f"top must be at most {classes}, the number of classes, got {count}", where="top")
    if values.type.dtype != "float32":
        values = cast(values, "float32", "top/values")
    predictions = apply("Softmax", values, name="top/Softmax", axis=1) if found == "logits" else values
    number = apply("Constant", name="top/count", value_ints=(count,))
    probabilities, indices = apply_many("TopK", predictions, number, names=(PROBABILITIES, CLASSES), axis=1)
    return replace(graph, outputs=(*graph.outputs, indices, probabilities))

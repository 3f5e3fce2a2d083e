"""onnx's own evaluator, in float64."""

from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from support.models import in_float64


class Pad(OpRun):
    """Pad as ONNX defines it: what is below zero is cut off, which onnx's evaluator does not do."""

    op_domain = ""

    def _run(self, data: np.ndarray, pads: np.ndarray, value: Any = None, mode: str | None = None) -> Any:
        before, after = np.split(np.asarray(pads), 2)
        if mode == "reflect":
            return (np.pad(data, [*zip(before, after, strict=True)], mode="reflect"),)
        assert mode == "constant"
        padded = np.pad(data, [*zip(np.maximum(before, 0), np.maximum(after, 0), strict=True)])
        ends = [size + min(end, 0) for size, end in zip(padded.shape, after, strict=True)]
        return (padded[tuple(slice(max(-start, 0), end) for start, end in zip(before, ends, strict=True))],)


def evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """An evaluator of the model with float64 in the place of float32."""
    return ReferenceEvaluator(in_float64(model), new_ops=[Pad])

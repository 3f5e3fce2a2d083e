"""Running models by onnxruntime, as it comes."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime


def run(model: onnx.ModelProto | str, x: np.ndarray, *, exact: bool = False) -> dict[str, np.ndarray]:
    """The model's outputs by name, for one input array.

    Args:
        model: A model or its path.
        x: The value of the model's only input.
        exact: Whether onnxruntime's own graph optimisations are off.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))

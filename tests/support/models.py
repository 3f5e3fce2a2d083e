"""Running models by onnxruntime, as it comes."""

import os
from collections.abc import Callable, Mapping

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
    session = _session(model, exact=exact)
    return _outputs(session, {session.get_inputs()[0].name: x})


def runner(model: onnx.ModelProto) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """What gives the model's outputs by name for its inputs by name, time and again."""
    session = _session(model, exact=False)
    return lambda inputs: _outputs(session, inputs)


def _session(model: onnx.ModelProto | str, *, exact: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _outputs(session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with float64 in the place of float32."""
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    exact = onnx.ModelProto()
    exact.CopyFrom(model)
    for value in (*exact.graph.input, *exact.graph.output):
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    for tensor in exact.graph.initializer:
        if tensor.data_type == single:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for node in exact.graph.node:
        if node.op_type == "Cast":
            node.attribute[0].i = double
    return exact

"""Small ONNX models that hold tensors in every way that the format has."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VALUES = {
    "FLOAT": [1.5, -2.0, 3.25, 1e-30],
    "DOUBLE": [1.5, -2.0, 3.25, 1e-300],
    "FLOAT16": [1.5, -2.0, 0.5, 6e-8],
    "BFLOAT16": [1.5, -2.0, 0.5, 1e30],
    "INT8": [1, -2, 127, -128],
    "UINT8": [1, 2, 255, 0],
    "INT16": [1, -2, 32767, -32768],
    "UINT16": [1, 2, 65535, 0],
    "INT32": [1, -2, 2**31 - 1, -(2**31)],
    "UINT32": [1, 2, 2**32 - 1, 0],
    "INT64": [1, -2, 2**63 - 1, -(2**63)],
    "UINT64": [1, 2, 2**64 - 1, 0],
    "BOOL": [True, False, True, True],
}


def tensors() -> list[onnx.TensorProto]:
    """Every numeric type, in its typed field and as raw data, a scalar and an empty tensor."""
    made = []
    for name, values in VALUES.items():
        typed = helper.make_tensor(f"typed/{name}", getattr(TensorProto, name), (2, 2), values)
        raw = numpy_helper.from_array(numpy_helper.to_array(typed), f"raw/{name}")
        made += [typed, raw]
    made.append(numpy_helper.from_array(np.array(3.0, np.float32), "scalar"))
    made.append(numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty"))
    return made


def model(initializers: list[onnx.TensorProto]) -> onnx.ModelProto:
    """A model with these initializers, a Constant node and a convolution with every kind of attribute."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["weights"], value=weights),
        helper.make_node("Conv", ["x", "weights"], ["z"], strides=[2, 2], pads=[1, 1, 1, 1], group=1),
        helper.make_node("LeakyRelu", ["z"], ["y"], alpha=0.25),
    ]
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def write_external(folder: Path) -> Path:
    """A model whose initializers lie in a file beside it."""
    path = folder / "external.onnx"
    onnx.save_model(
        model(tensors()),
        path,
        save_as_external_data=True,
        location="external.data",
        size_threshold=0,
        convert_attribute=False,
    )
    return path

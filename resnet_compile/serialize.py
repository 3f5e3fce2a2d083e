"""From graph to ONNX: a `ModelProto` in memory, or a file written one tensor at a time.

The file is in protobuf's wire format. Protobuf serializes all fields except the initializers: a few hundred kilobytes.
The initializers come last in the graph. Each is a short header and its raw values, so memory holds only the few tensors
in the making, not the model. Their lengths follow from their shapes, before values are known.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, assert_never

import numpy as np
import onnx
from numpy.typing import NDArray

from resnet_compile._version import __version__
from resnet_compile.errors import GraphError, OptionError
from resnet_compile.files import replacing
from resnet_compile.graph import ONNX_TYPES, Attribute, Graph, Node, Shape, Value, domain_and_type, verify
from resnet_compile.metadata import Metadata
from resnet_compile.wire import length_prefix

PRODUCER = "resnet_compile"
OLDEST_OPSET = 11
NEWEST_OPSET = 26
DEFAULT_OPSET = 18

# The IR version released with each opset: the lowest that may carry it (onnx, docs/Versioning.md).
_IR_VERSIONS = dict(zip(range(11, 27), (6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13), strict=True))
# The first onnxruntime that runs all models of an opset: from 19 on tried on wheels of 1.15 to 1.30, before that by its
# table of versions (1.14: ONNX 1.13, 1.12: ONNX 1.12, and so on); 1.6 has opset 13, but no int32 in DequantizeLinear.
OLDEST_ONNXRUNTIME = {
    11: "1.0",
    12: "1.3",
    13: "1.7",
    14: "1.8",
    15: "1.9",
    16: "1.11",
    17: "1.12",
    18: "1.14",
    19: "1.16",
    20: "1.17",
    21: "1.18",
    22: "1.21",
    23: "1.23",
    24: "1.24",
    25: "1.24",
    26: "1.25",
}
# Protobuf refuses messages of 2 GiB; this much is reserved for everything except initializers.
_LARGEST_MODEL = 2**31 - 2**24
# How many tensors, and bytes of them, are computed ahead of the one being written: enough work for every core.
_AHEAD_TENSORS = 64
_AHEAD_BYTES = 32 * 2**20
# External data starts at page boundaries, so that runtimes can map it.
_ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """The format in which a graph is written.

    Attributes:
        opset: The version of ONNX's default operator set.
        metadata: The model's metadata.
        external_data: Whether initializers go to a file beside the model; None does so if the model is too large for
            protobuf.
    """

    opset: int = DEFAULT_OPSET
    metadata: Metadata = field(default_factory=Metadata)
    external_data: bool | None = None

    def __post_init__(self) -> None:
        if not OLDEST_OPSET <= self.opset <= NEWEST_OPSET:
            raise OptionError(f"opset must be {OLDEST_OPSET} to {NEWEST_OPSET}, got {self.opset}", where="opset")


def to_proto(graph: Graph, fmt: ModelFormat) -> onnx.ModelProto:
    """The model as one protobuf message, with its values.

    Raises:
        OptionError: The model is too large for a message, or the format asks for external data.
        GraphError: The graph breaks a rule of the IR.
    """
    initializers = tuple(verify(graph, bound=True).initializers())
    if fmt.external_data or _total_bytes(initializers) > _LARGEST_MODEL:
        raise OptionError("a model with external data can only be saved as a file", where="external_data")
    model = _skeleton(graph, fmt)
    for value, array in zip(initializers, _arrays(initializers), strict=True):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(_tensor_header(value))
        tensor.raw_data = array.tobytes()
    return model


def write_model(graph: Graph, fmt: ModelFormat, path: Path) -> None:
    """Writes the model to a file, and external initializers to `path` + `.data`.

    Raises:
        OutputError: The file cannot be written; an old file stays as it was.
        GraphError: The graph breaks a rule of the IR.
    """
    initializers = tuple(verify(graph, bound=True).initializers())
    external = fmt.external_data
    if external is None:
        external = _total_bytes(initializers) > _LARGEST_MODEL
    if external:
        data_path = path.with_name(f"{path.name}.data")
        with replacing(path) as file, replacing(data_path) as data:
            _write_external(graph, fmt, initializers, file, data, data_path.name)
    else:
        with replacing(path) as file:
            _write_embedded(graph, fmt, initializers, file)


def _write_embedded(graph: Graph, fmt: ModelFormat, initializers: tuple[Value, ...], file: BinaryIO) -> None:
    headers = [_tensor_header(value).SerializeToString(deterministic=True) for value in initializers]
    prefixes = []
    for value, header in zip(initializers, headers, strict=True):
        raw = length_prefix(_RAW_DATA, _num_bytes(value))
        length = len(header) + len(raw) + _num_bytes(value)
        prefixes.append(length_prefix(_INITIALIZER, length) + header + raw)
    graph_bytes = sum(len(prefix) + _num_bytes(value) for prefix, value in zip(prefixes, initializers, strict=True))
    _write_skeleton(graph, fmt, graph_bytes, file)
    for prefix, array in zip(prefixes, _arrays(initializers), strict=True):
        file.write(prefix)
        file.write(array.data)


def _write_external(
    graph: Graph, fmt: ModelFormat, initializers: tuple[Value, ...], file: BinaryIO, data: BinaryIO, location: str
) -> None:
    fields = []
    offset = 0
    for value, array in zip(initializers, _arrays(initializers), strict=True):
        padding = -offset % _ALIGNMENT
        data.write(b"\0" * padding)
        data.write(array.data)
        offset += padding
        tensor = _tensor_header(value)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, entry in (("location", location), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(entry))
        offset += array.nbytes
        wire = tensor.SerializeToString(deterministic=True)
        fields.append(length_prefix(_INITIALIZER, len(wire)) + wire)
    _write_skeleton(graph, fmt, sum(map(len, fields)), file)
    file.writelines(fields)


# Field numbers of onnx.proto.
_MODEL_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def _write_skeleton(graph: Graph, fmt: ModelFormat, initializer_bytes: int, file: BinaryIO) -> None:
    """Writes the model up to the initializers, whose wire bytes must follow."""
    model = _skeleton(graph, fmt)
    graph_wire = model.graph.SerializeToString(deterministic=True)
    model.ClearField("graph")
    file.write(model.SerializeToString(deterministic=True))
    file.write(length_prefix(_MODEL_GRAPH, len(graph_wire) + initializer_bytes))
    file.write(graph_wire)


def _skeleton(graph: Graph, fmt: ModelFormat) -> onnx.ModelProto:
    """The model without its initializers."""
    entries = fmt.metadata.entries()
    model = onnx.ModelProto(
        ir_version=_IR_VERSIONS[fmt.opset],
        producer_name=PRODUCER,
        producer_version=__version__,
        opset_import=[onnx.OperatorSetIdProto(domain="", version=fmt.opset)],
        metadata_props=[onnx.StringStringEntryProto(key=key, value=text) for key, text in entries.items()],
    )
    model.graph.name = graph.name
    model.graph.input.extend(_value_info(value) for value in graph.inputs)
    model.graph.output.extend(_value_info(value) for value in graph.outputs)
    for node, made in graph.nodes():
        model.graph.node.append(_node(node, made))
    for domain in sorted({node.domain for node in model.graph.node if node.domain}):
        model.opset_import.add(domain=domain, version=1)  # the one version that onnxruntime's own domains have
    return model


def _node(node: Node, made: tuple[Value, ...]) -> onnx.NodeProto:
    outputs = {value.index: value.name for value in made}
    domain, kind = domain_and_type(node.operator)
    return onnx.NodeProto(
        op_type=kind,
        domain=domain or None,
        name=made[0].name,
        input=[source.name if source else "" for source in node.inputs],
        output=[outputs.get(index, "") for index in range(max(outputs) + 1)],
        attribute=[_attribute(name, node.attributes[name]) for name in sorted(node.attributes)],
    )


def _attribute(name: str, value: Attribute) -> onnx.AttributeProto:
    kinds = onnx.AttributeProto
    match value:
        case int():
            return kinds(name=name, type=kinds.INT, i=value)
        case float():
            return kinds(name=name, type=kinds.FLOAT, f=value)
        case str():
            return kinds(name=name, type=kinds.STRING, s=value.encode())
        case tuple():
            return kinds(name=name, type=kinds.INTS, ints=value)
        case _:
            assert_never(value)


def _value_info(value: Value) -> onnx.ValueInfoProto:
    info = onnx.ValueInfoProto(name=value.name)
    tensor = info.type.tensor_type
    tensor.elem_type = ONNX_TYPES[value.type.dtype]
    _set_shape(tensor.shape, value.shape)
    return info


def _set_shape(proto: onnx.TensorShapeProto, shape: Shape) -> None:
    proto.SetInParent()  # a scalar has a shape, though no axes
    for dim in shape:
        entry = proto.dim.add()
        if isinstance(dim, int):
            entry.dim_value = dim
        elif dim is not None:
            entry.dim_param = dim


def _tensor_header(value: Value) -> onnx.TensorProto:
    return onnx.TensorProto(name=value.name, dims=value.static_shape, data_type=ONNX_TYPES[value.type.dtype])


def _num_bytes(value: Value) -> int:
    return math.prod(value.static_shape) * np.dtype(value.type.dtype).itemsize


def _total_bytes(initializers: Iterable[Value]) -> int:
    return sum(_num_bytes(value) for value in initializers)


def _arrays(initializers: tuple[Value, ...]) -> Iterator[NDArray[Any]]:
    """The initializers' values in order, computed on all cores a few ahead of the consumer."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque[tuple[Value, Future[NDArray[Any]]]] = deque()
        waiting = iter(initializers)
        ahead_bytes = 0
        try:
            while True:
                while len(ahead) < _AHEAD_TENSORS and (ahead_bytes < _AHEAD_BYTES or not ahead):
                    if (value := next(waiting, None)) is None:
                        break
                    ahead.append((value, pool.submit(_checked_array, value)))
                    ahead_bytes += _num_bytes(value)
                if not ahead:
                    return
                value, future = ahead.popleft()
                array = future.result()
                ahead_bytes -= _num_bytes(value)
                del future
                yield array
        finally:
            pool.shutdown(cancel_futures=True)


def _checked_array(value: Value) -> NDArray[Any]:
    array = value.tensor.array()
    if array.shape != value.shape or array.dtype.name != value.type.dtype:
        raise GraphError(f"contents of {array.dtype}{list(array.shape)} for {value.type}", where=value.name)
    little_endian = array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array, dtype=little_endian)

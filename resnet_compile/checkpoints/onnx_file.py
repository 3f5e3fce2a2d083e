"""ONNX models as checkpoints: the initializers by name, and the nodes for matching by structure.

The wire format of ``onnx.proto`` is read straight from the memory map: of a model of gigabytes only what is looked up
is read. External data is read only from files inside the model's own folder.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, Unread, numbered
from resnet_compile.checkpoints.checked_file import CheckedFile, contiguous, printable, read_head
from resnet_compile.wire import Buffer, Message

# TensorProto.DataType of onnx.proto.
_DATA_TYPES = numbered(
    "float32 uint8 int8 uint16 int16 int32 int64 - bool float16 float64 uint32 uint64 - - bfloat16", first=1
)
_OTHER_TYPES = {8: "of type string", 14: "of type complex64", 15: "of type complex128"}
# The names of the domain of ONNX's own operators.
_OWN_DOMAINS = frozenset({"", "ai.onnx"})
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _DOUBLE_DATA, _UINT64_DATA = 4, 5, 7, 10, 11
# First bytes of a model: field 1, the IR version, then another field of ModelProto by its tag.
_IR_VERSION_TAG = 0x08
_NEXT_TAGS = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA})


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node: the names of its inputs and outputs, and its attributes of numbers and text.

    Attributes:
        operator: The operator's name in ONNX; `domain::name` in another domain.
        inputs, outputs: Names; empty for one that is left out.
        ints: Attributes of one or several integers.
        floats: Attributes of one float, as such or in a tensor.
        strings: Attributes of one string.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ints: Mapping[str, tuple[int, ...]]
    floats: Mapping[str, float]
    strings: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.operator} {printable(self.outputs[0])!r}" if self.outputs else self.operator


@dataclass(frozen=True, slots=True)
class _Stored:
    """The place of a tensor's values: `data`, a view of a file, or else the typed field of its message."""

    dtype: np.dtype[Any]
    data: Buffer | None
    message: Message


def is_onnx(path: Path) -> bool:
    head = read_head(path)
    return len(head) > 2 and head[0] == _IR_VERSION_TAG and 3 <= head[1] <= 0x7F and head[2] in _NEXT_TAGS


class OnnxCheckpoint(Checkpoint):
    """The initializers of a model, and its nodes in order.

    Attributes:
        nodes: The nodes of the main graph, without `Constant` nodes: these are initializers, by their outputs' names.
        inputs: The names of the graph's inputs that are not initializers.
        input_shape: The first input's shape, with None for an open length; empty if the model states none.
        numbers: The plain numbers of `Constant` nodes, by their outputs' names; these are not tensors.
    """

    format: ClassVar[str] = "ONNX"
    is_graph: ClassVar[bool] = True
    nodes: tuple[OnnxNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    opset: int
    numbers: Mapping[str, tuple[float, ...]]

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        self._stored: dict[str, _Stored] = {}
        self._external: dict[str, CheckedFile] = {}
        model = Message(self._file.view, self._file.error)
        if not model.int64(1) or not model.all_bytes(8):
            raise self._file.error("not an ONNX model")
        graph = model.message(7)
        for tensor in graph.messages(5):
            self._keep(_text(tensor, 8), tensor)
        nodes = []
        numbers: dict[str, tuple[float, ...]] = {}
        for node in graph.messages(1):
            if _text(node, 4) == "Constant":
                self._keep_constant(node, numbers)
            else:
                nodes.append(self._node(node))
        self.nodes, self.numbers = tuple(nodes), numbers
        inputs = [value for value in graph.messages(11) if _text(value, 1) not in self._infos]
        self.inputs = tuple(_text(value, 1) for value in inputs)
        self.outputs = tuple(_text(value, 1) for value in graph.messages(12))
        self.input_shape = _shape(inputs[0]) if inputs else ()
        versions = (row.int64(2) for row in model.messages(8) if _text(row, 1) in _OWN_DOMAINS)
        self.opset = next(versions, 1)
        self._files += self._external.values()

    def _node(self, node: Message) -> OnnxNode:
        ints: dict[str, tuple[int, ...]] = {}
        floats: dict[str, float] = {}
        strings: dict[str, str] = {}
        for attribute in node.messages(5):
            name = _text(attribute, 1)
            kind = attribute.int64(20)
            if kind == 1:
                floats[name] = _float(attribute)
            elif kind == 2:
                ints[name] = (attribute.int64(3),)
            elif kind == 3:
                strings[name] = _text(attribute, 4)
            elif kind == 4 and (number := self._number(attribute.message(5))) is not None:
                floats[name] = number
            elif kind == 7:
                ints[name] = attribute.int64s(8)
        operator, domain = _text(node, 4), _text(node, 7)
        operator = operator if domain in _OWN_DOMAINS else f"{domain}::{operator}"
        return OnnxNode(operator, _texts(node, 1), _texts(node, 2), ints, floats, strings)

    def _number(self, tensor: Message) -> float | None:
        """The number in a tensor of one element; None for any other tensor."""
        dtype = _DATA_TYPES.get(tensor.int64(2))
        if dtype is None or tensor.int64s(1) not in ((), (1,)):
            return None
        raw = tensor.bytes(9)
        if raw is not None and len(raw) != dtype.itemsize:
            return None
        values = self._typed(dtype, tensor) if raw is None else np.frombuffer(raw, dtype)
        return float(values[0]) if values.size == 1 else None

    def _keep_constant(self, node: Message, numbers: dict[str, tuple[float, ...]]) -> None:
        names = _texts(node, 2)
        for attribute in node.messages(5) if names else ():
            match _text(attribute, 1):
                case "value" if attribute.all_bytes(5):
                    self._keep(names[0], attribute.message(5))
                case "value_int":
                    numbers[names[0]] = (attribute.int64(3),)
                case "value_ints":
                    numbers[names[0]] = attribute.int64s(8)
                case "value_float":
                    numbers[names[0]] = (_float(attribute),)

    def _keep(self, name: str, tensor: Message) -> None:
        """Adds a tensor to the directory, without reading its values."""
        number, shape = tensor.int64(2), tensor.int64s(1)
        dtype = _DATA_TYPES.get(number)
        if dtype is None:
            self._list(name, Unread(_OTHER_TYPES.get(number, f"of data type {number}"), shape))
            return
        size = self._file.tensor_bytes(shape, dtype, name)
        self._add(name, shape, dtype)
        data = self._external_data(name, tensor) if tensor.int64(14) == 1 else tensor.bytes(9)
        if data is not None and len(data) != size:
            raise self._file.error(f"{len(data)} bytes are stored where the shape asks for {size}", name)
        self._stored[name] = _Stored(dtype, data, tensor)

    def _external_data(self, name: str, tensor: Message) -> memoryview:
        entries = {_text(entry, 1): _text(entry, 2) for entry in tensor.messages(13)}
        location = entries.get("location", "")
        folder = self._file.path.resolve().parent
        # No system call takes a null byte, not even to resolve a path.
        path = folder if "\0" in location else (folder / location).resolve()
        if Path(location).is_absolute() or path == folder or not path.is_relative_to(folder):
            raise self._file.error(f"external data at {printable(location)!r}, outside the model's folder", name)
        if location not in self._external:
            self._external[location] = CheckedFile(path)
        file = self._external[location]
        numbers = [entries.get("offset", "0"), entries.get("length", str(file.size))]
        if not all(number.isdecimal() and len(number) < 20 for number in numbers):
            raise self._file.error("the place of the external data is not a number", name)
        return file.part(int(numbers[0]), int(numbers[1]), name)

    def _read(self, name: str) -> NDArray[Any]:
        stored, shape = self._stored[name], self._infos[name].shape
        if stored.data is not None:
            return contiguous(np.frombuffer(stored.data, np.uint8), stored.dtype, shape)
        values = self._typed(stored.dtype, stored.message)
        if values.size != math.prod(shape):
            raise self._file.error(f"{values.size} values are stored where the shape asks for {math.prod(shape)}", name)
        return values.reshape(shape)

    def _typed(self, dtype: np.dtype[Any], message: Message) -> NDArray[Any]:
        """The values of a message's typed field; onnx.proto assigns a field to each type."""
        if dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            field = _FLOAT_DATA if dtype == np.float32 else _DOUBLE_DATA
            packed = b"".join(bytes(part) for part in message.all_bytes(field))
            if len(packed) % dtype.itemsize:
                raise self._file.error("the typed values are truncated")
            return np.frombuffer(packed, dtype.newbyteorder("<")).astype(dtype)
        if dtype == np.int64:
            return np.array(message.int64s(_INT64_DATA), np.int64)
        if dtype in (np.dtype(np.uint32), np.dtype(np.uint64)):
            return np.array([value & (1 << 64) - 1 for value in message.int64s(_UINT64_DATA)], np.uint64).astype(dtype)
        numbers = np.array(message.int64s(_INT32_DATA), np.int64)
        halves = dtype in (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
        return numbers.astype(np.uint16).view(dtype) if halves else numbers.astype(dtype)


def _text(message: Message, number: int) -> str:
    return bytes(message.bytes(number) or b"").decode(errors="replace")


def _texts(message: Message, number: int) -> tuple[str, ...]:
    return tuple(bytes(part).decode(errors="replace") for part in message.all_bytes(number))


def _float(attribute: Message) -> float:
    (value,) = struct.unpack("<f", attribute.fixed32(2).to_bytes(4, "little"))
    return float(value)


def _shape(value: Message) -> tuple[int | None, ...]:
    """The shape of a graph's input, with None for an open length."""
    axes = value.message(2).message(1).message(2).messages(1)
    return tuple(axis.int64(1) or None for axis in axes)

"""Frozen TensorFlow graphs (``.pb``): the constants of a ``GraphDef`` by the names of their nodes.

GraphDef { node = 1 { name = 1, op = 2, input = 3, attr = 5 { key = 1, value = 2 { tensor = 8 } } } } (``graph.proto``).
A TensorProto { dtype = 1, tensor_shape = 2, tensor_content = 4 } has its values there or in the field of their type; in
the latter the last value stands for all missing ones. The message is read straight from the memory map.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, Unread
from resnet_compile.checkpoints.checked_file import CheckedFile, read_head
from resnet_compile.checkpoints.tensorflow.frozen_names import USES, Use, is_read, variable_names
from resnet_compile.checkpoints.tensorflow.tensor_proto import FIXED_WIDTH, STRINGS, field_of, typed_values
from resnet_compile.checkpoints.tensorflow.types import DATA_TYPES, other_type, read_shape, read_text
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import BYTES, Buffer, Fail, Message, fields, read_varint

_NODE, _NAME, _OP = b"\x0a", b"\x0a", b"\x12"
_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp"})
# One value may stand for a whole tensor. A tensor larger than any layer's is taken for an attack.
_MAX_REPEATED = 16 << 20


class _Constant(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    tensor: Message


def is_frozen_graph(path: Path) -> bool:
    """Whether the file begins like a graph: with a node that begins with its name and its operator."""
    head = read_head(path)
    try:
        if head[:1] != _NODE:
            return False
        _, at = read_varint(head, 1, len(head), CheckpointError)
        for tag, pattern in ((_NAME, rb"[\w.>][\w.>/\\-]*"), (_OP, rb"\w[\w>.]*")):
            if head[at : at + 1] != tag:
                return False
            size, at = read_varint(head, at + 1, len(head), CheckpointError)
            if not re.fullmatch(pattern, head[at : at + size]):
                return False
            at += size
    except CheckpointError:
        return False
    return True


class FrozenGraphCheckpoint(Checkpoint):
    """The constants of a graph. The format has no checksums.

    An `Identity` that reads one, such as `conv2d/kernel/read`, is a second name for it. A constant with the name of a
    variable's read gets the variable's name (`frozen_names`).
    """

    format: ClassVar[str] = "TensorFlow frozen graph"
    is_graph: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        self._constants: dict[str, _Constant] = {}
        found: dict[str, _Constant | Unread] = {}
        reads: dict[str, str] = {}
        uses = []
        operators = set()
        for number, wire, content in fields(self._file.view, self._file.error):
            if (number, wire) != (1, BYTES) or isinstance(content, int):
                continue
            node = Message(content, self._file.error)
            name = read_text(node.bytes(1), self._file.error)
            operator = node.text(2)
            operators.add(operator)
            if operator == "Const":
                if name in found:
                    raise self._file.error("two nodes of one name", name)
                found[name] = self._constant(name, node)
            elif operator == "Identity" and (inputs := node.all_bytes(3)):
                reads[name] = read_text(inputs[0], self._file.error).removesuffix(":0")
            elif operator in USES:
                inputs = node.all_bytes(3)
                uses.append(Use(name, operator, tuple(read_text(each, self._file.error) for each in inputs)))
        if not operators:
            raise self._file.error("not a TensorFlow graph: it has no nodes")
        if variables := sorted(operators & _VARIABLES):
            raise self._file.error(
                f"the graph is not frozen: its {variables[0]} nodes have their values in a checkpoint",
                hint="give that checkpoint, its prefix or the SavedModel's folder",
            )
        names = {constant: name for constant, name in variable_names(uses, reads).items() if name not in found}
        for name, constant in found.items():
            self._enter(names.get(name, name), constant)
        for name, source in reads.items():
            if source in found and name not in found and source not in names and not is_read(name):
                self._enter(name, found[source])

    def _enter(self, name: str, constant: _Constant | Unread) -> None:
        if isinstance(constant, Unread):
            self._list(name, constant)
        else:
            self._add(name, constant.shape, constant.dtype)
            self._constants[name] = constant

    def _constant(self, name: str, node: Message) -> _Constant | Unread:
        """A constant, its claims checked and its values unread."""
        fail = self._file.at(name)
        values = (entry.message(2) for entry in node.messages(5) if entry.text(1) == "value")
        tensor = next(values, Message(b"", fail)).message(8)
        number, shape = tensor.int64(1), read_shape(tensor.message(2), fail)
        dtype = DATA_TYPES.get(number)
        if dtype is None:
            return Unread(f"of type {other_type(number)}", shape)
        size = self._file.tensor_bytes(shape, dtype, name)
        content = tensor.bytes(4)
        if content and len(content) != size and not dtype.hasobject:
            raise fail(f"{len(content)} bytes are stored where the shape asks for {size}")
        if not content and size > max(_MAX_REPEATED, self._file.size):
            raise fail(f"a few values claim to fill {size} bytes: refused")
        return _Constant(dtype, shape, tensor)

    def _read(self, name: str) -> NDArray[Any]:
        constant = self._constants[name]
        dtype, shape, tensor = constant
        content = tensor.bytes(4)
        if content and not dtype.hasobject:
            return np.frombuffer(content, dtype).reshape(shape)
        fail, count = self._file.at(name), math.prod(shape)
        if not count:
            return np.empty(shape, dtype)
        stored = _stored(tensor, dtype, fail)
        if stored > count:
            raise fail(f"{stored} values are stored where the shape asks for {count}")
        # Missing values are zeros, as everywhere in protobuf.
        values = typed_values(tensor, dtype, stored, fail) if stored else np.array([b"" if dtype.hasobject else 0])
        return np.pad(values.astype(dtype), (0, count - max(stored, 1)), "edge").reshape(shape)


def _stored(tensor: Message, dtype: np.dtype[Any], fail: Fail) -> int:
    """The number of values in the field of a type."""
    if dtype.hasobject:
        return len(tensor.all_bytes(STRINGS))
    if not (field := field_of(dtype)):
        raise fail(f"values of {dtype.name} are read from tensor_content alone")
    packed: Buffer = tensor.bytes(field) or b""
    if field in FIXED_WIDTH:
        return -(-len(packed) // dtype.itemsize)
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < 0x80)) if len(packed) else 0

"""Reading what an ONNX file says of itself, without its weights.

The file is walked field by field in protobuf's wire format; the graph's initializers are stepped over, so a model of
gigabytes is read in milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from resnet_compile.errors import ModelFileError

# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
# Nothing but weights is larger in any model that this package makes.
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    begin: int  # of the tag
    content: int  # of what a length-delimited field holds
    end: int


def read_skeleton(path: Path) -> onnx.ModelProto:
    """The model in a file, without its initializers.

    Raises:
        ModelFileError: The file cannot be read or is no ONNX model.
    """
    try:
        with path.open("rb") as file:
            return _skeleton(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ModelFileError(f"cannot read the model: {error.strerror}", where=str(path)) from None
    except (DecodeError, ValueError, EOFError):
        raise ModelFileError("not an ONNX model", where=str(path)) from None


def _skeleton(file: BinaryIO, size: int) -> onnx.ModelProto:
    model_wire, graph_wire = bytearray(), bytearray()
    for field in _fields(file, 0, size):
        if field.number != _MODEL_GRAPH:
            model_wire += _read(file, field)
            continue
        for inner in _fields(file, field.content, field.end):
            if inner.number != _GRAPH_INITIALIZER:
                graph_wire += _read(file, inner)
    model = onnx.ModelProto()
    model.ParseFromString(bytes(model_wire))
    model.graph.MergeFromString(bytes(graph_wire))
    if not model.ir_version or not model.opset_import:
        raise ValueError("no IR version or no opset")
    return model


def _fields(file: BinaryIO, begin: int, end: int) -> Iterator[_Field]:
    """The fields between two positions; ValueError where they do not fill it exactly."""
    while begin < end:
        file.seek(begin)
        tag = _varint(file)
        content = file.tell()
        match tag & 7:
            case 0:  # a varint
                _varint(file)
                after = file.tell()
            case 1:  # 64 bits
                after = content + 8
            case 2:  # a length and so many bytes
                length = _varint(file)
                content = file.tell()
                after = content + length
            case 5:  # 32 bits
                after = content + 4
            case _:
                raise ValueError("a wire type that no message has")
        if after > end:
            raise ValueError("a field that ends after its message")
        yield _Field(tag >> 3, begin, content, after)
        begin = after


def _varint(file: BinaryIO) -> int:
    number = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
    raise ValueError("a varint of more than ten bytes")


def _read(file: BinaryIO, field: _Field) -> bytes:
    if field.end - field.begin > _MOST_BYTES:
        raise ValueError("a field too large to be anything but weights")
    file.seek(field.begin)
    return file.read(field.end - field.begin)

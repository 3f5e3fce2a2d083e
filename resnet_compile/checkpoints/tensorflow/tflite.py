"""TensorFlow Lite models (``.tflite``): the constants of their graphs by the names of their tensors.

Field numbers of TensorFlow's ``schema.fbs``: Model { subgraphs = 2, buffers = 4 }, SubGraph { tensors = 0, name = 4 },
Tensor { shape = 0, type = 1, buffer = 2, name = 3, quantization = 4, sparsity = 6 }, QuantizationParameters { scale = 2
}, Buffer { data = 0, offset = 1, size = 2 }. A tensor that is computed has a buffer without data. In a file of more
than 2 GB the data follow the tables, at `offset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import QUANTISED, Checkpoint, Unread, numbered
from resnet_compile.checkpoints.checked_file import MAX_RANK, CheckedFile, contiguous, read_head
from resnet_compile.checkpoints.flatbuffer import FlatTable

_IDENTIFIER = b"TFL3"
_MODEL_SUBGRAPHS, _MODEL_BUFFERS = 2, 4
_SUBGRAPH_TENSORS, _SUBGRAPH_NAME = 0, 4
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION, _SPARSITY = 0, 1, 2, 3, 4, 6
_SCALE = 2
_DATA, _OFFSET, _SIZE = 0, 1, 2
# TensorType by number; those without a dtype are listed.
_TYPES: Mapping[int, np.dtype[Any] | str] = {
    **numbered("float32 float16 int32 uint8 int64 - bool int16 complex64 int8 float64 complex128 uint64"),
    **numbered("uint32 uint16 - bfloat16", first=15),
    5: "string",
    13: "resource",
    14: "variant",
    17: "int4",
}
_MAX_TENSORS = 100_000
_MAX_NAME = 4096  # of one tensor: fused layers concatenate their names
_MAX_CHARACTERS = 32 << 20  # of all
_SOURCE = "give the SavedModel, checkpoint or Keras file that it was made from"
_FOLDED = (
    "TensorFlow Lite folds batch norms into convolutions, so that a network's own parameters are not in its file: "
    + _SOURCE
)


def is_tflite(path: Path) -> bool:
    return read_head(path)[4:8] == _IDENTIFIER


class TensorFlowLiteCheckpoint(Checkpoint):
    """The constants of a model, as views of the map; constants of further subgraphs are below the subgraph's name.

    The format has no checksums. Quantised and sparse tensors are listed, not read. If tensors share a name, all except
    the first get their number in the subgraph as a suffix.
    """

    format: ClassVar[str] = "TensorFlow Lite"
    is_graph: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        if self._file.copy(0, min(8, self._file.size), "the head")[4:] != _IDENTIFIER:
            raise self._file.error("not a TensorFlow Lite model")
        self.notes = (_FOLDED,)
        self._places: dict[str, tuple[np.dtype[Any], int, int]] = {}
        model = FlatTable(self._file, int.from_bytes(self._file.part(0, 4, "the root table"), "little"))
        _, count = model.vector(_MODEL_BUFFERS, 4)
        if count > _MAX_TENSORS:
            raise self._file.error(f"{count} buffers, more than the {_MAX_TENSORS} that are allowed")
        buffers = [self._buffer(buffer) for buffer in model.tables(_MODEL_BUFFERS)]
        left, characters = _MAX_TENSORS, _MAX_CHARACTERS
        for number, subgraph in enumerate(model.tables(_MODEL_SUBGRAPHS)):
            scope = f"{subgraph.text(_SUBGRAPH_NAME, _MAX_NAME) or number}/" if number else ""
            for index, tensor in enumerate(subgraph.tables(_SUBGRAPH_TENSORS)):
                name = scope + tensor.text(_NAME, _MAX_NAME)
                left, characters = left - 1, characters - len(name)
                if min(left, characters) < 0:
                    raise self._file.error(f"more than {_MAX_TENSORS} tensors, or names that are too long")
                self._keep(name, index, tensor, buffers)

    def _buffer(self, buffer: FlatTable) -> tuple[int, int]:
        """The position and the number of a buffer's bytes."""
        if offset := buffer.number(_OFFSET, 8):
            size = buffer.number(_SIZE, 8)
            if offset > 1:  # 1 is a placeholder of the writer
                self._file.part(offset, size, "a buffer")
                return offset, size
        return buffer.vector(_DATA, 1)

    def _keep(self, name: str, index: int, tensor: FlatTable, buffers: list[tuple[int, int]]) -> None:
        """Adds a tensor to the directory if it is a constant."""
        buffer = tensor.number(_BUFFER, 4)
        if buffer >= len(buffers):
            raise self._file.error(f"the tensor is in buffer {buffer} of {len(buffers)}", name)
        start, size = buffers[buffer]
        if not size:
            return
        if name in self or name in self.unread:
            name = f"{name}:{index}"
        shape = tensor.numbers(_SHAPE, MAX_RANK)
        number = tensor.number(_TYPE, 1)
        dtype = _TYPES.get(number, f"TensorType {number}")
        quantization = tensor.table(_QUANTIZATION)
        if quantization and quantization.vector(_SCALE, 4)[1]:
            self._list(name, Unread(QUANTISED, shape, _SOURCE))
        elif tensor.table(_SPARSITY):
            self._list(name, Unread("sparse", shape, _SOURCE))
        elif isinstance(dtype, str):
            self._list(name, Unread(f"of type {dtype}", shape))
        else:
            claimed = self._file.tensor_bytes(shape, dtype, name)
            if claimed != size:
                raise self._file.error(f"{size} bytes are stored where the shape asks for {claimed}", name)
            self._add(name, shape, dtype, (buffer, dtype, shape))
            self._places[name] = dtype, start, size

    def _read(self, name: str) -> NDArray[Any]:
        dtype, start, size = self._places[name]
        return contiguous(self._file.array(start, size, "a buffer"), dtype, self._infos[name].shape)

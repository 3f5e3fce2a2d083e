"""safetensors files, alone or as shards named by an index.

Layout: a little-endian u64, the header's length; the header, JSON; the tensors' bytes, little-endian, C order. Offsets
count from the header's end. The format requires that the tensors cover the rest of the file without gaps or overlaps.
The `safetensors` package is not used: it has no numpy type for bfloat16 and the 4- and 8-bit floats, and accepts a JSON
header with a tensor name twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.base import Checkpoint, Unread
from resnet_compile.checkpoints.checked_file import MAX_JSON, CheckedFile, contiguous, printable, read_head

_METADATA = "__metadata__"
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),  # PyTorch's e4m3, without infinities
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "F4": np.dtype(ml_dtypes.float4_e2m1fn),
}
_FOUR_BITS = "F4"


def is_safetensors(path: Path) -> bool:
    """Whether the file begins with a header length and the brace of a JSON header."""
    head = read_head(path)
    # No header has 2**32 bytes or more, so four zero bytes precede the brace; no other format begins so.
    return len(head) >= 9 and head[4:9] == b"\0\0\0\0{"


def is_safetensors_index(path: Path) -> bool:
    """Whether the file looks like the JSON index of sharded safetensors (`*.safetensors.index.json`)."""
    head = read_head(path)
    return head.lstrip().startswith(b"{") and b'"weight_map"' in head and b".weights.h5" not in head  # Keras's shards


@dataclass(frozen=True, slots=True)
class _Claim:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsCheckpoint(Checkpoint):
    """The tensors of one safetensors file, as views of its map. The format has no checksums."""

    format: ClassVar[str] = "safetensors"

    def __init__(self, path: Path) -> None:
        super().__init__(CheckedFile(path))
        header_size = int.from_bytes(self._file.copy(0, 8, "the header's length"), "little")
        if header_size > MAX_JSON:
            raise self._file.error(f"the header claims {header_size} bytes; {MAX_JSON} are allowed")
        if header_size + 8 > self._file.size:
            raise self._file.cut_off(f"more than {header_size + 8}")
        header = self._file.json(self._file.copy(8, header_size, "the header"))
        self._start = 8 + header_size
        self._entries = {name: self._parse(name, value) for name, value in header.items() if name != _METADATA}
        self._check_cover()
        for name, entry in self._entries.items():
            if entry.dtype in _DTYPES:
                self._add(name, entry.shape, _DTYPES[entry.dtype])
            else:
                self._list(name, Unread(f"of type {printable(entry.dtype[:40])}", entry.shape))

    def _parse(self, name: str, value: object) -> _Claim:
        if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
            raise self._file.error("a header entry must have dtype, shape and data_offsets, and nothing else", name)
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str):
            raise self._file.error("the dtype is not a string", name)
        if not isinstance(shape, list):
            raise self._file.error("the shape is not a list of sizes", name)
        if not isinstance(offsets, list) or len(offsets) != 2 or any(type(offset) is not int for offset in offsets):
            raise self._file.error("data_offsets must be two integers", name)
        begin, end = offsets
        claimed = self._file.tensor_bytes(shape, _DTYPES.get(dtype, np.dtype(np.uint8)), name)
        if dtype == _FOUR_BITS:
            if claimed % 2:
                raise self._file.error(f"{claimed} values of 4 bits do not fill whole bytes", name)
            claimed //= 2
        if dtype not in _DTYPES:  # 6-bit floats, whose packing the format does not specify, and future types
            claimed = max(end - begin, 0)
        if end - begin != claimed:
            raise self._file.error(f"the shape takes {claimed} bytes, data_offsets give {end - begin}", name)
        return _Claim(dtype, tuple(shape), begin, end)

    def _check_cover(self) -> None:
        """Checks that the tensors follow each other without gaps or overlaps, up to the end of the file."""
        position = 0
        for name, entry in sorted(self._entries.items(), key=lambda item: (item[1].begin, item[1].end)):
            if entry.begin != position:
                what = "overlaps the one before it" if entry.begin < position else "leaves a gap before it"
                raise self._file.error(f"the tensor {what}", name)
            position = entry.end
        if self._start + position != self._file.size:
            held = self._file.size - self._start
            if held < position:
                raise self._file.cut_off(str(self._start + position))
            raise self._file.error(f"the header describes {position} bytes of tensors, the file holds {held}")

    def _read(self, name: str) -> NDArray[Any]:
        entry = self._entries[name]
        data = self._file.array(self._start + entry.begin, entry.end - entry.begin, "a tensor")
        if entry.dtype == _FOUR_BITS:  # two values a byte, the first in the low half, as PyTorch packs them
            data = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)
        return contiguous(data, _DTYPES[entry.dtype], entry.shape)


class ShardedSafetensorsCheckpoint(Checkpoint):
    """The tensors of several safetensors files; the index's `weight_map` assigns each to one of them."""

    format: ClassVar[str] = "safetensors, sharded"

    def __init__(self, path: Path) -> None:
        index = CheckedFile(path)
        super().__init__(index)
        if index.size > MAX_JSON:
            raise index.error(f"the index takes {index.size} bytes; {MAX_JSON} are allowed")
        weight_map = index.json(bytes(index.view)).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise index.error("the index has no weight_map")
        self._shards: dict[str, SafetensorsCheckpoint] = {}
        for name, file_name in weight_map.items():
            # Anything but a plain file name could lead out of the index's folder.
            if not isinstance(file_name, str) or file_name in ("", ".", "..") or set(file_name) & set("/\\:\0"):
                raise index.error("the shard must be a plain file name", name)
            if file_name not in self._shards:
                self._shards[file_name] = SafetensorsCheckpoint(path.with_name(file_name))
                self._files += self._shards[file_name]._files
            if unread := self._shards[file_name].unread.get(name):
                self._list(name, unread)
            elif name in self._shards[file_name]:
                self._infos[name] = self._shards[file_name].info(name)
            else:
                raise index.error(f"{printable(file_name)} lacks the tensor that the index puts there", name)
        for file_name, shard in self._shards.items():
            for name in (*shard, *shard.unread):
                if weight_map.get(name) != file_name:
                    raise index.error(f"{printable(file_name)} holds a tensor that the index does not put there", name)
        self._weight_map: dict[str, str] = weight_map

    def _read(self, name: str) -> NDArray[Any]:
        return self._shards[self._weight_map[name]][name]

"""What every checkpoint reader is: a read-only mapping from tensor names to arrays, read lazily."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The type of one stored tensor: `dtype` is numpy's name, ``bfloat16`` (by ml_dtypes) or ``string``."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int | None:
        """Bytes of the values as an array; None for strings, whose length only reading tells."""
        if self.dtype == "string":
            return None
        item = np.dtype(ml_dtypes.bfloat16) if self.dtype == "bfloat16" else np.dtype(self.dtype)
        return math.prod(self.shape) * item.itemsize


class Checkpoint(Mapping[str, NDArray[Any]]):
    """A checkpoint file, or the files that make one up, as a mapping from tensor name to array.

    Opening it reads and checks the directory of tensors; a tensor's values are read, and their checksum verified where
    the format has one, when its name is looked up. Arrays may be read-only views of a memory map. Names iterate in the
    file's order. Damage raises `CheckpointError`, at opening or at look-up, and nothing else does but `KeyError`.

    Attributes:
        format: The format's name, as `resnet-inspect` prints it.
        files: The files read, the first of which is the one that was named.
    """

    format: ClassVar[str]
    files: tuple[Path, ...]

    @abstractmethod
    def info(self, name: str) -> TensorInfo:
        """The dtype and shape of a tensor, without reading its values; `KeyError` where there is none."""

    @abstractmethod
    def close(self) -> None:
        """Release the files; arrays handed out stay valid."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

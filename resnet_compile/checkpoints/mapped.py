"""Files as read-only memory maps, and CRC-32C over them."""

from __future__ import annotations

import stat
from pathlib import Path

import google_crc32c
import numpy as np

from resnet_compile import files
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Buffer


def is_file(path: Path) -> bool:
    """Whether `path` is a regular file; False, not an exception, for a path that no system call takes."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False, not an exception, for a path that no system call takes."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return 0


def map_file(path: Path) -> memoryview:
    """The bytes of a regular file as a read-only view, valid for as long as the view or an array over it lives.

    Raises:
        CheckpointError: The file cannot be read, or is a pipe, a device or a directory.
    """
    try:
        return files.map_file(path)
    except FileNotFoundError as error:
        raise CheckpointError("no such file", where=str(path)) from error
    except OSError as error:
        raise CheckpointError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise CheckpointError(f"the file cannot be mapped: {error}", where=repr(str(path))) from error


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from the checksum `crc` of what stands before it."""
    if not len(data):
        return crc
    # google-crc32c takes no memoryview, but it takes an array over one, which copies nothing.
    return int(google_crc32c.extend(crc, np.frombuffer(data, np.uint8)))


def masked_crc32c(data: Buffer, crc: int = 0) -> int:
    """`crc32c` in the form that LevelDB tables and tensor bundles store, so that checksums are not checksummed."""
    return mask_crc32c(crc32c(data, crc))


def mask_crc32c(crc: int) -> int:
    """A checksum rotated right by 15 bits, plus 0xa282ead8 (LevelDB's ``util/crc32c.h``)."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

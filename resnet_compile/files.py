"""Writing files that appear whole or not at all, and mapping files into memory."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from resnet_compile.errors import OptionError, OutputError


def as_path(path: object) -> Path:
    """An argument as a path.

    Raises:
        OptionError: The argument is not a path.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise OptionError(f"must be a path, got {type(path).__name__}")
    text = os.fsdecode(path)
    if "\0" in text:
        raise OptionError("a path cannot have null characters", where=repr(text))
    return Path(text)


@contextlib.contextmanager
def writing(path: Path, problem: str = "cannot write") -> Iterator[None]:
    """Turns an OSError in the block into an `OutputError` about the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{problem}: {error.strerror or error}", where=str(path)) from None


class _Output(io.FileIO):
    """The temporary file beside `path`; its errors name `path`."""

    def __init__(self, part: Path, path: Path) -> None:
        with writing(path, "cannot write here"):
            super().__init__(part, "xb")
        self._path = path

    def write(self, data: Any) -> int:
        with writing(self._path):
            return super().write(data)

    def close(self) -> None:
        with writing(self._path):
            super().close()


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write that replaces `path` when the block ends, and is deleted when the block raises.

    It is written in the folder of `path`, so that one rename puts it in place. A symbolic link is followed, and a
    replaced file keeps its permissions. Exceptions of the block pass unchanged.

    Args:
        path: The file.
        durable: Flush to the disk before the rename, so that a power failure leaves the new file or the old one.

    Raises:
        OptionError: The path names something that is not a regular file.
        OutputError: The path cannot be written.
    """
    target = Path(os.path.realpath(path))
    permissions = _permissions(target, path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    # The name is chosen before the file is made: an interrupt at any moment finds it here, to be removed.
    try:
        with io.BufferedWriter(_Output(part, path)) as file:
            yield file
            if durable:
                file.flush()
                with writing(path):
                    os.fsync(file.fileno())
        with writing(path):
            if permissions is not None:
                part.chmod(permissions)
            part.replace(target)
        if durable:
            _to_disk(target.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _to_disk(folder: Path) -> None:
    """Flushes a folder, so that a rename in it lasts. Windows cannot open folders, and does this by itself."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _permissions(target: Path, path: Path) -> int | None:
    """The permissions of the file that will be replaced; None for a new file."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(path)) from None
    if stat.S_ISDIR(mode):
        raise OptionError("is a directory", where=str(path), hint="name a file in it")
    if not stat.S_ISREG(mode):
        raise OptionError("is not a regular file", where=str(path))
    return stat.S_IMODE(mode)


def map_file(path: Path) -> memoryview:
    """The bytes of a regular file as a read-only view, valid for as long as the view or an array over it lives.

    Raises:
        OSError: The file cannot be read, or is a pipe, a device or a directory.
    """
    # Checked before opening, because opening a pipe waits for its other end.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        if status.st_size == 0:  # the system refuses to map an empty file
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

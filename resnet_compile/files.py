"""Writing files so that they appear whole or not at all, and reading them in place."""

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
    """An argument that names a file or a folder.

    Raises:
        OptionError: It is no path.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise OptionError(f"must be a path, not {type(path).__name__}")
    text = os.fsdecode(path)
    if "\0" in text:
        raise OptionError("a path has no null characters", where=repr(text))
    return Path(text)


@contextlib.contextmanager
def writing(path: Path, problem: str = "cannot write") -> Iterator[None]:
    """Says of an OSError in the block that the file could not be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{problem}: {error.strerror or error}", where=str(path)) from None


class _Output(io.FileIO):
    """The file beside `path`, whose errors say that `path` cannot be written."""

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
    """A file to write that takes the path's place when the block ends well, and vanishes when it does not.

    It is written beside the path, so that putting it in place is one rename. A symbolic link is followed, and a file
    that is replaced keeps its permissions. Whatever else goes wrong in the block comes out as it is.

    Args:
        path: The file's.
        durable: Bring it to the disk before it takes its place, so that a machine that stops leaves it or what was
            there before.

    Raises:
        OptionError: The path names something that is no regular file.
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
    """Makes a rename last. Windows, which opens no folders, does it by itself."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _permissions(target: Path, path: Path) -> int | None:
    """Those of the file that will be replaced; None where there is none yet."""
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
    # Looked at before it is opened, because opening a pipe waits for its other end.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        if status.st_size == 0:  # which the system refuses to map
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

"""Writing files so that they appear whole or not at all, and reading them in place."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from resnet_compile.errors import OptionError, OutputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the path's place when the block ends well, and vanishes when it does not.

    It is written beside the path, so that putting it in place is one rename. A symbolic link is followed, and a file
    that is replaced keeps its permissions.

    Raises:
        OptionError: The path names something that is no regular file.
        OutputError: The path cannot be written.
    """
    target = Path(os.path.realpath(path))
    permissions = _permissions(target, path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    writing = False
    # The name is chosen before the file is made: an interrupt at any moment finds it here, to be removed.
    try:
        with part.open("xb") as file:
            writing = True
            yield file
        if permissions is not None:
            part.chmod(permissions)
        part.replace(target)
    except OSError as error:
        problem = "cannot write" if writing else "cannot write here"
        raise OutputError(f"{problem}: {error.strerror or error}", where=str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


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

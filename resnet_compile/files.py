"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from resnet_compile.errors import OptionError, OutputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the path's place when the block ends well, and vanishes when it does not.

    It is written beside the path, so that putting it in place is one rename. A symbolic link is followed, and a new
    file gets the permissions that any program's would.

    Raises:
        OptionError: The path names something that is no regular file.
        OutputError: The path cannot be written.
    """
    target = Path(os.path.realpath(path))
    _require_replaceable(target, path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).chmod(_permissions(target))
        Path(name).replace(target)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}", where=str(path)) from None
    finally:
        Path(name).unlink(missing_ok=True)


def _require_replaceable(target: Path, path: Path) -> None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(path)) from None
    if stat.S_ISDIR(mode):
        raise OptionError("is a directory", where=str(path), hint="name a file in it")
    if not stat.S_ISREG(mode):
        raise OptionError("is not a regular file", where=str(path))


def _permissions(target: Path) -> int:
    """The target's own permissions, or those of a file that is created plainly."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask

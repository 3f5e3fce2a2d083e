"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import contextlib
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

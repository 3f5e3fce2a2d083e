"""Finding the image files of a list of paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from resnet_compile.errors import UsageError


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Expands folders to the images in them, at any depth, in the order of their names.

    Other paths are kept, whether they exist or not. In folders only files with the suffix of an image format that
    Pillow reads are taken, and hidden files and folders are skipped.

    Raises:
        UsageError: A folder cannot be listed, or holds no images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        found.extend(_in_folder(path) if path.is_dir() else [path])
    return found


def _in_folder(folder: Path) -> list[Path]:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise UsageError(f"cannot list the folder: {error.strerror}", where=error.filename) from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = sorted(name for name in files if not name.startswith("."))
        found.extend(Path(place, name) for name in visible if Path(name).suffix.lower() in readable)
    if not found:
        raise UsageError("no images in this folder", where=str(folder))
    return found

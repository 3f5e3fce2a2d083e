"""The log of a run: `log.jsonl`, one JSON object per line.

A line with `loss`, `accuracy`, `learning_rate` and `images_per_second` describes a step. A line with `best_accuracy`
describes an evaluation after a step; its `accuracy` is that of the whole test set.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resnet_compile.errors import OutputError
from resnet_compile.files import as_path, replacing
from resnet_compile.training.checkpoints import renamed

LOG = "log.jsonl"
JUDGED = "best_accuracy"
"""The key that only entries of evaluations have."""
Entry = dict[str, Any]


def read_log(folder: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a run's log in order; empty if there is no log. Reading stops at an incomplete line.

    Raises:
        OutputError: The log cannot be read.
    """
    path = as_path(folder) / LOG
    try:
        return list(_entries(path.read_bytes()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"cannot read the log: {error.strerror}", where=str(path)) from None


def _entries(text: bytes) -> Iterator[Entry]:
    for line in text.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            return
        # A line cut short by a kill may still be valid JSON, but has no line end.
        if not line.endswith(b"\n") or not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            return
        yield renamed(entry)


class RunLog:
    """Appends to the log of a run.

    Entries after the checkpoint that the run resumes from are removed, because their steps will be taken again.

    Args:
        folder: The run's folder.
        step: The checkpoint's step.
        evaluated: The step of the checkpoint's last evaluation.

    Raises:
        OutputError: The log cannot be written.
    """

    def __init__(self, folder: Path, step: int, evaluated: int) -> None:
        self._path = folder / LOG
        kept = [each for each in read_log(folder) if each["step"] <= (evaluated if JUDGED in each else step)]
        with replacing(self._path) as file:
            file.writelines(_line(entry) for entry in kept)
        with self._told():
            self._file = self._path.open("ab")

    def add(self, entry: Entry) -> None:
        """Writes one entry; raises an `OutputError` if that fails."""
        with self._told():
            self._file.write(_line(entry))
            self._file.flush()

    def to_disk(self) -> None:
        """Flushes the log to disk, so that it survives a crash of the machine."""
        with self._told():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        # A failed write was already reported by `add`.
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror or error}", where=str(self._path)) from None


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"

"""What a run tells of itself: one JSON object a line, in `log.jsonl`.

A line with `loss`, `accuracy`, `learning_rate` and `images_per_second` is of one step, one with `best_accuracy` of
an evaluation after it, `accuracy` being that of the whole test set.
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
"""What an entry of an evaluation has, and one of a step has not."""
Entry = dict[str, Any]


def read_log(folder: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a run's log in order; none where there is no log. A line that is not whole ends it.

    Raises:
        OutputError: It cannot be read.
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
        # What a kill cut short can still be JSON, but has no end of line.
        if not line.endswith(b"\n") or not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            return
        yield renamed(entry)


class RunLog:
    """The log of a run that goes on.

    Entries past the checkpoint that the run goes on from are taken back, as their steps will be taken again.

    Args:
        folder: The run's.
        step: Steps taken.
        evaluated: Steps taken at the last evaluation that the checkpoint knows of.

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
        """Writes one entry; an `OutputError` where it cannot be written."""
        with self._told():
            self._file.write(_line(entry))
            self._file.flush()

    def to_disk(self) -> None:
        """Makes what was written last, whatever happens to the machine."""
        with self._told():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        # What cannot be written has been told of when it was added.
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

"""onnxruntime's log of a piece of work. Python has no access to that log, so stderr is captured."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class CaughtLog:
    """The captured text, complete once the capture has ended."""

    text: str = ""


@contextmanager
def caught_log() -> Iterator[CaughtLog]:
    """Captures everything that this process and its libraries write to stderr. None of it appears there."""
    caught = CaughtLog()
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield caught
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            caught.text = file.read().decode("utf-8", "replace")

"""What onnxruntime writes to its log while something runs. Python cannot ask it for that, so stderr is caught."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class CaughtLog:
    """What was written; there when the catching is over."""

    text: str = ""


@contextmanager
def caught_log() -> Iterator[CaughtLog]:
    """Catches what this process writes to its stderr, libraries included, instead of letting it through."""
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

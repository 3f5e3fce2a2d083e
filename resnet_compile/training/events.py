"""Scalars in TensorBoard's event files, by the tags of the CIFAR system, where `tensorboard` is installed."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any, Self

TAGS = {
    "loss": "costs/cost",
    "learning_rate": "learning_rate",
    "accuracy": "accuracy",
    "precision": "Precision",
    "best_precision": "Best Precision",
}
"""The tag of each figure of the log. An evaluation's loss has none in the original, and gets its own."""


class EventFile:
    """An event file that is being written. `EventFile.open` makes one."""

    def __init__(self, writer: Any, proto: Any) -> None:
        self._writer = writer
        self._proto = proto

    @classmethod
    def open(cls, folder: Path, step: int) -> Self | None:
        """A new file for a run that goes on from a step; None where tensorboard is not installed."""
        try:
            # Deferred: optional, and slow to import.
            from tensorboard.compat.proto import event_pb2, summary_pb2

            # Not its EventFileWriter, whose thread loses errors, and which imports TensorFlow where it is installed.
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            return None
        now = time.time()
        name = f"events.out.tfevents.{int(now):010}.{socket.gethostname()}.{os.getpid()}.{step}"
        events = cls(RecordWriter((folder / name).open("wb")), (event_pb2.Event, summary_pb2.Summary))
        events._write(file_version="brain.Event:2")
        # Makes TensorBoard forget what an earlier file holds of later steps.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        events._write(step=step + 1, session_log=start)
        return events

    def add(self, entry: dict[str, Any]) -> None:
        """Writes the scalars of one entry of the log."""
        summary = self._proto[1]
        evaluation = "precision" in entry
        values = [
            summary.Value(tag="evaluation/loss" if evaluation and name == "loss" else tag, simple_value=entry[name])
            for name, tag in TAGS.items()
            if name in entry
        ]
        self._write(step=entry["step"], summary=summary(value=values))

    def _write(self, **what: Any) -> None:
        self._writer.write(self._proto[0](wall_time=time.time(), **what).SerializeToString())

    def flush(self) -> None:
        """Writes what is still in memory."""
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()

"""Predictions for many images as a folder of shards, so that a run can resume after any stop.

A shard is a file with a line per image, for a fixed number of images. Its name is the position of its first image, such
as ``000001000.jsonl``. It appears only when it is complete, so a killed run leaves whole shards and nothing else. The
file ``run.json`` beside the shards describes the run. Memory holds only the lines of the current shard.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from resnet_compile.errors import OptionError, UsageError
from resnet_compile.files import replacing, writing

Format = Literal["jsonl", "csv"]
SHARD = 1000
"""The number of images in a shard."""

_RUN = "run.json"


def json_line(entry: Mapping[str, Any], top: int) -> str:
    """An image's prediction as a line of JSON."""
    return json.dumps(entry) + "\n"


def csv_line(entry: Mapping[str, Any], top: int) -> str:
    """An image's prediction as a line of CSV, with the columns of `csv_header`."""
    places: Sequence[Mapping[str, Any]] = entry.get("top", ())
    cells: list[Any] = [entry["image"], entry.get("error", "")]
    for place in places:
        cells += [place["class"], place.get("label", ""), repr(place["probability"])]
    return _csv([*cells, *[""] * (2 + 3 * top - len(cells))])


def csv_header(top: int) -> str:
    """The first line of CSV: the image, its error, and for each rank the class, its label and its probability."""
    places = (f"{name}_{at}" for at in range(1, top + 1) for name in ("class", "label", "probability"))
    return _csv(["image", "error", *places])


def _csv(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


LINES: Mapping[Format, Callable[[Mapping[str, Any], int], str]] = {"jsonl": json_line, "csv": csv_line}
"""The function that writes a prediction, by format."""


class Shards:
    """Writes a folder of shards.

    Args:
        folder: The folder of the shards; created if it does not exist.
        kind: The format of the lines.
        top: The number of classes per image.
        run: The facts that must be equal for a run to resume: the model, the images, the options.
        resume: Whether to continue after the shards in the folder.

    Raises:
        UsageError: The folder has shards of another run, or of this run and `resume` is false.
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: Path, kind: Format, top: int, run: Mapping[str, Any], *, resume: bool) -> None:
        self._folder, self._kind, self._top = folder, kind, top
        self._waiting: dict[int, str] = {}
        self._lines: list[str] = []
        if folder.exists() and not folder.is_dir():
            raise OptionError("is a file, and shards go to a folder", where=str(folder))
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in folder.iterdir()}
        if _RUN in there:
            self._require_same(run, resume=resume)
        elif there:
            raise UsageError("is not empty, and no folder of answers", where=str(folder), hint="name another")
        else:
            with replacing(folder / _RUN) as file:
                file.write(json.dumps(run, indent=2).encode())
        self.done = self._first = self._counted()
        """The number of images done: these are the first of all images."""

    def _require_same(self, run: Mapping[str, Any], *, resume: bool) -> None:
        if not resume:
            raise UsageError("has answers", where=str(self._folder), hint="--resume goes on with them")
        try:
            there = json.loads((self._folder / _RUN).read_bytes())
        except (OSError, ValueError):
            raise UsageError("does not say what its run was", where=str(self._folder / _RUN)) from None
        changed = sorted(key for key in {*there, *run} if there.get(key) != run.get(key))
        if changed:
            raise UsageError(f"was made with another {', '.join(changed)}", where=str(self._folder))

    def _counted(self) -> int:
        done = 0
        while (shard := self._shard(done)).exists():
            with (
                writing(shard, "cannot read the shard"),
                shard.open(encoding="utf-8", errors="surrogateescape", newline="") as file,
            ):
                rows = sum(1 for _ in (csv.reader(file) if self._kind == "csv" else file))
            done += rows - (self._kind == "csv")
        return done

    def _shard(self, first: int) -> Path:
        return self._folder / f"{first:09}.{self._kind}"

    def add(self, position: int, entry: Mapping[str, Any]) -> None:
        """Adds the prediction for the image at a position; positions may arrive slightly out of order."""
        self._waiting[position] = LINES[self._kind](entry, self._top)
        while self.done in self._waiting:
            self._lines.append(self._waiting.pop(self.done))
            self.done += 1
            if len(self._lines) == SHARD:
                self.flush()

    def flush(self) -> None:
        """Writes the remaining lines as a shard, which may be short."""
        if self._lines:
            with replacing(self._shard(self._first), durable=True) as file:
                header = csv_header(self._top) if self._kind == "csv" else ""
                file.write("".join([header, *self._lines]).encode("utf-8", "surrogateescape"))
            self._first, self._lines = self.done, []

"""Predictions for many images as a folder of shards, so that a run can resume after any stop.

A shard is a file with a row per image, for a fixed number of images. Its name is the position of its first image, such
as ``000001000.jsonl``. It appears only when it is complete, so a killed run leaves whole shards and nothing else. The
file ``run.json`` beside the shards describes the run. Memory holds only the rows of the current shard.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from resnet_compile.errors import OptionError, UsageError
from resnet_compile.files import replacing, writing

Format = Literal["jsonl", "csv", "parquet"]
SHARD = 1000
"""The number of images in a shard."""

_RUN = "run.json"
_OF_RANK = ("class", "label", "probability")


def json_line(entry: Mapping[str, Any], top: int) -> str:
    """An image's prediction as a line of JSON."""
    return json.dumps(entry) + "\n"


def cells(entry: Mapping[str, Any], top: int) -> list[Any]:
    """An image's prediction as a row of `columns`; None for what it does not have."""
    row: list[Any] = [entry["image"], entry.get("error")]
    for place in entry.get("top", ()):
        row += [place["class"], place.get("label"), place["probability"]]
    return row + [None] * (2 + 3 * top - len(row))


def columns(top: int) -> list[str]:
    """The columns of a table: the image, its error, and for each rank the class, its label and its probability."""
    return ["image", "error", *(f"{name}_{at}" for at in range(1, top + 1) for name in _OF_RANK)]


def csv_line(cells: Sequence[Any]) -> str:
    """A row as a line of CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _write_text(file: BinaryIO, rows: Sequence[str], top: int) -> None:
    file.write("".join(rows).encode("utf-8", "surrogateescape"))


def _write_csv(file: BinaryIO, rows: Sequence[str], top: int) -> None:
    _write_text(file, [csv_line(columns(top)), *rows], top)


def _write_parquet(file: BinaryIO, rows: Sequence[Sequence[Any]], top: int) -> None:
    arrow = _pyarrow()
    text, of_rank = arrow.string(), (arrow.int64(), arrow.string(), arrow.float64())
    kinds = [text, text, *of_rank * top]
    arrays = [
        arrow.array([_unicode(cell) if kind is text else cell for cell in column], kind)
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
    ]
    arrow.parquet.write_table(arrow.table(arrays, columns(top)), file)


def _unicode(text: str | None) -> str | None:
    """The text with a backslash and digits for each byte of a file name that is no UTF-8, which Parquet cannot hold."""
    return text and text.encode("utf-8", "backslashreplace").decode()


def _count_lines(file: BinaryIO) -> int:
    return sum(1 for _ in file)


def _count_csv(file: BinaryIO) -> int:
    return sum(1 for _ in csv.reader(line.decode("utf-8", "surrogateescape") for line in file)) - 1


def _count_parquet(file: BinaryIO) -> int:
    arrow = _pyarrow()
    try:
        return int(arrow.parquet.read_metadata(file).num_rows)
    except arrow.ArrowInvalid as error:
        raise OSError(str(error)) from None


def _pyarrow() -> Any:
    try:
        # Deferred: an optional package, for one format.
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        hint = 'pip install ".[parquet]"'
        raise OptionError("parquet needs pyarrow, which is not installed", where="format", hint=hint) from None
    return pyarrow


@dataclass(frozen=True, slots=True)
class Layout:
    """A format of shards.

    Attributes:
        row: Makes a row from a prediction and the number of classes per image.
        write: Writes a shard's rows.
        count: Counts a shard's rows.
    """

    row: Callable[[Mapping[str, Any], int], Any]
    write: Callable[[BinaryIO, Sequence[Any], int], None]
    count: Callable[[BinaryIO], int]


LAYOUTS: Mapping[Format, Layout] = {
    "jsonl": Layout(json_line, _write_text, _count_lines),
    "csv": Layout(lambda entry, top: csv_line(cells(entry, top)), _write_csv, _count_csv),
    "parquet": Layout(cells, _write_parquet, _count_parquet),
}
"""The formats by name."""


class Shards:
    """Writes a folder of shards.

    Args:
        folder: The folder of the shards; created if it does not exist.
        kind: The format.
        top: The number of classes per image.
        run: The facts that must be equal for a run to resume: the model, the images, the options.
        resume: Whether to continue after the shards in the folder.

    Raises:
        UsageError: The folder has shards of another run, or of this run and `resume` is false.
        OptionError: The folder is a file, or the format's package is not installed.
        OutputError: The folder cannot be written.
    """

    def __init__(self, folder: Path, kind: Format, top: int, run: Mapping[str, Any], *, resume: bool) -> None:
        if kind == "parquet":
            _pyarrow()
        self._folder, self._kind, self._top = folder, kind, top
        self._layout = LAYOUTS[kind]
        self._rows: list[Any] = []
        if folder.exists() and not folder.is_dir():
            raise OptionError("the output must be a folder, got a file", where=str(folder))
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in folder.iterdir()}
        if _RUN in there:
            self._require_same(run, resume=resume)
        elif there:
            raise UsageError("the folder already has other files", where=str(folder), hint="name another folder")
        else:
            with replacing(folder / _RUN) as file:
                file.write(json.dumps(run, indent=2).encode())
        self.done = self._first = self._counted()
        """The number of images done: these are the first of all images."""

    def _require_same(self, run: Mapping[str, Any], *, resume: bool) -> None:
        if not resume:
            raise UsageError(
                "the folder has shards already", where=str(self._folder), hint="--resume goes on with them"
            )
        try:
            there = json.loads((self._folder / _RUN).read_bytes())
        except (OSError, ValueError):
            raise UsageError("the file does not describe a run", where=str(self._folder / _RUN)) from None
        changed = sorted(key for key in {*there, *run} if there.get(key) != run.get(key))
        if changed:
            raise UsageError(f"the shards were made with another {', '.join(changed)}", where=str(self._folder))

    def _counted(self) -> int:
        done = 0
        while (shard := self._shard(done)).exists():
            with writing(shard, "cannot read the shard"), shard.open("rb") as file:
                done += self._layout.count(file)
        return done

    def _shard(self, first: int) -> Path:
        return self._folder / f"{first:09}.{self._kind}"

    def add(self, entry: Mapping[str, Any]) -> None:
        """Adds the prediction for the next image."""
        self._rows.append(self._layout.row(entry, self._top))
        self.done += 1
        if len(self._rows) == SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes the remaining rows as a shard, which may be short."""
        if self._rows:
            with replacing(self._shard(self._first), durable=True) as file:
                self._layout.write(file, self._rows, self._top)
            self._first, self._rows = self.done, []

"""Streaming for resnet-run --format: writes answers as they come, to stdout or into a folder of shards."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import resnet_compile as rc
from resnet_compile.cli.common import Report
from resnet_compile.cli.opened import OpenedModel
from resnet_compile.cli.progress import progress
from resnet_compile.errors import ImageError, ResnetCompileError

Describe = Callable[["rc.classify.Computed"], list[dict[str, Any]]]


def stream(
    report: Report,
    opened: OpenedModel,
    model: str,
    paths: Sequence[Path],
    wanted: Sequence[str],
    batch: int | None,
    describe: Describe,
    kind: rc.shards.Format,
    top: int,
    output: Path | None,
    *,
    resume: bool,
) -> None:
    """Classifies images and writes each answer once, in the order of the images. No answer stays in memory.

    Raises:
        ImageError: Some images cannot be read; the others were answered.
        ResnetCompileError: The run was interrupted; the answers so far are written.
        UsageError: As for `Shards`.
    """
    sink = _Stdout(kind, top) if output is None else _shards(output, kind, top, opened, model, paths, resume=resume)
    first, skipped, interrupted = sink.done, 0, False
    with progress() as bar:
        bar.begin(len(paths), first)
        try:
            images = rc.classify.run_images(opened.session, paths[first:], opened.scheme, outputs=wanted, batch=batch)
            for event in images:
                if isinstance(event, rc.classify.Skipped):
                    bar.say(f"skipped: {event.error}")
                    sink.add(first + event.position, {"image": event.path, "error": str(event.error)})
                    skipped += 1
                else:
                    for position, path, entry in zip(event.positions, event.paths, describe(event), strict=True):
                        sink.add(first + position, {"image": path, **entry})
                bar.reach(sink.done, "images")
        except KeyboardInterrupt:
            interrupted = True
        sink.flush()
    if output is not None:
        document = {
            "model": model,
            **opened.document(),
            "folder": str(output),
            "images": sink.done,
            "resumed_at": first,
            "skipped": skipped,
            **({"interrupted": True} if interrupted else {}),
        }
        report.result(document, lambda: f"{output}: {sink.done:,} images, {sink.done - first:,} of them now")
    if interrupted:
        hint = None if output is None else "--resume goes on"
        raise ResnetCompileError(f"interrupted after {sink.done} of {len(paths)} images", hint=hint)
    if skipped:
        raise ImageError(f"{skipped} of {len(paths) - first} images could not be read")


def _shards(
    folder: Path,
    kind: rc.shards.Format,
    top: int,
    opened: OpenedModel,
    model: str,
    paths: Sequence[Path],
    *,
    resume: bool,
) -> rc.shards.Shards:
    """The folder of shards; it accepts only answers for these images by this model."""
    names, contents = hashlib.sha256(), hashlib.sha256(model.encode())
    for path in paths:
        names.update(bytes(path) + b"\0")
    if Path(model).is_file():
        with Path(model).open("rb") as file:
            contents = hashlib.file_digest(file, "sha256")
    run = {
        "model": contents.hexdigest(),
        "images": names.hexdigest(),
        "preprocess": opened.scheme.name,
        **({"fast_decode": True} if opened.scheme.fast else {}),
        "format": kind,
        "top": top,
    }
    return rc.shards.Shards(folder, kind, top, run, resume=resume)


class _Stdout:
    """Lines on stdout, in the order of the images."""

    def __init__(self, kind: rc.shards.Format, top: int) -> None:
        self._line, self._top = rc.shards.LINES[kind], top
        self._waiting: dict[int, str] = {}
        self.done = 0
        if kind == "csv":
            _write(rc.shards.csv_header(top))

    def add(self, position: int, entry: dict[str, Any]) -> None:
        """Adds the answer for the image at a position."""
        self._waiting[position] = self._line(entry, self._top)
        while self.done in self._waiting:
            _write(self._waiting.pop(self.done))
            self.done += 1

    def flush(self) -> None:
        """Flushes stdout."""
        sys.stdout.flush()


def _write(line: str) -> None:
    # As bytes, since a file name need not be valid text.
    sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape"))

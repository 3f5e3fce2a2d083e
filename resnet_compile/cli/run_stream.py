"""Streaming for resnet-run --format: writes answers as they come, to stdout or into a folder of shards."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import resnet_compile as rc
from resnet_compile.cli.common import Report
from resnet_compile.cli.opened import OpenedModel
from resnet_compile.cli.progress import progress
from resnet_compile.errors import ImageError, OptionError, ResnetCompileError

Describe = Callable[["rc.classify.Computed"], list[dict[str, Any]]]
Answers = Callable[[Sequence[Path]], Iterator[tuple[int, dict[str, Any]]]]
"""The position of each path and the answer for its image."""


def local_answers(opened: OpenedModel, wanted: Sequence[str], batch: int | None, describe: Describe) -> Answers:
    """The answers of a session in this process."""

    def answers(paths: Sequence[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
        for event in rc.classify.run_images(opened.session, paths, opened.scheme, outputs=wanted, batch=batch):
            if isinstance(event, rc.classify.Skipped):
                yield event.position, {"image": event.path, "error": str(event.error)}
            else:
                for position, path, entry in zip(event.positions, event.paths, describe(event), strict=True):
                    yield position, {"image": path, **entry}

    return answers


@contextmanager
def ray_answers(
    address: str,
    opened: OpenedModel,
    device: str,
    top: int,
    labels: Sequence[str] | None,
    batch: int | None,
    cache: bool,
) -> Iterator[tuple[Answers, dict[str, str]]]:
    """The answers of a Ray cluster, and what the result says of it."""
    from resnet_compile.ray_data import cluster  # deferred: only --ray needs it

    size = opened.source.batch_size(batch, rc.classify.DEFAULT_BATCH)
    decoder = rc.batch.Decoder(rc.classify.Preparation(opened.source, opened.scheme))
    model = opened.file if isinstance(opened.file, bytes) else opened.file.resolve()
    with cluster(address) as ray:
        chosen = ray.device(device)
        told = {"device": str(chosen), "device_reason": f"Ray has {ray.cpus} cores and {ray.gpus} GPUs", "ray": address}

        def answers(paths: Sequence[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
            return ray.answers(
                model, paths, decoder=decoder, device=chosen, top=top, labels=labels, batch=size, cache=cache
            )

        yield answers, told


def stream(
    report: Report,
    opened: OpenedModel,
    model: str,
    paths: Sequence[Path],
    answers: Answers,
    kind: rc.shards.Format,
    top: int,
    output: Path | None,
    *,
    resume: bool,
    where: dict[str, str],
) -> None:
    """Writes each image's answer once, in the order of the images. No answer stays in memory.

    Raises:
        ImageError: Some images cannot be read; the others were answered.
        OptionError: The format is for folders only.
        ResnetCompileError: The run was interrupted; the answers so far are written.
        UsageError: As for `Shards`.
    """
    sink = None
    if output is not None:
        sink = _shards(output, kind, top, opened, model, paths, resume=resume)
    elif kind == "parquet":
        raise OptionError("--format parquet needs -o FOLDER")
    elif kind == "csv":
        _write(rc.shards.csv_line(rc.shards.columns(top)))
    first = done = sink.done if sink else 0
    skipped, interrupted = 0, False
    with progress() as bar:
        bar.begin(len(paths), first)
        try:
            for entry in _in_order(answers(paths[first:])):
                if "error" in entry:
                    bar.say(f"skipped: {entry['error']}")
                    skipped += 1
                if sink:
                    sink.add(entry)
                else:
                    _write(rc.shards.LAYOUTS[kind].row(entry, top))
                done += 1
                bar.reach(done, "images")
        except KeyboardInterrupt:
            interrupted = True
        if sink:
            sink.flush()
    sys.stdout.flush()
    if output is not None:
        document = {
            "model": model,
            **opened.document(),
            **where,
            "folder": str(output),
            "images": done,
            "resumed_at": first,
            "skipped": skipped,
            **({"interrupted": True} if interrupted else {}),
        }
        report.result(document, lambda: f"{output}: {done:,} images, {done - first:,} of them now")
    if interrupted:
        hint = None if output is None else "--resume goes on"
        raise ResnetCompileError(f"interrupted after {done} of {len(paths)} images", hint=hint)
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


def _in_order(answers: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The answers by position; a batch's come behind those of broken images after it."""
    waiting: dict[int, dict[str, Any]] = {}
    position = 0
    for at, entry in answers:
        waiting[at] = entry
        while position in waiting:
            yield waiting.pop(position)
            position += 1


def _write(line: str) -> None:
    # As bytes, since a file name need not be valid text.
    sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape"))

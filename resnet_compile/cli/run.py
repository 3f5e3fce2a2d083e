"""``resnet-run MODEL IMAGE...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.parameters import names
from resnet_compile.errors import ImageError, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from resnet_compile.images import Preprocessing
    from resnet_compile.runtime import ImageInput, Session


@command("resnet-run")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where to run.")
@click.option("--batch", type=click.IntRange(min=1), help="Images at a time; by default the model's own number, or 8.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes to list for an image.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Names of the classes: one a line, or JSON. 1000 names fit 1001 classes, of which the first is background.",
)
@click.option(
    "--preprocess",
    metavar="SCHEME",
    help="inception, vgg, torchvision, timm, keras, caffe or cifar; by default the model's own.",
)
@click.option(
    "--outputs",
    callback=names,
    metavar="NAME[,NAME...]|all",
    help="Save these outputs, with or without the network's name, instead of listing classes; needs -o.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Save --outputs, or the classification's values, as .npy or .npz.",
)
def cli(
    report: Report,
    model: Path,
    images: tuple[str, ...],
    device: str,
    batch: int | None,
    top: int,
    labels: Path | None,
    preprocess: str | None,
    outputs: tuple[str, ...] | Literal["all"] | None,
    output: Path | None,
) -> None:
    """Classify images with MODEL, or save what its layers compute.

    Each IMAGE is a file, a folder of images, or - for a list of files on stdin, one a line. One that cannot be read is
    reported and skipped; the exit code is then 1.

    \b
    resnet-run model.onnx cat.jpg --labels imagenet.txt
    resnet-run model.onnx photos/ --outputs block4 -o features.npz
    """  # noqa: D301  # click's mark for text to leave as it is is the character, not the two letters
    if outputs is not None and output is None:
        raise OptionError("--outputs needs a file to save them in", hint="-o features.npz")
    # Deferred, so that --help and usage errors need none of it.
    from resnet_compile.classify import classification_output, resolve_names
    from resnet_compile.images import find_images, load_labels
    from resnet_compile.runtime import Session, SessionOptions, image_input

    label_names = load_labels(labels) if labels else None
    paths = find_images(_listed(images))
    session = Session.open(model, device, SessionOptions(log_severity="warning" if report.verbose else "fatal"))
    report.note(f"device {session.device} ({session.reason})")
    source = image_input(session, channels=3)
    scheme = _scheme(source, preprocess, report)
    height, width = source.size((scheme.default_size,) * 2)
    if outputs is None:
        wanted = [classification_output(session)]
        describe = _Classes(wanted[0], top, label_names)
    else:
        wanted = list(session.outputs) if outputs == "all" else resolve_names(session, outputs)
        describe = None
    entries, saved = _run_all(session, paths, scheme, wanted, batch, describe, output)
    document: dict[str, Any] = {
        "model": str(model),
        "device": str(session.device),
        "device_reason": session.reason,
        "preprocess": scheme.name,
        "height": height,
        "width": width,
        "images": entries,
    }
    if saved is not None:
        document["saved"] = {"file": str(output), "outputs": {name: list(shape) for name, shape in saved.items()}}
    report.result(document, lambda: _text(document))
    skipped = sum("error" in entry for entry in entries)
    if skipped:
        raise ImageError(f"{skipped} of {len(entries)} images could not be read")


def _listed(images: tuple[str, ...]) -> Iterator[str]:
    """The paths that were given, ``-`` replaced by those on stdin."""
    for image in images:
        if image == "-":
            lines = sys.stdin.buffer.read().splitlines()
            # As bytes, since a file's name need not be text.
            yield from (os.fsdecode(line) for line in lines if line)
        else:
            yield image


def _scheme(source: ImageInput, asked: str | None, report: Report) -> Preprocessing:
    """The scheme asked for, or the model's own, or the default; -v tells which and why."""
    from resnet_compile.images import choose_scheme

    stored = source.preprocess
    scheme = choose_scheme(asked or stored, (source.height, source.width))
    reason = "asked for" if asked else "from the model" if stored else "the default, as the model names none"
    report.note(f"preprocessing {scheme.name} ({reason}): {scheme.description}")
    return scheme


class _Classes:
    """Describes an image by its most probable classes."""

    def __init__(self, output: str, top: int, labels: tuple[str, ...] | None) -> None:
        self._output = output
        self._top = top
        self._labels = labels

    def __call__(self, outputs: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
        """For each row of the classification output, what the document says of the image."""
        from resnet_compile.classify import probabilities, top_classes
        from resnet_compile.images import align_labels

        rows = probabilities(self._output, outputs[self._output])
        labels = align_labels(self._labels, rows.shape[1]) if self._labels else None
        return [
            {
                "top": [
                    {"class": index, **({"label": labels[index]} if labels else {}), "probability": probability}
                    for index, probability in top_classes(row, self._top)
                ]
            }
            for row in rows
        ]


def _run_all(
    session: Session,
    paths: Sequence[Path],
    scheme: Preprocessing,
    wanted: Sequence[str],
    batch: int | None,
    describe: _Classes | None,
    output: Path | None,
) -> tuple[list[dict[str, Any]], dict[str, tuple[int, ...]] | None]:
    """Runs all images; gives the document's entry for each, and the shapes of what was saved."""
    from resnet_compile.classify import Skipped, run_images
    from resnet_compile.features import FeatureFile
    from resnet_compile.files import replacing

    entries: list[dict[str, Any]] = [{"image": str(path)} for path in paths]
    saved = None
    with ExitStack() as stack:
        features = stack.enter_context(FeatureFile(output, wanted)) if output else None
        file = stack.enter_context(replacing(output)) if output else None
        progress = stack.enter_context(_progress(len(paths)))
        for event in run_images(session, paths, scheme, outputs=wanted, batch=batch):
            if isinstance(event, Skipped):
                progress.say(f"skipped: {event.error}")
                entries[event.position]["error"] = str(event.error)
                progress.advance(1)
                continue
            if describe:
                for position, entry in zip(event.positions, describe(event.outputs), strict=True):
                    entries[position].update(entry)
            if features:
                features.append(event.paths, event.outputs)
            progress.advance(len(event.paths))
        if features and file:
            saved = features.write(file)
    return entries, saved


class _Progress:
    """How far the work is, for a stderr that is no terminal: nothing but the messages."""

    def advance(self, images: int) -> None:
        """Counts images as done."""

    def say(self, message: str) -> None:
        """Writes a line to stderr."""
        click.echo(message, err=True)


@contextmanager
def _progress(total: int) -> Iterator[_Progress]:
    if not sys.stderr.isatty():
        yield _Progress()
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
    from rich.text import Text

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=total)

        class Bar(_Progress):
            def advance(self, images: int) -> None:
                bar.advance(task, images)

            def say(self, message: str) -> None:
                bar.console.print(Text(message), soft_wrap=True)

        yield Bar()


def _text(document: dict[str, Any]) -> str:
    """The document for a person: a table for each image, and what was saved."""
    lines: list[str] = []
    for entry in document["images"]:
        if "top" in entry:
            lines.append(_printable(entry["image"]))
            for place in entry["top"]:
                label = f"  {_printable(place['label'])}" if "label" in place else ""
                lines.append(f"  {place['probability']:8.4f}  {place['class']:>5}{label}")
    if "saved" in document:
        for name, shape in document["saved"]["outputs"].items():
            lines.append(f"{_printable(document['saved']['file'])}: {name} {tuple(shape)}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """The text without control characters and bytes that are no text, which file names and labels may hold."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def main() -> None:
    """The console entry point."""
    run(cli)

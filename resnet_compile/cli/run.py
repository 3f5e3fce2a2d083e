"""``resnet-run MODEL IMAGE...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.parameters import COUNT, PATH, device_option, names
from resnet_compile.cli.progress import progress
from resnet_compile.errors import ImageError, OptionError


@command("resnet-run")
@click.argument("model", type=PATH)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@device_option
@click.option("--batch", type=COUNT, help="Images at a time; by default the model's own number, or 8.")
@click.option("--top", type=COUNT, default=5, help="Classes to list for an image.")
@click.option(
    "--labels",
    type=PATH,
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
@click.option("-o", "--output", type=PATH, help="Save --outputs, or the classification's values, as .npy or .npz.")
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
    label_names = rc.images.load_labels(labels) if labels else None
    paths = rc.images.find_images(_listed(images))
    settings = rc.runtime.SessionOptions(log_severity=report.log_severity)
    session = rc.runtime.Session.open(model, device, settings)
    report.note(f"device {session.device} ({session.reason})")
    source = rc.runtime.image_input(session, channels=3)
    scheme = _scheme(source, preprocess, report)
    if preprocess and source.takes_photographs:
        raise OptionError("the model preprocesses by itself", where="preprocess", hint="leave it out")
    height, width = (
        (source.height, source.width) if source.takes_photographs else source.size((scheme.default_size,) * 2)
    )
    describe = None
    if outputs is None:
        wanted = [rc.classify.classification_output(session)]
        describe = partial(_classes, wanted[0], top, label_names)
    else:
        wanted = list(session.outputs if outputs == "all" else rc.classify.resolve_names(session, outputs))
    entries, saved = _run_all(session, paths, scheme, wanted, batch, describe, output)
    document: dict[str, Any] = {
        "model": str(model),
        "device": str(session.device),
        "device_reason": session.reason,
        "preprocess": scheme.name,
        "preprocess_in_model": source.takes_photographs,
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


def _scheme(source: rc.runtime.ImageInput, asked: str | None, report: Report) -> rc.images.Preprocessing:
    """The scheme asked for, or the model's own, or the default; -v tells which and why."""
    stored = source.preprocess
    scheme = rc.images.choose_scheme(asked or stored, (source.height, source.width))
    reason = "asked for" if asked else "from the model" if stored else "the default, as the model names none"
    report.note(f"preprocessing {scheme.name} ({reason}): {scheme.description}")
    return scheme


def _classes(
    output: str, top: int, labels: Sequence[str] | None, computed: rc.classify.Computed
) -> list[dict[str, Any]]:
    """What the document says of each image: its most probable classes."""
    rows = rc.classify.probabilities(output, computed.outputs[output])
    named = rc.images.align_labels(labels, rows.shape[1]) if labels else None
    return [
        {
            "top": [
                {"class": index, **({"label": named[index]} if named else {}), "probability": probability}
                for index, probability in rc.classify.top_classes(row, top)
            ]
        }
        for row in rows
    ]


def _run_all(
    session: rc.runtime.Session,
    paths: Sequence[Path],
    scheme: rc.images.Preprocessing,
    wanted: Sequence[str],
    batch: int | None,
    describe: Callable[[rc.classify.Computed], list[dict[str, Any]]] | None,
    output: Path | None,
) -> tuple[list[dict[str, Any]], dict[str, tuple[int, ...]] | None]:
    """Runs all images; gives the document's entry for each, and the shapes of what was saved."""
    entries: list[dict[str, Any]] = [{"image": str(path)} for path in paths]
    done, saved = 0, None
    with ExitStack() as stack:
        features = stack.enter_context(rc.features.FeatureFile(output, wanted)) if output else None
        file = stack.enter_context(rc.files.replacing(output)) if output else None
        bar = stack.enter_context(progress())
        bar.begin(len(paths))
        for event in rc.classify.run_images(session, paths, scheme, outputs=wanted, batch=batch):
            if isinstance(event, rc.classify.Skipped):
                bar.say(f"skipped: {event.error}")
                entries[event.position]["error"] = str(event.error)
                done += 1
            else:
                if describe:
                    for position, entry in zip(event.positions, describe(event), strict=True):
                        entries[position].update(entry)
                if features:
                    features.append(event.paths, event.outputs)
                done += len(event.paths)
            bar.reach(done, "images")
        if features and file:
            saved = features.write(file)
    return entries, saved


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


main = partial(run, cli)

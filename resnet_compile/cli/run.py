"""``resnet-run MODEL IMAGE...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, means_spec, run
from resnet_compile.cli.opened import open_model
from resnet_compile.cli.parameters import COUNT, PATH, cache_option, device_option, fast_decode_option, names
from resnet_compile.cli.progress import progress
from resnet_compile.errors import ImageError, OptionError, ResnetCompileError


@command("resnet-run")
@click.argument("model")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@device_option
@click.option("--batch", type=COUNT, help="Batch size; by default the model's own, or 8.")
@click.option("--top", type=COUNT, default=5, help="Number of classes to list for each image.")
@click.option(
    "--labels",
    type=PATH,
    help="File of class names, instead of those in the model: one a line, or JSON. 1000 names also fit 1001 classes; "
    "the first class is then background.",
)
@click.option(
    "--preprocess",
    metavar="SCHEME",
    help="Preprocessing: inception, vgg, torchvision, timm, keras, caffe, mlperf or cifar. By default the model's own, "
    "else a guess, announced on stderr.",
)
@click.option(
    "--outputs",
    callback=names,
    metavar="NAME[,NAME...]|all",
    help="Save these outputs, with or without the network's name, instead of listing classes; needs -o.",
)
@click.option(
    "--embed",
    is_flag=True,
    help="Save each image's embedding, the vector before the logits, instead of listing classes; needs -o.",
)
@click.option(
    "--features",
    is_flag=True,
    help="Save each image's maps at every scale, C2 to C5 of a network for ImageNet, instead of listing classes; needs "
    "-o FILE.npz.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Stream the classes, a row for each image: to stdout, or with -o into a folder of shards of 1000 images.",
)
@click.option(
    "--ray",
    metavar="ADDRESS|local",
    help="With --format: classify on the Ray cluster at HOST:PORT or auto, or on one that local starts here.",
)
@cache_option
@fast_decode_option
@click.option("--resume", is_flag=True, help="With --format and -o: continue after the shards already written.")
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File for --outputs, or else for the classification's values: .npy or .npz; with --format a folder.",
)
def cli(
    report: Report,
    model: str,
    images: tuple[str, ...],
    device: str,
    batch: int | None,
    top: int,
    labels: Path | None,
    preprocess: str | None,
    outputs: tuple[str, ...] | Literal["all"] | None,
    embed: bool,
    features: bool,
    kind: rc.shards.Format | None,
    ray: str | None,
    cache: bool,
    fast_decode: bool,
    resume: bool,
    output: Path | None,
) -> None:
    """Classify images with MODEL, an ONNX file or a spec to compile in memory, or save what its layers compute.

    Each IMAGE is a file, a folder of images, or - for a list of files on stdin, one a line. An image that cannot be
    read is reported and skipped; the exit code is then 1.

    \b
    resnet-run model.onnx cat.jpg --labels imagenet.txt
    resnet-run resnet50 photos/ --features -o features.npz
    resnet-run model.onnx photos/ --format jsonl -o answers/ --resume
    """  # noqa: D301  # click keeps a paragraph's line breaks after the backspace character itself
    saves = [
        name for name, asked in (("outputs", outputs is not None), ("embed", embed), ("features", features)) if asked
    ]
    if len(saves) > 1:
        raise OptionError(f"--{saves[0]} and --{saves[1]} both say what to save", where=saves[1])
    if saves and output is None:
        raise OptionError(f"--{saves[0]} needs a file to save them in", hint="-o features.npz")
    if kind and saves:
        raise OptionError("--format cannot be combined with --outputs, --embed or --features")
    if resume and not (kind and output):
        raise OptionError("--resume needs --format and -o FOLDER")
    if ray and not kind:
        raise OptionError("streams its answers", where="ray", hint="--format jsonl -o answers/")
    if kind and report.as_json and not output:
        raise OptionError("--format with --json needs -o FOLDER")
    given_labels = rc.images.load_labels(labels) if labels else None
    paths = rc.images.find_images(_listed(images))
    levels: tuple[rc.plan.FeatureLevel, ...] = ()
    if embed or features:
        planned = _plan(model, saves[0])
        levels = rc.plan.feature_levels(planned) if features else ()
        outputs = (rc.plan.FEATURES if features else planned.features,)
    how = {"cache": cache, "fast_decode": fast_decode}
    opened = open_model("resnet-run", model, "cpu" if ray else device, preprocess, report, outputs=outputs, **how)
    session, scheme, said = opened.session, opened.scheme, opened.said
    height, width = opened.size
    describe = None
    if outputs is None:
        wanted = [rc.classify.classification_output(session)]
        named = given_labels or said.labels
        describe = partial(_classes, wanted[0], top, named, softmax=wanted[0] in opened.interface.softmaxes)
        if said.untrained:
            click.echo(f"resnet-run: {rc.metadata.UNTRAINED}", err=True)
    else:
        wanted = list(session.outputs if outputs == "all" else rc.classify.resolve_names(session, outputs))
    if kind and describe:
        # Deferred: only --format needs it.
        from resnet_compile.cli.run_stream import local_answers, ray_answers, stream

        with ExitStack() as stack:
            answers, where = local_answers(opened, wanted, batch, describe), dict[str, str]()
            if ray:
                named = given_labels or said.labels
                answers, where = stack.enter_context(ray_answers(ray, opened, device, top, named, batch, cache))
            stream(report, opened, model, paths, answers, kind, top, output, resume=resume, where=where)
        return
    called = {level.output: level.name for level in levels}
    ran = _run_all(session, paths, scheme, wanted, batch, describe, output, called)
    document: dict[str, Any] = {
        "model": str(model),
        **opened.document(),
        "height": height,
        "width": width,
        "images": ran.entries,
        **({"interrupted": True} if ran.interrupted else {}),
    }
    if ran.saved is not None:
        document["saved"] = {
            "file": str(output),
            "outputs": {name: list(shape) for name, shape in ran.saved.items()},
            **({"features": [asdict(level) for level in levels]} if levels else {}),
        }
    report.result(document, lambda: _text(document))
    if ran.interrupted:
        raise ResnetCompileError(f"interrupted after {len(ran.entries)} of {len(paths)} images")
    skipped = sum("error" in entry for entry in ran.entries)
    if skipped:
        raise ImageError(f"{skipped} of {len(ran.entries)} images could not be read")


def _plan(source: str, flag: str) -> rc.Plan:
    """The network of a spec, or of a model that has its spec."""
    spec = rc.load_spec(source) if means_spec(source) else None
    if spec is None:
        said = rc.metadata.read_model(Path(source)).metadata.spec
        if said is None:
            raise OptionError("only a model that resnet-compile made says which of its values that is", where=flag)
        spec = rc.parse_spec(said)
    return rc.plan_network(spec)


def _listed(images: tuple[str, ...]) -> Iterator[str]:
    """The given paths, with ``-`` replaced by the paths on stdin."""
    for image in images:
        if image == "-":
            lines = sys.stdin.buffer.read().splitlines()
            # As bytes, since a file name need not be valid text.
            yield from (os.fsdecode(line) for line in lines if line)
        else:
            yield image


def _classes(
    output: str, top: int, labels: Sequence[str] | None, computed: rc.classify.Computed, *, softmax: bool
) -> list[dict[str, Any]]:
    """The most probable classes of each image, for the JSON document."""
    rows = rc.classify.probabilities(output, computed.outputs[output], softmax=softmax)
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


@dataclass(frozen=True, slots=True)
class _Ran:
    """The document's entry for each image, in order, and the shapes of the saved arrays. After an interrupt only the
    images that were done have entries.
    """

    entries: list[dict[str, Any]]
    saved: dict[str, tuple[int, ...]] | None
    interrupted: bool


def _run_all(
    session: rc.runtime.Session,
    paths: Sequence[Path],
    scheme: rc.images.Preprocessing,
    wanted: Sequence[str],
    batch: int | None,
    describe: Callable[[rc.classify.Computed], list[dict[str, Any]]] | None,
    output: Path | None,
    called: Mapping[str, str],
) -> _Ran:
    """Runs all images; an interrupt ends the run and keeps the results so far. Outputs are saved under their own names
    or as `called`.
    """
    entries: dict[int, dict[str, Any]] = {}
    computed, saved, interrupted = 0, None, False
    with ExitStack() as stack:
        arrays = [called.get(name, name) for name in wanted]
        features = stack.enter_context(rc.features.FeatureFile(output, arrays)) if output else None
        file = stack.enter_context(rc.files.replacing(output)) if output else None
        bar = stack.enter_context(progress())
        bar.begin(len(paths))
        try:
            for event in rc.classify.run_images(session, paths, scheme, outputs=wanted, batch=batch):
                if isinstance(event, rc.classify.Skipped):
                    bar.say(f"skipped: {event.error}")
                    entries[event.position] = {"image": event.path, "error": str(event.error)}
                else:
                    told = describe(event) if describe else [{}] * len(event.paths)
                    if features:
                        named = {called.get(name, name): rows for name, rows in event.outputs.items()}
                        features.append(event.paths, named)
                    for position, path, entry in zip(event.positions, event.paths, told, strict=True):
                        entries[position] = {"image": path, **entry}
                    computed += len(event.paths)
                bar.reach(len(entries), "images")
        except KeyboardInterrupt:
            if not computed:
                raise
            interrupted = True
        if features and file:
            saved = features.write(file)
    return _Ran([entries[position] for position in sorted(entries)], saved, interrupted)


def _text(document: dict[str, Any]) -> str:
    """The document as text: a table for each image, and the saved arrays."""
    lines: list[str] = []
    for entry in document["images"]:
        if "top" in entry:
            lines.append(_printable(entry["image"]))
            for place in entry["top"]:
                label = f"  {_printable(place['label'])}" if "label" in place else ""
                lines.append(f"  {place['probability']:8.4f}  {place['class']:>5}{label}")
    if "saved" in document:
        levels = {level["name"]: level for level in document["saved"].get("features", ())}
        for name, shape in document["saved"]["outputs"].items():
            level = ", reduction {reduction}, {output}".format(**levels[name]) if levels else ""
            lines.append(f"{_printable(document['saved']['file'])}: {name} {tuple(shape)}{level}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """The text without control characters and invalid bytes, which file names and labels may contain."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


main = partial(run, cli)

"""``resnet-eval MODEL DATA``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

import resnet_compile as rc
from resnet_compile.cli.common import Report, command, run
from resnet_compile.cli.opened import OpenedModel, open_model
from resnet_compile.cli.parameters import COUNT, PATH, cache_option, device_option, fast_decode_option
from resnet_compile.cli.progress import progress
from resnet_compile.errors import ImageError, ResnetCompileError
from resnet_compile.report.table import table

_PAIRS = 10


@command("resnet-eval")
@click.argument("model")
@click.argument("data", type=PATH)
@device_option
@click.option("--batch", type=COUNT, help="Batch size; by default the model's own, or 8.")
@click.option("--vs", metavar="MODEL", help="Compare with this model on the same images.")
@click.option("--labels", type=PATH, help="File of class names, instead of those in the models.")
@click.option("--preprocess", metavar="SCHEME", help="Scheme, as in resnet-run; by default each model's own.")
@cache_option
@fast_decode_option
@click.option("--html", type=PATH, help="Also write a page, with the images that the models classify differently.")
def cli(
    report: Report,
    model: str,
    data: Path,
    device: str,
    batch: int | None,
    vs: str | None,
    labels: Path | None,
    preprocess: str | None,
    cache: bool,
    fast_decode: bool,
    html: Path | None,
) -> None:
    """Measure the accuracy of MODEL, an ONNX file or a spec, on the labelled images of DATA.

    DATA is a folder with one folder for each class, the files of CIFAR, an .npz, a .csv with the columns path and
    label, or a .jsonl with these keys. If DATA has held-out images, only those are used. Images that cannot be read are
    reported and counted; the exit code is then 1. Ctrl-C ends early, with the result for the images done so far.

    \b
    resnet-eval model.onnx photos/val --labels imagenet_labels.txt
    resnet-eval float32.onnx images.csv --vs int8.onnx --html page.html
    """  # noqa: D301  # click keeps a paragraph's line breaks after the backspace character itself
    # Deferred: --help and usage errors do not need it.
    from resnet_compile.report.eval_page import eval_page

    given_labels = rc.images.load_labels(labels) if labels else None
    images = rc.evaluate.open_labelled(data)
    with ExitStack() as stack:
        page = stack.enter_context(rc.files.replacing(html)) if html else None
        answers: dict[str, rc.evaluate.Evaluated] = {}
        documents: list[dict[str, Any]] = []
        for source in (model, vs) if vs else (model,):
            opened = open_model("resnet-eval", source, device, preprocess, report, cache=cache, fast_decode=fast_decode)
            answers[source], document = _judged(source, opened, images, given_labels, batch, len(documents))
            documents.append(document)
            if answers[source].interrupted:
                break
        told: dict[str, Any] = {"data": str(data), **documents[0]}
        first, *others = answers.values()
        if vs and others:
            told["vs"] = documents[1]
            told["comparison"] = _compared(first, others[0])
        interrupted = any(each.interrupted for each in answers.values())
        if interrupted:
            told["interrupted"] = True
        if page:
            page.write(eval_page(told, images, list(answers.values())).encode())
    report.result(told, lambda: _text(told))
    if interrupted:
        raise ResnetCompileError(f"interrupted after {told['images']} of {len(images)} images")
    if skipped := len(first.skipped):
        raise ImageError(f"{skipped} of {len(images)} images could not be read")


def _judged(
    source: str,
    opened: OpenedModel,
    images: rc.evaluate.Labelled,
    given: tuple[str, ...] | None,
    batch: int | None,
    place: int,
) -> tuple[rc.evaluate.Evaluated, dict[str, Any]]:
    """A model's answers, and their part of the JSON document."""
    if opened.said.untrained:
        click.echo(f"resnet-eval: {source}: {rc.metadata.UNTRAINED}", err=True)
    names = given or opened.said.labels
    output = rc.classify.classification_output(opened.session)
    with progress() as bar:
        bar.begin(len(images))
        answers = rc.evaluate.evaluate(
            opened.session,
            images,
            opened.scheme,
            labels=names,
            softmax=output in opened.interface.softmaxes,
            batch=batch,
            reached=lambda done: bar.reach(done, "images"),
        )
    if answers.note:
        click.echo(f"resnet-eval: {answers.note}", err=True)
    for fault in answers.skipped.values() if not place else ():
        click.echo(f"skipped: {fault}", err=True)
    shown = rc.images.align_labels(names, answers.classes) if names else None
    document = {
        "model": source,
        **opened.document(),
        **asdict(rc.metrics.scores(answers.judged)),
        "skipped": len(answers.skipped),
        **({"note": answers.note} if answers.note else {}),
        "worst_pairs": [
            {
                "class": label,
                "taken_for": taken,
                **({"label": shown[label], "taken_for_label": shown[taken]} if shown else {}),
                "times": times,
            }
            for label, taken, times in rc.metrics.worst_pairs(answers.judged, _PAIRS)
        ],
    }
    return answers, document


def _compared(first: rc.evaluate.Evaluated, second: rc.evaluate.Evaluated) -> dict[str, Any]:
    both = frozenset(first.positions) & frozenset(second.positions)
    return asdict(rc.metrics.compare(first.at(both), second.at(both)))


def _text(told: dict[str, Any]) -> str:
    columns = [told, *([told["vs"]] if "vs" in told else [])]
    low, high = zip(*(each["top1_interval"] for each in columns), strict=True)
    rows = [
        ("images", *(f"{each['images']:,}" for each in columns)),
        ("top-1", *(f"{each['top1']:.2%}" for each in columns)),
        ("  95 % interval", *(f"{a:.2%} to {b:.2%}" for a, b in zip(low, high, strict=True))),
        ("top-5", *(f"{each['top5']:.2%}" for each in columns)),
        ("loss", *(f"{each['loss']:.4f}" for each in columns)),
        ("calibration error", *(f"{each['calibration_error']:.4f}" for each in columns)),
    ]
    lines = [table((told["data"], *(each["model"] for each in columns)), rows)]
    if told["worst_pairs"]:
        pairs = [
            (str(each.get("label", each["class"])), str(each.get("taken_for_label", each["taken_for"])), each["times"])
            for each in told["worst_pairs"]
        ]
        lines += ["", table(("class", "taken for", "times"), pairs)]
    if "comparison" in told:
        lines += ["", comparison_text(told["comparison"])]
    return "\n".join(lines)


def comparison_text(compared: dict[str, Any]) -> str:
    """The comparison of two models, in two sentences."""
    low, high = compared["interval"]
    return (
        f"The two give the same class to {compared['agreement']:.2%} of {compared['images']:,} images; "
        f"{compared['only_first']:,} only the first gets right, {compared['only_second']:,} only the second.\n"
        f"The second's accuracy is {compared['difference']:+.2%} (95 % interval {low:+.2%} to {high:+.2%}; "
        f"McNemar's p {compared['p_value']:.2g})."
    )


main = partial(run, cli)

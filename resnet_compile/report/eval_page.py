"""The accuracy of a model on labelled images, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

import numpy as np

from resnet_compile.errors import ImageError
from resnet_compile.evaluate import Evaluated, Labelled
from resnet_compile.images import decode_image, picture, thumbnail
from resnet_compile.report.page import note, page, section, table, tiles
from resnet_compile.report.svg import element

_SHOWN = 24
_SIDE = 160


def eval_page(told: Mapping[str, Any], data: Labelled, answers: Sequence[Evaluated]) -> str:
    """The HTML page, with style and images embedded.

    Args:
        told: The JSON document of the command.
        data: The labelled images.
        answers: The answers of one model, or of two.
    """
    columns = [told, *([told["vs"]] if "vs" in told else [])]
    names = [str(each["model"]) for each in columns]
    rows = [
        ("images", *(f"{each['images']:,}" for each in columns)),
        ("top-1", *(f"{each['top1']:.2%}" for each in columns)),
        ("95 % interval", *("{:.2%} to {:.2%}".format(*each["top1_interval"]) for each in columns)),
        ("top-5", *(f"{each['top5']:.2%}" for each in columns)),
        ("loss", *(f"{each['loss']:.4f}" for each in columns)),
        ("calibration error", *(f"{each['calibration_error']:.4f}" for each in columns)),
    ]
    return page(
        f"resnet-eval: {names[0]}",
        element("h1", escape(" and ".join(names))),
        element("p", escape(f"Judged on {told['data']}")),
        note("Interrupted: judged on the images that were done.") if "interrupted" in told else "",
        note("Initial weights: these classes mean nothing.") if "untrained" in told else "",
        tiles([(f"{each['top1']:.2%}", f"top-1 of {each['model']}") for each in columns]),
        section("Scores", "", table(("", *names), rows)),
        _comparison(told),
        _worst(told),
        _images(data, answers, _labels(told)),
    )


def _comparison(told: Mapping[str, Any]) -> str:
    if "comparison" not in told:
        return ""
    each = told["comparison"]
    low, high = each["interval"]
    rows = [
        ("same class", f"{each['agreement']:.2%}"),
        ("only the first right", f"{each['only_first']:,}"),
        ("only the second right", f"{each['only_second']:,}"),
        ("second's accuracy less the first's", f"{each['difference']:+.2%}"),
        ("95 % interval", f"{low:+.2%} to {high:+.2%}"),
        ("McNemar's p", f"{each['p_value']:.2g}"),
    ]
    return section("Against each other", f"On {each['images']:,} images that both read.", table((), rows))


def _worst(told: Mapping[str, Any]) -> str:
    rows = [
        (str(each.get("label", each["class"])), str(each.get("taken_for_label", each["taken_for"])), each["times"])
        for each in told["worst_pairs"]
    ]
    return section("Worst pairs", "", table(("class", "taken for", "times"), rows, words=(0, 1))) if rows else ""


def _labels(told: Mapping[str, Any]) -> dict[int, str]:
    """The names of the classes in the document, by index."""
    found: dict[int, str] = {}
    for each in told["worst_pairs"]:
        if "label" in each:
            found |= {each["class"]: each["label"], each["taken_for"]: each["taken_for_label"]}
    return found


def _images(data: Labelled, answers: Sequence[Evaluated], labels: Mapping[int, str]) -> str:
    """The images that two models classify differently, or the worst mistakes of one model."""
    first = answers[0]
    chosen: list[tuple[int, tuple[int, ...]]]
    if len(answers) > 1:
        second = {position: at for at, position in enumerate(answers[1].positions)}
        pairs = [(at, second[position]) for at, position in enumerate(first.positions) if position in second]
        chosen = [
            (at, (int(first.judged.predicted[at]), int(answers[1].judged.predicted[other])))
            for at, other in pairs
            if first.judged.predicted[at] != answers[1].judged.predicted[other]
        ]
        heading, words = "Images that changed", f"{len(chosen)} of {len(pairs)} have another class."
    else:
        order = [int(at) for at in np.argsort(-first.judged.losses, kind="stable") if not first.judged.right[at]]
        chosen = [(at, (int(first.judged.predicted[at]),)) for at in order]
        heading, words = "Most mistaken", f"{len(chosen)} of {len(first.positions)} are given another class."
    wanted = {first.positions[at]: (int(first.judged.labels[at]), classes) for at, classes in chosen[:_SHOWN]}
    if not wanted:
        return ""
    named = {number: labels.get(number, str(number)) for number in _numbers(wanted)}
    figures = []
    for position, image in enumerate(islice(data, max(wanted) + 1)):
        if position in wanted:
            label, classes = wanted[position]
            text = f"{named[label]}: {' then '.join(named[each] for each in classes)}"
            figures.append(_figure(image, text))
    return section(heading, words, element("div", *figures, cls="tiles"))


def _numbers(wanted: Mapping[int, tuple[int, tuple[int, ...]]]) -> set[int]:
    return {number for label, classes in wanted.values() for number in (label, *classes)}


def _figure(image: Any, text: str) -> str:
    try:
        pixels = image if isinstance(image, np.ndarray) else decode_image(image)
    except ImageError as error:
        return element("div", escape(str(error)))
    return element("div", picture(thumbnail(pixels, _SIDE)), element("span", escape(text)), cls="tile")

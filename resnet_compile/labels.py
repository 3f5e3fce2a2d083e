"""Class labels: reading a labels file, and laying labels against a network's logits.

slim's ResNet v2 checkpoints have 1001 classes: index 0 is ``background`` and ImageNet's class `i` is index ``i + 1``.
Most published label files list the 1000 classes. `align_labels` makes that shift, and no other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from resnet_compile.errors import UsageError

BACKGROUND = "background"
_IMAGENET_CLASSES = 1000


def load_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads a labels file.

    A ``.json`` file holds a list of labels, or an object from the index to the label, ``{"0": "tench", ...}``; there a
    label may be a list whose last string counts, as in Keras's ``{"0": ["n01440764", "tench"], ...}``. Any other file
    holds one label a line, UTF-8, the first line being index 0.

    Returns:
        The labels by index.

    Raises:
        UsageError: The file cannot be read, is not of these forms, or leaves an index without a label.
    """
    place = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the labels: {error.strerror or error}", where=place) from error
    except UnicodeDecodeError as error:
        fault = f"labels are not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        raise UsageError(fault, where=place) from error
    entries = _from_json(text, place) if place.lower().endswith(".json") else text.rstrip().splitlines()
    labels = [entry.strip() for entry in entries]
    if not labels:
        raise UsageError("the file holds no labels", where=place)
    if "" in labels:
        raise UsageError(f"index {labels.index('')} has an empty label", where=place)
    return tuple(labels)


def _from_json(text: str, place: str) -> list[str]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"labels are not JSON: {error}", where=place) from error
    except RecursionError as error:
        raise UsageError("labels are nested too deeply", where=place) from error
    if isinstance(document, dict):
        missing = next((index for index in range(len(document)) if str(index) not in document), None)
        if missing is not None:
            raise UsageError(f"{len(document)} labels, but none for index {missing}", where=place)
        document = [document[str(index)] for index in range(len(document))]
    if not isinstance(document, list):
        raise UsageError("labels must be a JSON list or an object from index to label", where=place)
    labels = [entry[-1] if isinstance(entry, list) and entry else entry for entry in document]
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise UsageError(f"label {index} is not a string", where=place)
    return labels


def align_labels(labels: Sequence[str], classes: int) -> tuple[str, ...]:
    """Labels for each of a network's classes.

    Args:
        labels: Labels by index, as read.
        classes: How many logits the network has.

    Returns:
        `classes` labels: as they are where the counts agree; 1000 labels for 1001 logits with ``background`` put
        first; 1001 labels for 1000 logits without the first, if that is ``background``.

    Raises:
        UsageError: The counts differ in any other way.
    """
    if len(labels) == classes:
        return tuple(labels)
    if (len(labels), classes) == (_IMAGENET_CLASSES, _IMAGENET_CLASSES + 1):
        return (BACKGROUND, *labels)
    with_background = (len(labels), classes) == (_IMAGENET_CLASSES + 1, _IMAGENET_CLASSES)
    if with_background and labels[0].strip().lower() == BACKGROUND:
        return tuple(labels[1:])
    raise UsageError(f"{len(labels)} labels for a network of {classes} classes")

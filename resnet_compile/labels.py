"""Class labels: reading a labels file, and aligning labels with a network's logits.

slim's ResNet v2 checkpoints have 1001 classes: index 0 is ``background`` and ImageNet's class `i` is index ``i + 1``.
Most published label files list the 1000 classes. `align_labels` makes that shift, and no other.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_compile.errors import UsageError

BACKGROUND = "background"
_IMAGENET_CLASSES = 1000
# ImageNet's classes by their WordNet numbers, which begin each line of `synset_words.txt`.
_SYNSET = re.compile(r"n\d{8}\s+")
# `0:daisy`, as TensorFlow writes it, and similar forms.
_NUMBERED = re.compile(r"(\d+)\s*[:=,;\t]\s*(.*)")
# The key of a transformers configuration.
_BY_INDEX = "id2label"


def load_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads a labels file in any of the usual forms.

    - Text: one label per line, the first for index 0. Every line may begin with a synset, ``n01440764 tench``, or with
      its index, ``0:tench``.
    - JSON, whatever the file's name, or a Python literal: a list of labels; an object from index to label,
      ``{"0": "tench"}`` or ``{0: 'tench'}``, or from label to index; or a transformers configuration with ``id2label``.
      Where a label is a list, its last string counts, as in Keras's ``{"0": ["n01440764", "tench"]}``.

    Returns:
        The labels by index.

    Raises:
        UsageError: The file cannot be read, has another form, or has no label for an index.
    """
    place = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read the labels: {error.strerror or error}", where=place) from error
    except UnicodeDecodeError as error:
        fault = f"labels are not UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        raise UsageError(fault, where=place) from error
    structured = place.lower().endswith(".json") or text.lstrip()[:1] in ("{", "[")
    entries = _from_document(text, place) if structured else _from_lines(text.rstrip().splitlines(), place)
    labels = [entry.strip() for entry in entries]
    if not labels:
        raise UsageError("the file holds no labels", where=place)
    if "" in labels:
        raise UsageError(f"index {labels.index('')} has an empty label", where=place)
    return tuple(labels)


def _from_lines(lines: list[str], place: str) -> list[str]:
    numbered = [_NUMBERED.fullmatch(line.strip()) for line in lines]
    if lines and all(numbered):
        found = {int(match[1]): match[2] for match in numbered if match}
        return _by_index(found, place)
    if lines and all(_SYNSET.match(line) for line in lines):
        return [_SYNSET.sub("", line, count=1) for line in lines]
    return lines


def _from_document(text: str, place: str) -> list[str]:
    document = _parsed(text, place)
    if isinstance(document, dict):
        if isinstance(document.get(_BY_INDEX), dict):
            document = document[_BY_INDEX]
        document = _by_index(_keyed_by_index(document), place)
    if not isinstance(document, list):
        raise UsageError("labels must be a JSON list or an object from index to label", where=place)
    labels = [entry[-1] if isinstance(entry, list | tuple) and entry else entry for entry in document]
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise UsageError(f"label {index} is not a string", where=place)
    return labels


def _parsed(text: str, place: str) -> Any:
    """The document, parsed as JSON, else as a Python literal; nothing is evaluated."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise UsageError(f"labels are not JSON: {error}", where=place) from error
    except RecursionError as error:
        raise UsageError("labels are nested too deeply", where=place) from error


def _keyed_by_index(document: Mapping[Any, Any]) -> dict[int, Any]:
    """The labels by index: inverts a mapping from label to index; of any other, keeps the keys that are numerals."""
    if document and all(type(index) is int for index in document.values()) and not all(map(_is_index, document)):
        return {index: label for label, index in document.items()}
    return {int(key): label for key, label in document.items() if _is_index(key)}


def _is_index(key: object) -> bool:
    return type(key) is int or (isinstance(key, str) and key.isdecimal() and len(key) < 10)


def _by_index(found: Mapping[int, Any], place: str) -> list[Any]:
    missing = next((index for index in range(len(found)) if index not in found), None)
    if missing is not None or not found:
        raise UsageError(f"{len(found)} labels, but none for index {missing or 0}", where=place)
    return [found[index] for index in range(len(found))]


def align_labels(labels: Sequence[str], classes: int) -> tuple[str, ...]:
    """Labels for each of a network's classes.

    Args:
        labels: Labels by index, as read.
        classes: The number of logits.

    Returns:
        `classes` labels. Equal counts: unchanged. 1000 labels for 1001 logits: ``background`` is added in front. 1001
        labels for 1000 logits: the first is dropped if it is ``background``.

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
    raise UsageError(f"labels must be as many as the network's {classes} classes, got {len(labels)}")

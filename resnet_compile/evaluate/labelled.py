"""Opens labelled images: tables, JSON lines and data sets."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.numpy_npz import is_npz
from resnet_compile.errors import DataError
from resnet_compile.training.data import Dataset, open_dataset
from resnet_compile.training.data.folder import tree_has_held_out
from resnet_compile.training.data.npz import npz_has_held_out

_TABLES = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")
_PATH_KEYS = ("path", "image", "file", "filename", "file_name")
_LABEL_KEYS = ("label", "class", "target")
_BACKGROUND = 1


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images whose classes are known.

    Attributes:
        images: Files, or a data set.
        labels: The class of each image, int64 ``[N]``: an index into `names`, or without names the model's class.
        names: The names of the classes, if the data has them.
    """

    images: Sequence[Path] | Dataset
    labels: NDArray[np.int64]
    names: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Path | NDArray[np.uint8]]:
        return self.images.images() if isinstance(self.images, Dataset) else iter(self.images)


def open_labelled(path: str | os.PathLike[str]) -> Labelled:
    """Opens labelled images.

    - A table, ``.csv`` or ``.tsv``, with the columns ``path`` and ``label``: named in the first row, or in this order.
      Or lines of JSON objects with these keys, ``.jsonl``. Paths are relative to the file; a label is a number or name.
    - The data sets of `resnet-train`: a folder per class, CIFAR's files, or an ``.npz``. The held-out images are used;
      if there are none, all images.

    Raises:
        DataError: There is no such file, it is malformed, or it has no images.
    """
    place = Path(path)
    suffix = place.suffix.lower()
    if suffix in _TABLES or suffix in _LINES:
        return _from_rows(place, _table(place, _TABLES[suffix]) if suffix in _TABLES else _objects(place))
    held_out = tree_has_held_out(place) if place.is_dir() else not is_npz(place) or npz_has_held_out(place)
    cifar = place.is_dir() and any(place.glob("*.bin"))
    dataset = open_dataset(place, "test" if held_out or cifar else "train", num_classes=None)
    return Labelled(dataset, dataset.labels, tuple(dataset.names) if dataset.names else None)


def _from_rows(place: Path, rows: Iterator[tuple[str, str, str]]) -> Labelled:
    """The images of a table's rows; each row has its place for errors, its path and its label."""
    paths, words = [], []
    for where, path, label in rows:
        if not path or not label:
            raise DataError("an image and its label are required", where=where)
        paths.append(place.parent / path)
        words.append(label)
    if not paths:
        raise DataError("no images in this file", where=str(place))
    if all(word.isdecimal() and len(word) < 10 for word in words):
        return Labelled(tuple(paths), np.array(words, np.int64), None)
    names = tuple(sorted(set(words)))
    number = {name: index for index, name in enumerate(names)}
    return Labelled(tuple(paths), np.array([number[word] for word in words], np.int64), names)


def _text(place: Path) -> list[str]:
    try:
        return place.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot read the images' list: {error.strerror}", where=str(place)) from None
    except UnicodeDecodeError:
        raise DataError("the images' list is not UTF-8", where=str(place)) from None


def _table(place: Path, delimiter: str) -> Iterator[tuple[str, str, str]]:
    rows = [row for row in csv.reader(_text(place), delimiter=delimiter) if row]
    columns = _columns({name.strip().lower(): index for index, name in enumerate(rows[0])}) if rows else None
    path, label = columns or (0, 1)
    for index, row in enumerate(rows):
        if columns is None or index:
            where = f"{place}: row {index + 1}"
            cells = [row[each].strip() if each < len(row) else "" for each in (path, label)]
            yield where, cells[0], cells[1]


def _objects(place: Path) -> Iterator[tuple[str, str, str]]:
    for index, line in enumerate(_text(place)):
        if not line.strip():
            continue
        where = f"{place}: line {index + 1}"
        try:
            document: Any = json.loads(line)
        except ValueError as error:
            raise DataError(f"not JSON: {error}", where=where) from None
        keys = _columns({key: key for key in document}) if isinstance(document, dict) else None
        if keys is None:
            raise DataError("an object with a path and a label is required", where=where)
        yield where, str(document[keys[0]]), str(document[keys[1]])


def _columns(names: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The columns of the path and the label, found by their usual names; None if they are missing."""
    path = next((names[key] for key in _PATH_KEYS if key in names), None)
    label = next((names[key] for key in _LABEL_KEYS if key in names), None)
    return None if path is None or label is None else (path, label)


def model_classes(data: Labelled, labels: Sequence[str] | None, classes: int) -> tuple[NDArray[np.int64], str | None]:
    """Each image's class as the model's index, and a note for the user on how classes were matched.

    Classes are matched by name if the model has every name of the data; otherwise by order if the counts are equal. A
    model with one class more than the data is taken to have the background first.

    Raises:
        DataError: The data has classes that the model does not have.
    """
    if data.names is None:
        return _by_number(data.labels, classes, len(set(data.labels.tolist())))
    if labels:
        known = {_key(label): index for index, label in reversed([*enumerate(labels)])}
        numbers = [known.get(_key(name)) for name in data.names]
        if None not in numbers:
            return np.array(numbers, np.int64)[data.labels], None
    missing = next((name for name in data.names if labels and _key(name) not in known), None)
    if len(data.names) in (classes, classes - _BACKGROUND):
        shift = classes - len(data.names)
        behind = ", behind the background" if shift else ""
        return data.labels + shift, f"classes are taken in the order of their names{behind}"
    hint = f"the model has no class {missing!r}" if missing else "name the model's classes with --labels"
    raise DataError(f"the data has {len(data.names)} classes, the model {classes}", hint=hint)


def _by_number(labels: NDArray[np.int64], classes: int, seen: int) -> tuple[NDArray[np.int64], str | None]:
    if labels.max() >= classes:
        raise DataError(f"label {labels.max()} is not among the model's {classes} classes, 0 to {classes - 1}")
    if classes == 1001 and labels.max() < 1000 and seen > 1:
        return (
            labels + _BACKGROUND,
            "the model has 1001 classes: class 0 is taken as the background, label i as class i + 1",
        )
    return labels, None


def _key(name: str) -> str:
    """A normalised name, equal for two spellings: the first synonym, in lower case, with spaces."""
    return name.partition(",")[0].strip().lower().replace("_", " ")

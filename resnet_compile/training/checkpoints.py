"""A training run's checkpoints: all that it needs to go on, in one file that appears whole or not at all."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.checked_file import fault
from resnet_compile.checkpoints.training_run import (
    PROGRESS,
    checkpoint_files,
    checkpoint_name,
    newest_whole,
    open_whole,
)
from resnet_compile.errors import CheckpointError, OutputError, TrainingError
from resnet_compile.files import as_path, replacing

# The words of runs from before they were called accuracies.
_RENAMED = {"precision": "accuracy", "best_precision": "best_accuracy"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Steps taken.
        steps: Steps to take in all.
        evaluated: Steps taken when it was last evaluated; 0 where it never was.
        accuracy: What that evaluation said.
        best_accuracy: The best that any said.
        best_step: Steps taken when it said so, the last time where several were as good; None where none is known.
        setup: What the steps depend on, as JSON values: the spec, the options, the data.
        class_names: The names of the classes, where the data has names for them.
    """

    step: int
    steps: int
    setup: Mapping[str, Any]
    evaluated: int = 0
    accuracy: float | None = None
    best_accuracy: float | None = None
    best_step: int | None = None
    class_names: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was read back.

    Attributes:
        path: Its file.
        progress: How far the run was.
        state: Every state variable by its name.
    """

    path: Path
    progress: Progress
    state: Mapping[str, NDArray[Any]]


def save_checkpoint(folder: Path, state: Mapping[str, NDArray[Any]], progress: Progress, keep: int) -> Path:
    """Writes a checkpoint and then removes the oldest ones, the best apart.

    It is written aside, brought to the disk and renamed, so that a process killed at any moment, or a machine that
    stops, leaves either this checkpoint whole or those before it.

    Args:
        folder: The run's.
        state: Every state variable by its name.
        progress: Goes into the file too.
        keep: How many checkpoints to leave, this one among them, and the best one besides.

    Returns:
        The file.

    Raises:
        TrainingError: A variable is not finite; nothing is written.
        OutputError: It cannot be written; those before it stay.
    """
    require_finite(state)
    path = folder / checkpoint_name(progress.step)
    with replacing(path, durable=True) as file:
        _write(file, {PROGRESS: np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8), **state})
    best = checkpoint_name(progress.best_step) if progress.best_step is not None else None
    for old in checkpoint_files(folder)[keep:]:
        if old.name != best:
            old.unlink(missing_ok=True)
    return path


def require_finite(state: Mapping[str, NDArray[Any]]) -> None:
    """Raises a `TrainingError` that names the first variable with a value that is no finite number."""
    for name, values in state.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TrainingError("holds a value that is not finite", where=name)


def _write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An `.npz` of arrays, not compressed, the same bytes for the same arrays."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getbuffer())


def read_checkpoint(file: Path) -> Saved:
    """Reads one checkpoint whole.

    Raises:
        CheckpointError: It is damaged, or no checkpoint of a training run.
    """
    with open_whole(file) as checkpoint:
        try:
            progress = Progress(**renamed(json.loads(checkpoint[PROGRESS].tobytes())))
        except (KeyError, TypeError, ValueError):
            raise fault(file, "not a checkpoint of a training run") from None
        return Saved(file, progress, {name: np.array(checkpoint[name]) for name in checkpoint if name != PROGRESS})


def renamed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object of a run in the words of today."""
    return {_RENAMED.get(key, key): value for key, value in entry.items()}


def best_accuracy(path: str | os.PathLike[str]) -> float | None:
    """The best that any evaluation of a run said, by its folder or one of its checkpoints; None of anything else."""
    path = as_path(path)
    try:
        saved = newest_whole(path, read_checkpoint)[0] if path.is_dir() else read_checkpoint(path)
    except CheckpointError:
        return None
    return saved.progress.best_accuracy if saved else None


def best_checkpoint(folder: Path, progress: Progress) -> Path | None:
    """The file of the checkpoint that did best; None where none was evaluated, or it is gone."""
    if progress.best_step is None:
        return None
    best = folder / checkpoint_name(progress.best_step)
    return best if best.exists() else None


def clear_folder(folder: Path, newest: Path | None) -> None:
    """Removes what a killed run left half-written, and puts damaged checkpoints out of the way of those to come.

    Args:
        folder: The run's; it is made where it is not there.
        newest: Its newest whole checkpoint.

    Raises:
        OutputError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # As `replacing` calls them; what else lies there is not ours.
        for written in ("checkpoint-*.npz", "log.jsonl"):
            for part in folder.glob(f".{written}.*.part"):
                part.unlink(missing_ok=True)
        for file in checkpoint_files(folder):
            if newest is None or file.name == newest.name:
                break
            file.replace(file.with_name(f"{file.name}.damaged"))
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(folder)) from None

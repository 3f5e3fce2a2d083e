"""Training checkpoints: everything that a run needs to resume, in one file that appears whole or not at all."""

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

# Older runs called accuracies by these keys.
_RENAMED = {"precision": "accuracy", "best_precision": "best_accuracy"}


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes:
        step: Steps taken.
        steps: Steps to take in all.
        evaluated: The step of the last evaluation; 0 if there was none.
        accuracy: The accuracy of the last evaluation.
        best_accuracy: The best accuracy of any evaluation.
        best_step: The step of the best accuracy, the latest of equally good ones; None if unknown.
        setup: Everything that determines the steps, as JSON values: the spec, the options, the data.
        class_names: The names of the classes, if the data has names.
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
        path: The checkpoint's file.
        progress: The run's progress at that step.
        state: Every state variable by its name.
    """

    path: Path
    progress: Progress
    state: Mapping[str, NDArray[Any]]


def save_checkpoint(folder: Path, state: Mapping[str, NDArray[Any]], progress: Progress, keep: int) -> Path:
    """Writes a checkpoint, then removes the oldest ones except the best.

    The checkpoint is written to a temporary file, flushed to disk and renamed. If the process is killed or the machine
    stops, either the new checkpoint is whole or the earlier ones remain.

    Args:
        folder: The run's folder.
        state: Every state variable by its name.
        progress: The run's progress, which goes into the file too.
        keep: How many checkpoints to keep, including this one; the best one is kept in addition.

    Returns:
        The checkpoint's file.

    Raises:
        TrainingError: A variable is not finite; nothing is written.
        OutputError: The checkpoint cannot be written; earlier ones remain.
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
    """Raises a `TrainingError` that names the first variable with a value that is not finite."""
    for name, values in state.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TrainingError("holds a value that is not finite", where=name)


def _write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays as an uncompressed `.npz`: the same bytes for the same arrays."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getbuffer())


def read_checkpoint(file: Path) -> Saved:
    """Reads a whole checkpoint.

    Raises:
        CheckpointError: The file is damaged, or is not a checkpoint of a training run.
    """
    with open_whole(file) as checkpoint:
        try:
            progress = Progress(**renamed(json.loads(checkpoint[PROGRESS].tobytes())))
        except (KeyError, TypeError, ValueError):
            raise fault(file, "not a checkpoint of a training run") from None
        return Saved(file, progress, {name: np.array(checkpoint[name]) for name in checkpoint if name != PROGRESS})


def renamed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A run's JSON object with old keys replaced by current ones."""
    return {_RENAMED.get(key, key): value for key, value in entry.items()}


def best_accuracy(path: str | os.PathLike[str]) -> float | None:
    """The best accuracy of a run, given by its folder or one of its checkpoints; None for any other path."""
    path = as_path(path)
    try:
        saved = newest_whole(path, read_checkpoint)[0] if path.is_dir() else read_checkpoint(path)
    except CheckpointError:
        return None
    return saved.progress.best_accuracy if saved else None


def best_checkpoint(folder: Path, progress: Progress) -> Path | None:
    """The file of the best checkpoint; None if none was evaluated, or if the file is gone."""
    if progress.best_step is None:
        return None
    best = folder / checkpoint_name(progress.best_step)
    return best if best.exists() else None


def clear_folder(folder: Path, newest: Path | None) -> None:
    """Removes half-written files of a killed run, and moves damaged checkpoints out of the way of new ones.

    Args:
        folder: The run's folder; created if it does not exist.
        newest: The newest whole checkpoint.

    Raises:
        OutputError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The temporary names of `replacing`; all other files belong to the user.
        for written in ("checkpoint-*.npz", "log.jsonl"):
            for part in folder.glob(f".{written}.*.part"):
                part.unlink(missing_ok=True)
        for file in checkpoint_files(folder):
            if newest is None or file.name == newest.name:
                break
            file.replace(file.with_name(f"{file.name}.damaged"))
    except OSError as error:
        raise OutputError(f"cannot write here: {error.strerror}", where=str(folder)) from None

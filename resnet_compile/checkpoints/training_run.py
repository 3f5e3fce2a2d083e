"""The folder of a training run: checkpoints by step; the one with the best evaluation stands for the run.

A checkpoint is an `.npz` file: it has a CRC-32 for every tensor, unlike safetensors, and NumPy alone can open it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from resnet_compile.checkpoints.checked_file import fault, is_folder
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint, is_npz
from resnet_compile.errors import CheckpointError

PROGRESS = "progress"
"""The array with the state of the run, as bytes of JSON. The others are state variables by their names."""

_Read = TypeVar("_Read")
_NAME = re.compile(r"checkpoint-([0-9]{8,})\.npz")


def checkpoint_name(step: int) -> str:
    return f"checkpoint-{step:08}.npz"


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first; empty without such a folder.

    Raises:
        CheckpointError: The folder cannot be read.
    """
    if not is_folder(folder):
        return []
    try:
        found = {int(match[1]): path for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    except OSError as error:
        raise fault(folder, f"cannot read the folder: {error.strerror}") from None
    return [found[step] for step in sorted(found, reverse=True)]


def is_training_run(path: Path) -> bool:
    """Whether the path is a run's folder, or one of its checkpoints."""
    return bool(checkpoint_files(path)) or (_NAME.fullmatch(path.name) is not None and is_npz(path))


def open_training_run(path: Path) -> NpzCheckpoint:
    """Opens a checkpoint of a run, or of a run's folder the one with the best evaluation.

    The newest undamaged checkpoint records which that is; without an evaluation it is that checkpoint. A note says if a
    newer one exists.

    Raises:
        CheckpointError: There is no checkpoint, or all are damaged; `where` is the newest.
    """
    opened = _best_of(path) if is_folder(path) else NpzCheckpoint(path)
    names = _progress(opened).get("class_names")
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        opened.class_names = tuple(names)
    return opened


def _best_of(path: Path) -> NpzCheckpoint:
    newest, _ = newest_whole(path, open_whole)
    if newest is None:
        raise fault(path, "no checkpoint of a training run")
    step = _progress(newest).get("best_step")
    if not isinstance(step, int) or (best := path / checkpoint_name(step)) == newest.files[0] or not best.exists():
        return newest
    try:
        opened = open_whole(best)
    except CheckpointError as error:
        newest.notes = (f"{newest.files[0].name} is read instead of the best checkpoint: {error}",)
        return newest
    newest.close()
    opened.notes = (f"{best.name} is the best checkpoint; the newest is {newest.files[0]}",)
    return opened


def _progress(checkpoint: NpzCheckpoint) -> dict[str, Any]:
    """The state of the run in a checkpoint; empty for other checkpoints."""
    try:
        told = json.loads(checkpoint[PROGRESS].tobytes())
    except (KeyError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def newest_whole(folder: Path, read: Callable[[Path], _Read]) -> tuple[_Read | None, list[CheckpointError]]:
    """The newest checkpoint that can be read, or None; and the errors of newer ones.

    Raises:
        CheckpointError: All checkpoints are damaged; the error is the newest one's.
    """
    faults: list[CheckpointError] = []
    for file in checkpoint_files(folder):
        try:
            return read(file), faults
        except CheckpointError as error:
            faults.append(error)
    if faults:
        raise faults[0]
    return None, []


def open_whole(file: Path) -> NpzCheckpoint:
    """Opens a checkpoint and verifies the checksum of every tensor; raises `CheckpointError` if it is damaged."""
    checkpoint = NpzCheckpoint(file)
    for name in checkpoint:
        checkpoint[name]
    return checkpoint

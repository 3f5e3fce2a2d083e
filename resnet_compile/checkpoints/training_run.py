"""The folder of a training run: checkpoints by their steps, of which the newest good one counts.

A checkpoint is an `.npz` file. Of the formats that are read here anyway it has a CRC-32 for every tensor, which
safetensors has not, and it opens in NumPy alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from resnet_compile.checkpoints.checked_file import fault, is_folder
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint
from resnet_compile.errors import CheckpointError

_Read = TypeVar("_Read")
_NAME = re.compile(r"checkpoint-([0-9]{8,})\.npz")


def checkpoint_name(step: int) -> str:
    """The file name of the checkpoint after so many steps."""
    return f"checkpoint-{step:08}.npz"


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first; none where there is no such folder.

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
    """Whether the path is a folder with checkpoints of ours in it."""
    return bool(checkpoint_files(path))


def open_training_run(path: Path) -> NpzCheckpoint:
    """Open the newest checkpoint of a run that is whole; `CheckpointError` about the newest one where none is."""
    newest, _ = newest_whole(path, open_whole)
    if newest is None:
        raise fault(path, "no checkpoint of a training run")
    return newest


def newest_whole(folder: Path, read: Callable[[Path], _Read]) -> tuple[_Read | None, list[CheckpointError]]:
    """The newest checkpoint that can be read, None where there is none; and what is wrong with those that are newer.

    Raises:
        CheckpointError: There are checkpoints, and all are damaged; it is about the newest.
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
    """Open one checkpoint and verify the checksum of every tensor in it; `CheckpointError` where it is damaged."""
    checkpoint = NpzCheckpoint(file)
    for name in checkpoint:
        checkpoint[name]
    return checkpoint

"""All formats, and which of them a file is of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.hdf5.keras import KerasArchive, KerasCheckpoint, is_keras_archive, is_keras_h5
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint, is_npz
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, is_onnx
from resnet_compile.checkpoints.places import HUB_FILES, explained, meant
from resnet_compile.checkpoints.safetensors_file import (
    SafetensorsCheckpoint,
    ShardedSafetensorsCheckpoint,
    is_safetensors,
    is_safetensors_index,
)
from resnet_compile.checkpoints.tensorflow.frozen import FrozenGraphCheckpoint, is_frozen_graph
from resnet_compile.checkpoints.tensorflow.tflite import TensorFlowLiteCheckpoint, is_tflite
from resnet_compile.checkpoints.tensorflow.v1 import TensorFlowV1Checkpoint, is_tensorflow_v1
from resnet_compile.checkpoints.tensorflow.v2 import TensorFlowV2Checkpoint, is_tensorflow_v2
from resnet_compile.checkpoints.torch.file import PickleCheckpoint, PyTorchCheckpoint, is_pickle, is_pytorch
from resnet_compile.checkpoints.training_run import is_training_run, open_training_run
from resnet_compile.checkpoints.wrong_files import hub_config


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """One format.

    Attributes:
        name: What people call it.
        matches: Whether a path means a checkpoint of this format, by its content.
        open: Opens one; `CheckpointError` where it is damaged, hostile or not one.
    """

    name: str
    matches: Callable[[Path], bool]
    open: Callable[[Path], Checkpoint]


FORMATS = (
    CheckpointFormat(TensorFlowV1Checkpoint.format, is_tensorflow_v1, TensorFlowV1Checkpoint),
    CheckpointFormat(TensorFlowV2Checkpoint.format, is_tensorflow_v2, TensorFlowV2Checkpoint),
    CheckpointFormat("training run", is_training_run, open_training_run),
    CheckpointFormat(NpzCheckpoint.format, is_npz, NpzCheckpoint),
    CheckpointFormat(PyTorchCheckpoint.format, is_pytorch, PyTorchCheckpoint),
    CheckpointFormat(PickleCheckpoint.format, is_pickle, PickleCheckpoint),
    CheckpointFormat(SafetensorsCheckpoint.format, is_safetensors, SafetensorsCheckpoint),
    CheckpointFormat(ShardedSafetensorsCheckpoint.format, is_safetensors_index, ShardedSafetensorsCheckpoint),
    CheckpointFormat(KerasCheckpoint.format, is_keras_h5, KerasCheckpoint),
    CheckpointFormat(KerasArchive.format, is_keras_archive, KerasArchive),
    CheckpointFormat(OnnxCheckpoint.format, is_onnx, OnnxCheckpoint),
    CheckpointFormat(FrozenGraphCheckpoint.format, is_frozen_graph, FrozenGraphCheckpoint),
    CheckpointFormat(TensorFlowLiteCheckpoint.format, is_tflite, TensorFlowLiteCheckpoint),
)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a path is, or stands for, a checkpoint of any format, by its content."""
    return _find(Path(path)) is not None


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint of any format; which one, its content tells and not its name.

    Args:
        path: A file; for TensorFlow also the prefix of a V2 checkpoint or of shards, with or without its step; a folder
            with one checkpoint in it: of training, a SavedModel, a hub's, of a training run of ours.

    Raises:
        CheckpointError: There is no such file, its format is none of these, or it is damaged.
    """
    path = Path(path)
    found = _find(path)
    if found is None:
        raise explained(path, _is_known, f"read are: {'; '.join(row.name for row in FORMATS)}")
    row, place = found
    checkpoint = row.open(place)
    if place.name in HUB_FILES:
        checkpoint.config = hub_config(place.with_name("config.json"))
        checkpoint.preprocessor = hub_config(place.with_name("preprocessor_config.json"))
    return checkpoint


def _find(path: Path) -> tuple[CheckpointFormat, Path] | None:
    """The format of a checkpoint and where it lies."""
    for place in (path, meant(path, _is_known)):
        for row in FORMATS:
            if place is not None and row.matches(place):
                return row, place
    return None


def _is_known(path: Path) -> bool:
    return any(row.matches(path) for row in FORMATS)

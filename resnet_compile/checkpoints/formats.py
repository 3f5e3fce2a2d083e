"""All formats, and which of them a file is of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.checked_file import fault
from resnet_compile.checkpoints.hdf5.keras import KerasCheckpoint, is_keras_h5
from resnet_compile.checkpoints.numpy_npz import NpzCheckpoint, is_npz
from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint, is_onnx
from resnet_compile.checkpoints.safetensors_file import (
    SafetensorsCheckpoint,
    ShardedSafetensorsCheckpoint,
    is_safetensors,
    is_safetensors_index,
)
from resnet_compile.checkpoints.tensorflow.frozen import FrozenGraphCheckpoint, is_frozen_graph
from resnet_compile.checkpoints.tensorflow.v1 import TensorFlowV1Checkpoint, is_tensorflow_v1
from resnet_compile.checkpoints.tensorflow.v2 import TensorFlowV2Checkpoint, is_tensorflow_v2
from resnet_compile.checkpoints.torch.file import PyTorchCheckpoint, is_pytorch
from resnet_compile.checkpoints.training_run import is_training_run, open_training_run


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
    CheckpointFormat(SafetensorsCheckpoint.format, is_safetensors, SafetensorsCheckpoint),
    CheckpointFormat(ShardedSafetensorsCheckpoint.format, is_safetensors_index, ShardedSafetensorsCheckpoint),
    CheckpointFormat(KerasCheckpoint.format, is_keras_h5, KerasCheckpoint),
    CheckpointFormat(OnnxCheckpoint.format, is_onnx, OnnxCheckpoint),
    CheckpointFormat(FrozenGraphCheckpoint.format, is_frozen_graph, FrozenGraphCheckpoint),
)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like a checkpoint of any format, by its content."""
    return any(row.matches(Path(path)) for row in FORMATS)


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint of any format; which one, its content tells and not its name.

    Args:
        path: A file; for TensorFlow also the prefix of a V2 checkpoint or of shards, or a training folder; the folder
            of a training run of ours.

    Raises:
        CheckpointError: There is no such file, its format is none of these, or it is damaged.
    """
    path = Path(path)
    for row in FORMATS:
        if row.matches(path):
            return row.open(path)
    if not path.exists():
        raise fault(path, "no such checkpoint")
    raise fault(path, "not a checkpoint of a known format", hint=f"read are: {'; '.join(row.name for row in FORMATS)}")

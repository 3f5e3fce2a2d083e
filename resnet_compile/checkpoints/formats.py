"""All formats, and which of them a file is of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.hdf5.keras import is_keras_h5, open_keras_h5
from resnet_compile.checkpoints.numpy_npz import is_npz, open_npz
from resnet_compile.checkpoints.onnx_file import is_onnx, open_onnx
from resnet_compile.checkpoints.safetensors_file import (
    is_safetensors,
    is_safetensors_index,
    open_safetensors,
    open_safetensors_index,
)
from resnet_compile.checkpoints.tensorflow.v1 import open_tensorflow_v1
from resnet_compile.checkpoints.tensorflow.v1 import sniff as is_tensorflow_v1
from resnet_compile.checkpoints.tensorflow.v2 import open_tensorflow_v2
from resnet_compile.checkpoints.tensorflow.v2 import sniff as is_tensorflow_v2
from resnet_compile.checkpoints.torch.file import is_pytorch, open_pytorch
from resnet_compile.checkpoints.training_run import is_training_run, open_training_run
from resnet_compile.errors import CheckpointError

_FORMATS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Checkpoint]], ...] = (
    (is_tensorflow_v1, open_tensorflow_v1),
    (is_tensorflow_v2, open_tensorflow_v2),
    (is_training_run, open_training_run),
    (is_npz, open_npz),
    (is_pytorch, open_pytorch),
    (is_safetensors, open_safetensors),
    (is_safetensors_index, open_safetensors_index),
    (is_keras_h5, open_keras_h5),
    (is_onnx, open_onnx),
)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like a checkpoint of any format, by its content."""
    return any(looks(Path(path)) for looks, _ in _FORMATS)


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint of any format; which one, its content tells and not its name.

    Args:
        path: A file; for TensorFlow also the prefix of a V2 checkpoint or of shards, or a training folder; the folder
            of a training run of ours.

    Raises:
        CheckpointError: There is no such file, its format is none of these, or it is damaged.
    """
    for looks, opens in _FORMATS:
        if looks(Path(path)):
            return opens(Path(path))
    reason = "not a checkpoint of a known format" if Path(path).exists() else "no such checkpoint"
    raise CheckpointError(reason, where=str(path))

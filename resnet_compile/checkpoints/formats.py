"""All checkpoint formats, and the format of a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.places import HUB_FILES, explained, meant
from resnet_compile.checkpoints.wrong_files import hub_config


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """One format: its usual name, the module of its reader, and what opens and what recognises a checkpoint in that.

    The reader is imported on first use: importing all readers takes longer than reading a file.
    """

    name: str
    module: str
    opener: str
    recogniser: str

    def matches(self, path: Path) -> bool:
        """Whether a path is a checkpoint of this format, by its content."""
        return bool(self._member(self.recogniser)(path))

    def open(self, path: Path) -> Checkpoint:
        """Opens a checkpoint; raises `CheckpointError` if it is damaged, hostile or of another format."""
        made: Checkpoint = self._member(self.opener)(path)
        return made

    def _member(self, name: str) -> Any:
        return getattr(import_module(f"{__package__}.{self.module}"), name)


# The readers that are cheapest to import come first; no file has two formats.
FORMATS = (
    CheckpointFormat("safetensors", "safetensors_file", "SafetensorsCheckpoint", "is_safetensors"),
    CheckpointFormat(
        "safetensors, sharded", "safetensors_file", "ShardedSafetensorsCheckpoint", "is_safetensors_index"
    ),
    CheckpointFormat("TensorFlow V1 checkpoint", "tensorflow.v1", "TensorFlowV1Checkpoint", "is_tensorflow_v1"),
    CheckpointFormat("TensorFlow V2 checkpoint", "tensorflow.v2", "TensorFlowV2Checkpoint", "is_tensorflow_v2"),
    CheckpointFormat("PyTorch", "torch.file", "PyTorchCheckpoint", "is_pytorch"),
    CheckpointFormat("pickle", "torch.file", "PickleCheckpoint", "is_pickle"),
    CheckpointFormat("training run", "training_run", "open_training_run", "is_training_run"),
    CheckpointFormat("NumPy npz", "numpy_npz", "NpzCheckpoint", "is_npz"),
    CheckpointFormat("Keras HDF5", "hdf5.keras", "KerasCheckpoint", "is_keras_h5"),
    CheckpointFormat("Keras archive", "hdf5.keras", "KerasArchive", "is_keras_archive"),
    CheckpointFormat("ONNX", "onnx_file", "OnnxCheckpoint", "is_onnx"),
    CheckpointFormat("TensorFlow frozen graph", "tensorflow.frozen", "FrozenGraphCheckpoint", "is_frozen_graph"),
    CheckpointFormat("TensorFlow Lite", "tensorflow.tflite", "TensorFlowLiteCheckpoint", "is_tflite"),
)


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a checkpoint of any format or stands for one, by its content."""
    return _find(Path(path)) is not None


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint of any format. The format is recognised by content, not by name.

    Args:
        path: A file, or a folder with one checkpoint: a TensorFlow training folder, a SavedModel, a hub's folder, a
            training run of this package. For TensorFlow also the prefix of a V2 checkpoint or of shards, with or
            without its step.

    Raises:
        CheckpointError: There is no such file, its format is unknown, or it is damaged.
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
    for place in (path, meant(path, _is_known)):
        for row in FORMATS:
            if place is not None and row.matches(place):
                return row, place
    return None


def _is_known(path: Path) -> bool:
    return any(row.matches(path) for row in FORMATS)

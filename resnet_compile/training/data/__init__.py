"""Labelled images on their way to a training step: CIFAR files, image trees and `.npz`, augmented and batched."""

from resnet_compile.training.data.batches import Batch, evaluation_batches, training_batches
from resnet_compile.training.data.dataset import Dataset, Split
from resnet_compile.training.data.opening import open_dataset
from resnet_compile.training.options import Augmentation

__all__ = [
    "Augmentation",
    "Batch",
    "Dataset",
    "Split",
    "evaluation_batches",
    "open_dataset",
    "training_batches",
]

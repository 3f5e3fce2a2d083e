"""Labelled images on their way to a training step: CIFAR files, image trees and `.npz`, augmented and batched."""

from resnet_compile.training.data.batches import Batch, training_batches
from resnet_compile.training.data.dataset import Dataset, Split, check_images
from resnet_compile.training.data.opening import Splits, open_dataset, open_splits
from resnet_compile.training.options import Augmentation

__all__ = [
    "Augmentation",
    "Batch",
    "Dataset",
    "Split",
    "Splits",
    "check_images",
    "open_dataset",
    "open_splits",
    "training_batches",
]

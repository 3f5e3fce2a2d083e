"""Training without a training framework: a network's step as an ONNX graph that any runtime can take."""

from resnet_compile.training.step import (
    ACCURACY,
    IMAGES,
    LABELS,
    LEARNING_RATE,
    LOSS,
    PREDICTIONS,
    TrainingStep,
    compile_step,
)
from resnet_compile.training.update import next_name

__all__ = [
    "ACCURACY",
    "IMAGES",
    "LABELS",
    "LEARNING_RATE",
    "LOSS",
    "PREDICTIONS",
    "TrainingStep",
    "compile_step",
    "next_name",
]

"""Training without a training framework: a network's step as an ONNX graph that any runtime can take, and its loop."""

from resnet_compile.training.checkpoints import Progress, best_accuracy
from resnet_compile.training.evaluation import Evaluation, evaluate
from resnet_compile.training.loop import Listener, StepTaken
from resnet_compile.training.options import (
    CIFAR_SCHEDULE,
    CosineSchedule,
    PiecewiseSchedule,
    StepOptions,
    TrainOptions,
    learning_rate,
    parse_schedule,
    read_schedule,
)
from resnet_compile.training.program import SESSION_OPTIONS, Trained, evaluate_run, train
from resnet_compile.training.run_log import read_log
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
    "CIFAR_SCHEDULE",
    "IMAGES",
    "LABELS",
    "LEARNING_RATE",
    "LOSS",
    "PREDICTIONS",
    "SESSION_OPTIONS",
    "CosineSchedule",
    "Evaluation",
    "Listener",
    "PiecewiseSchedule",
    "Progress",
    "StepOptions",
    "StepTaken",
    "TrainOptions",
    "Trained",
    "TrainingStep",
    "best_accuracy",
    "compile_step",
    "evaluate",
    "evaluate_run",
    "learning_rate",
    "next_name",
    "parse_schedule",
    "read_log",
    "read_schedule",
    "train",
]

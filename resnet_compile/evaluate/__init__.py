"""Evaluates models on labelled images: opens the images, runs the model, matches classes. `metrics` has the scores."""

from resnet_compile.evaluate.labelled import Labelled, open_labelled
from resnet_compile.evaluate.run import Evaluated, evaluate

__all__ = ["Evaluated", "Labelled", "evaluate", "open_labelled"]

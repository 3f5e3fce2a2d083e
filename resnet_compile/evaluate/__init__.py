"""Judging models on labelled images: opening these, running them, matching classes. The figures are `metrics`'s."""

from resnet_compile.evaluate.labelled import Labelled, open_labelled
from resnet_compile.evaluate.run import Evaluated, evaluate

__all__ = ["Evaluated", "Labelled", "evaluate", "open_labelled"]

"""Reverse-mode gradients of graphs: one rule per operator, and a walk that knows no operator."""

from resnet_compile.training.gradients.rule import Average, Emitter, Target
from resnet_compile.training.gradients.walk import RULES, Trace, backward, trace

__all__ = ["RULES", "Average", "Emitter", "Target", "Trace", "backward", "trace"]

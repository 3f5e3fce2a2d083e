"""Reverse-mode gradients of graphs: one rule per operator, and a walk that applies them.

Each rule states its formula. A convolution's sums have several forms with the same result up to rounding: `fastest`
chooses among them for speed alone, `convolution` and `weights` write them.
"""

from resnet_compile.training.gradients.rule import Average, Emitter, Target
from resnet_compile.training.gradients.walk import RULES, Trace, backward, trace

__all__ = ["RULES", "Average", "Emitter", "Target", "Trace", "backward", "trace"]

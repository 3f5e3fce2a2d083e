"""The table of gradient rules: one row for each operator of an inference graph."""

from __future__ import annotations

from collections.abc import Mapping

from resnet_compile.training.gradients.activation import RULES as ACTIVATION
from resnet_compile.training.gradients.convolution import RULES as CONVOLUTION
from resnet_compile.training.gradients.linear import RULES as LINEAR
from resnet_compile.training.gradients.normalization import RULES as NORMALIZATION
from resnet_compile.training.gradients.pooling import RULES as POOLING
from resnet_compile.training.gradients.rule import Rule

RULES: Mapping[str, Rule] = {**ACTIVATION, **CONVOLUTION, **LINEAR, **NORMALIZATION, **POOLING}

"""The distributions of initial weights in each system, by the fans of a layer.

fan_in is a kernel's rows times columns times the input channels of one output; fan_out is rows times columns times the
layer's output channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

from resnet_compile.plan.parameters import Constant, Initial, Normal, TruncatedNormal, Uniform
from resnet_compile.spec.network import InitializerName


@dataclass(frozen=True, slots=True)
class Fans:
    """The number of products that an output value sums, and the number of outputs that an input value reaches."""

    inward: int
    outward: int


InitialRule = Callable[[Fans], Initial]


@dataclass(frozen=True, slots=True)
class LayerInitializer:
    """The rules for a layer's initial weights and biases."""

    weights: InitialRule
    biases: InitialRule = lambda fans: Constant(0.0)


@dataclass(frozen=True, slots=True)
class Initializer:
    """One system's rules, for the network's body and for its logits."""

    body: LayerInitializer
    logits: LayerInitializer


def _variance_scaling(fans: Fans) -> Initial:
    """TF-slim's `variance_scaling_initializer`: a truncated normal of variance about 2 / fan_in.

    The factor 1.3 makes up for the truncation at two standard deviations.
    """
    return TruncatedNormal(sqrt(1.3 * 2.0 / fans.inward))


def _kaiming_normal(fans: Fans) -> Initial:
    """PyTorch's `kaiming_normal_` with mode `fan_out`, and the CIFAR system's own rule: variance 2 / fan_out."""
    return Normal(sqrt(2.0 / fans.outward))


def _kaiming_normal_inward(fans: Fans) -> Initial:
    """PyTorch's `kaiming_normal_` with its default mode: variance 2 / fan_in."""
    return Normal(sqrt(2.0 / fans.inward))


def _unit_scaling(fans: Fans) -> Initial:
    """TensorFlow's `uniform_unit_scaling_initializer` of factor 1: variance 1 / fan_in."""
    return Uniform(sqrt(3.0 / fans.inward))


def _linear(fans: Fans) -> Initial:
    """PyTorch's `reset_parameters`, for weights and biases: `kaiming_uniform_` with a slope of sqrt(5)."""
    return Uniform(1.0 / sqrt(fans.inward))


def _small_normal(fans: Fans) -> Initial:
    """The head of timm's networks (`resnetv2._init_weights`): deviation 0.01, whatever the fans."""
    return Normal(0.01)


def _glorot_uniform(fans: Fans) -> Initial:
    """Keras's default: variance 2 / (fan_in + fan_out)."""
    return Uniform(sqrt(6.0 / (fans.inward + fans.outward)))


# The standard deviation of a standard normal distribution that is truncated at -2 and 2.
_TRUNCATED_DEVIATION = 0.87962566103423978


def _unit_truncated(fans: Fans) -> Initial:
    """TensorFlow's own `variance_scaling_initializer`: a truncated normal of variance 1 / fan_in."""
    return TruncatedNormal(sqrt(1.0 / fans.inward) / _TRUNCATED_DEVIATION)


def _he_normal(fans: Fans) -> Initial:
    """Keras's `he_normal`: a truncated normal of variance 2 / fan_in."""
    return TruncatedNormal(sqrt(2.0 / fans.inward) / _TRUNCATED_DEVIATION)


INITIALIZERS: Mapping[InitializerName, Initializer] = {
    "slim": Initializer(LayerInitializer(_variance_scaling), LayerInitializer(_variance_scaling)),
    "cifar": Initializer(LayerInitializer(_kaiming_normal), LayerInitializer(_unit_scaling)),
    "torchvision": Initializer(LayerInitializer(_kaiming_normal), LayerInitializer(_linear, biases=_linear)),
    "timm": Initializer(LayerInitializer(_kaiming_normal), LayerInitializer(_small_normal)),
    "tf_official": Initializer(LayerInitializer(_unit_truncated), LayerInitializer(_glorot_uniform)),
    "mlperf_tiny": Initializer(LayerInitializer(_he_normal), LayerInitializer(_he_normal)),
    "keras": Initializer(LayerInitializer(_glorot_uniform), LayerInitializer(_glorot_uniform)),
    "pytorch": Initializer(LayerInitializer(_linear, biases=_linear), LayerInitializer(_linear, biases=_linear)),
    "akamaster": Initializer(
        LayerInitializer(_kaiming_normal_inward), LayerInitializer(_kaiming_normal_inward, biases=_linear)
    ),
}

"""Resolved layers: nothing is left to choose, and nothing is known of JSON or ONNX."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_compile.plan.geometry import FeatureMap, Padding, fixed_padding, same_padding, window_output
from resnet_compile.plan.parameters import Constant, Parameter, Role, variance_scaling
from resnet_compile.spec.network import BatchNorm


@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0)."""


Activation = Relu


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalisation over the channels of one map, by moving statistics."""

    scope: str
    epsilon: float
    gamma: Parameter | None
    beta: Parameter
    moving_mean: Parameter
    moving_variance: Parameter

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """In checkpoint order."""
        gamma = (self.gamma,) if self.gamma else ()
        return (*gamma, self.beta, self.moving_mean, self.moving_variance)


@dataclass(frozen=True, slots=True)
class NormActivation:
    """A normalisation and what follows it, standing alone: a pre-activation or the last norm of a network."""

    scope: str
    map: FeatureMap
    norm: Norm
    activation: Activation | None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The norm's."""
        return self.norm.parameters


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution with what follows it: bias or normalisation, then an activation.

    Attributes:
        scope: The layer's name; its value after norm and activation bears it too.
        source: The map it reads.
        output: The map it makes.
        kernel: Rows and columns of the square kernel.
        stride: The stride after `output_stride` had its say.
        rate: Distance of the kernel's taps, 1 where it is not atrous.
        padding: Zeros around the source.
        weights: OIHW.
    """

    scope: str
    source: FeatureMap
    output: FeatureMap
    kernel: int
    stride: int
    rate: int
    padding: Padding
    weights: Parameter
    biases: Parameter | None
    norm: Norm | None
    activation: Activation | None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """In checkpoint order."""
        biases = (self.biases,) if self.biases else ()
        return (self.weights, *biases, *(self.norm.parameters if self.norm else ()))

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: every weight, once for each output position."""
        return self.weights.size * self.output.height * self.output.width


@dataclass(frozen=True, slots=True)
class MaxPool:
    """A max pool whose padding never wins."""

    scope: str
    source: FeatureMap
    output: FeatureMap
    kernel: int
    stride: int
    padding: Padding


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over rows and columns, which stay as axes of length 1."""

    scope: str
    source: FeatureMap

    @property
    def output(self) -> FeatureMap:
        """One row and one column."""
        return FeatureMap(self.source.channels, 1, 1)


Layer = Conv | NormActivation | MaxPool | GlobalPool


def norm(scope: str, channels: int, spec: BatchNorm) -> Norm:
    """Batch normalisation at its starting values: gamma and variance 1, beta and mean 0."""

    def parameter(role: Role, value: float) -> Parameter:
        return Parameter(f"{scope}/{role}", (channels,), role, Constant(value))

    return Norm(
        scope=scope,
        epsilon=spec.epsilon,
        gamma=parameter("gamma", 1.0) if spec.scale else None,
        beta=parameter("beta", 0.0),
        moving_mean=parameter("moving_mean", 0.0),
        moving_variance=parameter("moving_variance", 1.0),
    )


def norm_activation(scope: str, source: FeatureMap, spec: BatchNorm, activation: Activation | None) -> NormActivation:
    """A normalisation standing alone, with its parameters directly under its scope."""
    return NormActivation(scope, source, norm(scope, source.channels, spec), activation)


def conv(
    scope: str,
    source: FeatureMap,
    depth: int,
    kernel: int,
    *,
    stride: int = 1,
    rate: int = 1,
    biases: bool = False,
    norm_spec: BatchNorm | None = None,
    activation: Activation | None = None,
) -> Conv:
    """A convolution padded as TF-slim's `conv2d_same`, with its parameters named and initialised as slim's."""
    padding = fixed_padding(kernel, rate)
    output = window_output(source, depth, kernel, stride, padding, rate)
    assert output is not None, "fixed padding leaves room for one window at least"
    weights = Parameter(
        f"{scope}/weights",
        (depth, source.channels, kernel, kernel),
        "weights",
        variance_scaling(fan_in=source.channels * kernel * kernel),
    )
    return Conv(
        scope=scope,
        source=source,
        output=output,
        kernel=kernel,
        stride=stride,
        rate=rate,
        padding=padding,
        weights=weights,
        biases=Parameter(f"{scope}/biases", (depth,), "biases", Constant(0.0)) if biases else None,
        norm=norm(f"{scope}/BatchNorm", depth, norm_spec) if norm_spec else None,
        activation=activation,
    )


def max_pool_same(scope: str, source: FeatureMap, kernel: int, stride: int) -> MaxPool:
    """A max pool with TensorFlow's SAME padding."""
    padding = same_padding(source, kernel, stride)
    output = window_output(source, source.channels, kernel, stride, padding)
    assert output is not None, "SAME padding leaves room for one window at least"
    return MaxPool(scope, source, output, kernel, stride, padding)

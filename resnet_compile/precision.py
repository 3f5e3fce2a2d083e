"""The precisions that a network can be compiled to, a class each: its options, and the passes that lead to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from resnet_compile.checked import CheckedModel, Names
from resnet_compile.passes import (
    Pass,
    depthwise_batch_norm,
    fold_batch_norm,
    half_io,
    share_constants,
    to_half,
    winograd,
)
from resnet_compile.targets import TARGET_REQUIREMENTS, Target


class Precision(CheckedModel):
    """The base of all precisions, with their defaults.

    Attributes:
        bound: How far an output may be from the float32 network's: norm of the difference over norm of the reference.
        calibrated: Whether it is made from runs on images, as `resnet_compile.quantize` does.
        targets: The targets whose rewrites go with it.
    """

    bound: ClassVar[float]
    calibrated: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = get_args(Target)

    def passes(self) -> tuple[Pass, ...]:
        """The passes that bring a graph to this precision, after the target's."""
        return ()


class Float32(Precision):
    """Weights and activations in float32."""

    # ResNet-152 shows up to 1e-6, by minimal filtering up to 1e-5; a pass that computes something else, more than 1e-1.
    bound = 1e-4

    kind: Literal["float32"] = "float32"

    winograd: bool = False
    """Whether 3x3 convolutions are computed by minimal filtering where that is faster, with errors up to eleven times
    those of a convolution. For the target `cpu`, a fixed batch and a fixed size.
    """

    def passes(self) -> tuple[Pass, ...]:
        """Minimal filtering, if asked for."""
        return (winograd,) if self.winograd else ()


class Float16(Precision):
    """Weights and activations in float16; means and softmax in float32."""

    # ResNet-152 shows up to 5e-3.
    bound = 5e-2

    kind: Literal["float16"] = "float16"

    io: Literal["float32", "float16"] = "float32"
    """Type of inputs and outputs."""

    def passes(self) -> tuple[Pass, ...]:
        """The layers in half precision, with the constants of norms shared; then inputs and outputs."""
        return (to_half, share_constants, *((half_io,) if self.io == "float16" else ()))


class Int8(Precision):
    """Weights and activations in 8 bits, inputs and outputs in float32; `resnet_compile.quantize` makes it."""

    # The catalogue, narrowed to a few channels, shows up to 1.1e-1 in logits; a scale that is wrong, more than 5e-1.
    bound = 1.5e-1
    calibrated = True
    targets = tuple(target for target, asks in TARGET_REQUIREMENTS.items() if asks.integers)

    kind: Literal["int8"] = "int8"

    calibration: str | Path | None = None
    """A folder of images that set the ranges of activations; None for random numbers, which only suit random weights.
    """

    keep_float: Names = ()
    """Scopes that stay in float32, such as `conv1`, `block4` or `block3/unit_2`, with or without the network's name;
    the logits always do.
    """

    def passes(self) -> tuple[Pass, ...]:
        """The passes after which the graph can be quantised."""
        return fold_batch_norm, depthwise_batch_norm, share_constants


PRECISIONS: dict[str, type[Float32 | Float16 | Int8]] = {"float32": Float32, "float16": Float16, "int8": Int8}
"""The precisions by their words."""


def _by_word(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


AnyPrecision = Annotated[Float32 | Float16 | Int8, Field(discriminator="kind"), BeforeValidator(_by_word)]
"""A precision, or its word for one with the defaults."""

"""The precisions that a network can be compiled to. Each is a class with its options and its passes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from resnet_compile.checked import CheckedModel, Names
from resnet_compile.targets import TARGET_REQUIREMENTS, Target

if TYPE_CHECKING:
    from resnet_compile.passes import Pass


class Precision(CheckedModel):
    """The base class of all precisions, with defaults.

    Attributes:
        bound: The largest relative error of an output that verification accepts: the norm of its difference from the
            float32 network's output over the norm of that output.
        calibrated: Whether calibration images are needed, as for `resnet_compile.quantize`.
        targets: The targets that support this precision.
    """

    bound: ClassVar[float]
    calibrated: ClassVar[bool] = False
    targets: ClassVar[tuple[Target, ...]] = get_args(Target)

    def passes(self) -> tuple[Pass, ...]:
        """The passes that convert a graph to this precision. They run after the target's passes.

        They are imported here, since options name a precision where no graph is made.
        """
        return ()


class Float32(Precision):
    """Weights and activations in float32."""

    # ResNet-152's error is up to 1e-6, with minimal filtering up to 1e-5; that of a wrong pass is more than 1e-1.
    bound = 1e-4

    kind: Literal["float32"] = "float32"

    winograd: bool = False
    """Whether to compute 3x3 convolutions by minimal filtering (Winograd) where that is faster. Errors are up to eleven
    times those of a direct convolution. Needs the target `cpu`, a fixed batch and a fixed size.
    """

    def passes(self) -> tuple[Pass, ...]:
        """Minimal filtering, if asked for."""
        if not self.winograd:
            return ()
        from resnet_compile.passes.winograd import winograd

        return (winograd,)


class Float16(Precision):
    """Weights and activations in float16; means and softmax in float32."""

    # ResNet-152's error is up to 5e-3.
    bound = 5e-2

    kind: Literal["float16"] = "float16"

    io: Literal["float32", "float16"] = "float32"
    """Type of inputs and outputs."""

    def passes(self) -> tuple[Pass, ...]:
        """Converts the layers to half precision, shares the constants of norms, then handles inputs and outputs."""
        from resnet_compile.passes import half_io, share_constants, to_half

        return (to_half, share_constants, *((half_io,) if self.io == "float16" else ()))


class Int8(Precision):
    """Weights and activations in 8 bits, inputs and outputs in float32. Use `resnet_compile.quantize`."""

    # The catalogue's networks, narrowed to a few channels, have errors of up to 1.1e-1 in logits; a wrong scale gives
    # more than 5e-1.
    bound = 1.5e-1
    calibrated = True
    targets = tuple(target for target, asks in TARGET_REQUIREMENTS.items() if asks.integers)

    kind: Literal["int8"] = "int8"

    calibration: str | Path | None = None
    """The folder of images that set the ranges of activations. None uses random numbers, which only suit random
    weights.
    """

    keep_float: Names = ()
    """Scopes that stay in float32, such as `conv1`, `block4` or `block3/unit_2`, with or without the network's name.
    The logits always stay in float32.
    """

    def passes(self) -> tuple[Pass, ...]:
        """The passes that prepare the graph for quantisation."""
        from resnet_compile.passes import depthwise_batch_norm, fold_batch_norm, share_constants

        return fold_batch_norm, depthwise_batch_norm, share_constants


PRECISIONS: dict[str, type[Float32 | Float16 | Int8]] = {"float32": Float32, "float16": Float16, "int8": Int8}
"""The precisions by name."""


def _by_word(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


AnyPrecision = Annotated[Float32 | Float16 | Int8, Field(discriminator="kind"), BeforeValidator(_by_word)]
"""A precision, or the name of one, which stands for its defaults."""

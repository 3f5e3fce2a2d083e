"""What a compilation can be asked for, apart from the network: one frozen value for the API and the command line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resnet_compile.limits import MAX_BATCH
from resnet_compile.spec.base import Side, SpecModel

MAX_SEED = 2**64 - 1


class CompileOptions(SpecModel):
    """The options of `resnet_compile.compile`; the defaults are those of ``resnet-compile``."""

    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    """Seed of the initial weights."""

    naming: str | None = None
    """The naming table by which given weights are read, such as `tf-slim`; None finds it."""

    outputs: Annotated[tuple[str, ...], Field(strict=False)] | Literal["all"] | None = None
    """End points that the model outputs, with or without the network's name; `all` for every one; None for logits and
    predictions.
    """

    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] | Literal["dynamic"] = "dynamic"
    """Images at a time; `dynamic` leaves it to run time."""

    size: tuple[Side, Side] | Literal["dynamic"] | None = None
    """Rows and columns of the input; `dynamic` leaves them to run time; None takes the spec's."""

    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the axes of the input and of every output that has rows and columns."""

    target: Literal["portable", "cpu", "cuda"] | None = None
    """Where the model is to run, for which the graph is rewritten to the same function; None writes every layer and
    parameter as the network has it.
    """

    dtype: Literal["float32", "float16"] = "float32"
    """Type of weights and activations."""

    io_dtype: Literal["float32", "float16"] = "float32"
    """Type of inputs and outputs; float16 only where `dtype` is."""

    opset: int = 18
    """Version of ONNX's default operator set."""

    external_data: bool | None = None
    """Whether the weights go to a file beside the model; None puts them there past 2 GB."""


Optimizer = Literal["momentum", "sgd"]


class StepOptions(SpecModel):
    """The options of `resnet_compile.training.compile_step`."""

    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)]
    """Images at a time."""

    size: tuple[Side, Side] | None = None
    """Rows and columns of the images; None takes the spec's."""

    optimizer: Optimizer = "momentum"
    """`sgd`: w' = w - lr g; `momentum`, of 0.9, in TensorFlow's form: v' = 0.9 v + g, w' = w - lr v'."""

    target: Literal["cpu", "cuda"] = "cpu"
    """The provider in whose best forms gradients are written; the step computes the same on any."""

    opset: int = 18
    """Version of ONNX's default operator set."""

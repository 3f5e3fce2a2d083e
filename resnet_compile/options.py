"""What a compilation can be asked for, apart from the network: one frozen value for the API and the command line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from resnet_compile.limits import MAX_BATCH
from resnet_compile.spec.base import Side, SpecModel
from resnet_compile.spec.loading import parse_as, read_as

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

    dtype: Literal["float32", "float16", "int8"] = "float32"
    """Type of weights and activations; int8 is what `resnet_compile.quantize` makes, with activations in uint8."""

    keep_float: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """End points, layers or what stands above them, such as `conv1` or `block4`, that int8 models have in float32, with
    or without the network's name; the logits always are.
    """

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

    freeze: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Scopes that are not trained, with or without the network's name, such as `conv1` or `block1/unit_1`: their
    variables stay, and their norms go by the moving statistics.
    """

    target: Literal["cpu", "cuda"] = "cpu"
    """The provider in whose best forms gradients are written; the step computes the same on any."""

    opset: int = 18
    """Version of ONNX's default operator set."""


Rate = Annotated[float, Field(ge=0, le=1e30)]


class PiecewiseSchedule(SpecModel):
    """A learning rate that changes at given steps."""

    kind: Literal["piecewise"] = "piecewise"

    boundaries: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]
    """Numbers of steps after which the next value is taken, ascending."""

    values: Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]
    """One more than there are boundaries."""

    @model_validator(mode="after")
    def _values_fit_the_boundaries(self) -> Self:
        for index, (before, boundary) in enumerate(pairwise(self.boundaries), 1):
            if boundary <= before:
                raise PydanticCustomError(
                    "boundaries",
                    "must be greater than the boundary before it, {before}",
                    {"before": before, "path": ("boundaries", index)},
                )
        if len(self.values) != len(self.boundaries) + 1:
            raise PydanticCustomError(
                "values",
                "must have one value more than there are boundaries, {wanted} and not {given}",
                {"wanted": len(self.boundaries) + 1, "given": len(self.values), "path": ("values",)},
            )
        return self


class CosineSchedule(SpecModel):
    """A learning rate that rises linearly to its peak and falls along half a cosine."""

    kind: Literal["cosine"] = "cosine"

    peak: Rate
    """The greatest rate."""

    steps: Annotated[int, Field(ge=1)]
    """The step with which the last value is reached, counted from the first step of all."""

    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps that it takes to reach the peak."""

    final: Rate = 0.0
    """The last value."""

    @model_validator(mode="after")
    def _the_peak_comes_before_the_end(self) -> Self:
        if self.warmup >= self.steps:
            raise PydanticCustomError(
                "warmup", "must be less than steps, {steps}", {"steps": self.steps, "path": ("warmup",)}
            )
        return self


Schedule = Annotated[PiecewiseSchedule | CosineSchedule, Field(discriminator="kind")]
_SCHEDULE: TypeAdapter[PiecewiseSchedule | CosineSchedule] = TypeAdapter(Schedule)


def parse_schedule(text: str | bytes) -> PiecewiseSchedule | CosineSchedule:
    """The schedule that a JSON text describes.

    Raises:
        SpecError: The text is not JSON, or describes no schedule; `where` is the path of the first fault.
    """
    return parse_as(_SCHEDULE.validate_json, text)


def read_schedule(path: Path) -> PiecewiseSchedule | CosineSchedule:
    """The schedule that a JSON file describes.

    Raises:
        SpecError: The file cannot be read or holds no schedule; `where` begins with the file's name.
    """
    return read_as(_SCHEDULE.validate_json, path, "schedule")


CIFAR_SCHEDULE = PiecewiseSchedule(boundaries=(40_000, 60_000, 80_000), values=(0.1, 0.01, 0.001, 0.0001))
"""The CIFAR system's."""

Augmentation = Literal["crop-flip", "crop", "none"]


class TrainOptions(SpecModel):
    """The options of `resnet_compile.training.train`; the defaults are those of ``resnet-train``."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps to take in all, those before a resumption among them."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    """The same in rounds through the training set, in the place of `steps`. With neither, a resumed run goes on to the
    end that it had, and a new one to the schedule's end.
    """

    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 128
    """Images at a time."""

    optimizer: Optimizer = "momentum"
    """As in `StepOptions`."""

    schedule: Schedule = CIFAR_SCHEDULE
    """The learning rate over the steps."""

    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    """Of the initial weights, and of the order and the augmentation of the images."""

    augmentation: Augmentation = "crop-flip"
    """What is done to images of the training set: random crops of the padded image, and random flips."""

    compat: bool = False
    """Read CIFAR-100 as the CIFAR system did, one byte off."""

    freeze: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """As in `StepOptions`."""

    eval_every: Annotated[int, Field(ge=1)] = 1000
    """Steps from one evaluation to the next; the last step is followed by one too."""

    save_every: Annotated[int, Field(ge=1)] = 500
    """Steps from one checkpoint to the next; the last step is followed by one too."""

    keep: Annotated[int, Field(ge=1)] = 5
    """How many checkpoints to keep: the newest ones."""

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise PydanticCustomError("steps", "steps and epochs exclude each other", {"path": ("epochs",)})
        return self

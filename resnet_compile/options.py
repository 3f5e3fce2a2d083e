"""The options of a compilation: one frozen value for the API and the command line."""

from __future__ import annotations

import json
from typing import Literal, Self

from pydantic import model_validator

from resnet_compile.checked import Batch, CheckedModel, Classes, Names, Positive, Seed, Side, invalid
from resnet_compile.errors import inside
from resnet_compile.precision import AnyPrecision, Float32
from resnet_compile.schemes import find_scheme
from resnet_compile.spec import NetworkSpec, SpecSource, as_spec
from resnet_compile.targets import TARGET_REQUIREMENTS, Target


class CompileOptions(CheckedModel):
    """The options of `resnet_compile.compile`; the defaults are those of ``resnet-compile``."""

    seed: Seed = 0
    """Seed of the initial weights."""

    naming: str | None = None
    """The naming table of the given weights, such as `tf-slim`; None detects it."""

    section: Names = ()
    """The section of the given weights that holds the network: a key or a prefix of names, such as `encoder_q`. Give
    several if the network is spread over them; empty detects it.
    """

    ignore: Names = ()
    """Tensors of the given weights to ignore: names, scopes or patterns such as `*.total_ops`."""

    averages: bool = False
    """Whether to use the moving averages of the weights, if there are any."""

    head: str | None = None
    """The scope of the logits in the given weights; None takes the naming table's."""

    num_classes: Classes | Literal["none"] | None = None
    """The number of classes, instead of the spec's; `none` leaves the logits out."""

    outputs: Names | Literal["all"] | None = None
    """The end points and layers that the model outputs, with or without the network's name, or `features` for the maps
    of `plan.feature_levels`. `all` outputs every end point; None outputs logits and predictions.
    """

    batch: Batch | Literal["dynamic"] = "dynamic"
    """Batch size; `dynamic` leaves it open until run time."""

    size: tuple[Side, Side] | Literal["dynamic"] | None = None
    """Rows and columns of the input; `dynamic` leaves them open until run time; None takes the spec's."""

    preprocess: str | None = None
    """The preprocessing scheme to put inside the model: its name, or `model` for the spec's own. The model then takes
    photographs of any size, uint8 NHWC. With None the model takes preprocessed images.
    """

    image_size: tuple[Side, Side] | None = None
    """Rows and columns of the photographs, if `preprocess` is given; None leaves them open until run time."""

    top: Positive | None = None
    """Number of most probable classes that the model returns in two further outputs, `top_classes` and
    `top_probabilities`; None adds no outputs.
    """

    labels: Names = ()
    """The names of the classes, by index, for the model's metadata. 1000 names fit 1001 classes: the first class is
    then `background`.
    """

    licence: str | None = None
    """The licence of the weights, for the model's metadata."""

    layout: Literal["nchw", "nhwc"] = "nchw"
    """Order of the axes of the input and of every output that has rows and columns."""

    target: Target | None = None
    """Where the model will run. The graph is rewritten for the target and computes the same function. None keeps every
    layer and parameter of the network.
    """

    fused_conv: bool = False
    """Whether to fuse each convolution with its ReLU, and with an addition between them, into onnxruntime's operator
    `com.microsoft.FusedConv`. For CUDA in float32; only onnxruntime runs such a model.
    """

    dtype: AnyPrecision = Float32()
    """Type of weights and activations: `Float32()`, `Float16(io=...)` or `Int8(calibration=..., keep_float=...)`. The
    words `float32`, `float16` and `int8` select one with its defaults.
    """

    opset: int = 18
    """Version of ONNX's default operator set."""

    external_data: bool | None = None
    """Whether to write the weights to a separate file beside the model; None does so above 2 GB."""

    @model_validator(mode="after")
    def _photographs_come_to_one_size(self) -> Self:
        if self.preprocess is None and self.image_size is not None:
            raise invalid("is only for models with preprocess", "image_size")
        if self.preprocess is not None and self.size == "dynamic":
            raise invalid(
                "must be fixed with preprocess, got dynamic: photographs of any size are brought to it", "size"
            )
        return self

    @model_validator(mode="after")
    def _the_target_goes_with_the_precision(self) -> Self:
        if self.target is not None and self.target not in self.dtype.targets:
            *others, last = self.dtype.targets
            raise invalid(f"must be {', '.join(others)} or {last} for {self.dtype.kind}, got {self.target}", "target")
        return self

    @model_validator(mode="after")
    def _fused_convolutions_are_of_cuda_in_float32(self) -> Self:
        if self.fused_conv and (self.target, self.dtype.kind) != ("cuda", "float32"):
            given = f"target {self.target or 'none'} and dtype {self.dtype.kind}"
            raise invalid(f"is for target cuda in float32, got {given}", "fused_conv")
        return self

    @model_validator(mode="after")
    def _the_target_knows_every_length_that_it_needs(self) -> Self:
        if self.target is None or not TARGET_REQUIREMENTS[self.target].static:
            return self
        open_sides = self.preprocess is not None and self.image_size is None
        left = {"batch": self.batch == "dynamic", "size": self.size == "dynamic", "image_size": open_sides}
        for name in (name for name, is_left in left.items() if is_left):
            raise invalid(f"must be fixed for {self.target}, got dynamic", name)
        return self

    @model_validator(mode="after")
    def _minimal_filtering_knows_its_maps(self) -> Self:
        if not (isinstance(self.dtype, Float32) and self.dtype.winograd):
            return self
        if self.target != "cpu":
            raise invalid(f"must be cpu with winograd, got {self.target or 'none'}", "target")
        if self.batch == "dynamic":
            raise invalid("must be a number with winograd, got dynamic", "batch")
        if self.size == "dynamic":
            raise invalid("must be fixed with winograd, got dynamic", "size")
        return self


def options_text(options: CompileOptions) -> str | None:
    """The options that are not at their defaults, as JSON for the model's metadata; None if all are at their defaults.

    Options that other metadata entries record are left out. So is the path of calibration images; their digest is
    recorded.
    """
    asked, usual = options.model_dump(mode="json"), CompileOptions().model_dump(mode="json")
    asked["dtype"].pop("calibration", None)
    told = {key: value for key, value in asked.items() if value != usual[key] and key not in ("labels", "licence")}
    return json.dumps(told, separators=(",", ":")) if told else None


def adapted(spec: SpecSource, options: CompileOptions) -> NetworkSpec:
    """The spec with the image size and the number of classes of the options."""
    spec = as_spec(spec)
    if options.preprocess not in (None, "model"):
        with inside("preprocess"):
            find_scheme(options.preprocess)
        spec = spec.replace(input=spec.input.replace(preprocess=options.preprocess))
    if options.num_classes is not None:
        classes = None if options.num_classes == "none" else options.num_classes
        spec = spec.replace(head=spec.head.replace(num_classes=classes))
    return sized(spec, options.size)


def sized(spec: SpecSource, size: tuple[int, int] | Literal["dynamic"] | None) -> NetworkSpec:
    """The spec with another image size, in rows and columns; unchanged if the size is None."""
    spec = as_spec(spec)
    if not isinstance(size, tuple):
        return spec
    height, width = size
    return spec.replace(input=spec.input.replace(height=height, width=width))

"""The network spec: the JSON language, in the words of TF-slim."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from resnet_compile.checked import Classes, Side, invalid
from resnet_compile.limits import MAX_UNITS
from resnet_compile.schemes import Scheme, SchemeName
from resnet_compile.spec.base import Depth, NetworkName, PositionalModel, Scope, SpecModel
from resnet_compile.spec.parts import Activation, DeepStem
from resnet_compile.spec.roots import ImagenetRoot, Root, StemRoot
from resnet_compile.spec.units import Unit, UnitArgs

# Scopes of the network's own layers: a block of that name would have values of the same names.
RESERVED_SCOPES = frozenset({"conv1", "pool1", "postnorm", "pool5", "logits", "predictions"})
# Those of a deep stem.
STEM_SCOPES = frozenset({"stem1", "stem2", "stem3"})
HIDDEN_SCOPE = "hidden"

Preprocess = Annotated[
    Annotated[SchemeName, Tag("name")] | Annotated[Scheme, Tag("scheme")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "scheme"),
]
InitializerName = Literal[
    "slim", "cifar", "torchvision", "timm", "keras", "tf_official", "mlperf_tiny", "pytorch", "akamaster"
]


class Input(SpecModel):
    """The input image of the network."""

    height: Side
    """Rows of pixels."""

    width: Side
    """Columns of pixels."""

    channels: Annotated[int, Field(ge=1, le=4096)] = 3
    """Channels of a pixel; 3 is red, green, blue."""

    preprocess: Preprocess | None = None
    """The preprocessing scheme of the network's training images, by name or as a record; the model's metadata holds it.
    """


class BatchNorm(SpecModel):
    """Batch normalisation: y = (x - moving_mean) / sqrt(moving_variance + epsilon) * gamma + beta."""

    kind: Literal["batch"] = "batch"

    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """Added to the variance."""

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.997
    """Decay of the moving averages; used in training."""

    scale: bool = True
    """Whether there is a gamma."""

    averages: Literal["corrected", "zero_debiased"] = "corrected"
    """The moving averages in training. `corrected` divides a batch's variance by n - 1, as TF-slim and PyTorch do.
    `zero_debiased` divides it by n, and the average by 1 - decay^t, as the CIFAR system does.
    """


class ScaleOffset(SpecModel):
    """A scale and an offset for each channel: y = x * gamma + beta. In files of Caffe and Detectron it is a frozen
    batch normalisation with its statistics merged into gamma and beta.
    """

    kind: Literal["scale_offset"] = "scale_offset"


NormKind = BatchNorm | ScaleOffset
Norm = Annotated[NormKind, Field(discriminator="kind", description="The normalisation of every layer that has one.")]


class Head(SpecModel):
    """The layers from the last feature map to the class scores."""

    num_classes: Classes | None
    """Number of classes; null leaves the logits and predictions out."""

    global_pool: bool = True
    """Whether the last map is averaged over height and width before the logits."""

    spatial_squeeze: bool | None = None
    """Whether logits and predictions drop their 1x1 height and width. The default is `global_pool`."""

    logits: Literal["conv", "dense"] = "conv"
    """The layer that makes the logits: a biased 1x1 convolution, or a dense layer on the squeezed features."""

    predictions: Literal["softmax", "sigmoid"] | None = "softmax"
    """The function from logits to predictions: `softmax` for one class among all, `sigmoid` for independent classes;
    null leaves the predictions out.
    """

    postnorm: Literal["none"] | None = None
    """`none` leaves out the normalisation and activation that close a network of pre-activation units."""

    hidden: Annotated[tuple[Depth, ...], Field(strict=False)] = ()
    """Channels of hidden layers before dense logits, each activated."""

    @model_validator(mode="after")
    def _dense_layers_are_squeezed(self) -> Self:
        if self.logits == "dense" and not self.squeezes:
            raise invalid("must be on for dense logits, which have no height and width", "spatial_squeeze")
        if self.hidden and (self.logits != "dense" or self.num_classes is None):
            raise invalid("needs dense logits", "hidden")
        return self

    @property
    def squeezes(self) -> bool:
        """`spatial_squeeze` with its default resolved."""
        return self.global_pool if self.spatial_squeeze is None else self.spatial_squeeze


class Block(PositionalModel):
    """A run of residual units under one scope. It can be an array like TF-slim's `Block(scope, unit_fn, args)`."""

    places: ClassVar[tuple[str, ...]] = ("scope", "unit", "args")

    scope: Scope
    """The block's name in parameter names and end points, such as `block1`."""

    unit: Unit
    args: Annotated[tuple[UnitArgs, ...], Field(min_length=1, strict=False)]
    """One entry for each unit, or for each run of equal units."""

    @model_validator(mode="after")
    def _inner_depths_fit_the_kind(self) -> Self:
        kind, inner = self.unit.kind, 2 if self.unit.bottleneck else 1
        for index, args in enumerate(self.args):
            if args.widths is not None and len(args.widths) != inner:
                fault = f"must have {inner} entries in units of kind {kind}, got {len(args.widths)}"
                raise invalid(fault, "args", index, "widths")
            required = self.unit.bottleneck and args.widths is None
            if (args.depth_bottleneck is not None) != required:
                state = "is required" if required else "has no meaning"
                beside = " beside widths" if args.widths is not None else ""
                raise invalid(f"{state} in units of kind {kind}{beside}", "args", index, "depth_bottleneck")
        return self

    @property
    def num_units(self) -> int:
        """The number of units, repeats counted."""
        return sum(args.repeat for args in self.args)


class NetworkSpec(SpecModel):
    """A residual network, from its input to its class probabilities."""

    schema_uri: Annotated[str | None, Field(alias="$schema", exclude=True, repr=False)] = None
    """The place of the JSON Schema, for editors; the compiler ignores it."""

    name: NetworkName
    """The scope of every parameter and end point, such as `resnet_v2_152`."""

    origin: Annotated[str | None, Field(max_length=200, pattern=r"^[^\n]+$")] = None
    """The system that the network comes from, in a line; the compiler ignores it."""

    input: Input
    root: Root | None = ImagenetRoot()
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, strict=False)]
    """The blocks, in order."""

    output_stride: Annotated[int, Field(ge=1)] | None = None
    """Ratio of the input's side to the last feature map's. Units after that ratio is reached replace their stride by an
    atrous rate. Null keeps every unit's own stride.
    """

    norm: Norm = BatchNorm()
    activation: Annotated[
        Activation | None, Field(description="The activation in place of every ReLU; null keeps the ReLUs.")
    ] = None
    head: Head
    initializer: InitializerName = "slim"
    """The system whose distributions the initial weights follow."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Factor of the L2 penalty on convolution weights; used in training."""

    _source: str | None = None

    @property
    def source(self) -> str | None:
        """The file or the name that the spec was read from, for errors; equal specs may differ in it."""
        return self._source

    def coming_from(self, source: str | None) -> Self:
        """The same spec with another source."""
        made = self.model_copy()
        made._source = source
        return made

    def replace(self, **changes: Any) -> Self:
        """As for every `CheckedModel`; the copy keeps the source."""
        return super().replace(**changes).coming_from(self._source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSpec) and self.__dict__ == other.__dict__

    @field_validator("norm", mode="before")
    @classmethod
    def _a_norm_is_batch_norm_by_default(cls, value: Any) -> Any:
        return {"kind": "batch", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _the_activation_has_a_place(self) -> Self:
        fixed = [block.unit.kind for block in self.blocks if block.unit.fixed_activation]
        if self.activation and fixed:
            fault = f"cannot be set with units of kind {fixed[0]}, which have their own (relu_leakiness)"
            raise invalid(fault, "activation")
        return self

    @model_validator(mode="after")
    def _scopes_are_unique(self) -> Self:
        deep = isinstance(self.root, StemRoot) and isinstance(self.root.stem, DeepStem)
        reserved = RESERVED_SCOPES | (STEM_SCOPES if deep else set()) | ({HIDDEN_SCOPE} if self.head.hidden else set())
        seen = set(reserved)
        for index, block in enumerate(self.blocks):
            if block.scope in seen:
                reason = "is taken by the network itself" if block.scope in reserved else "is used twice"
                raise invalid(f"scope {block.scope} {reason}", "blocks", index, "scope")
            seen.add(block.scope)
        return self

    @model_validator(mode="after")
    def _units_are_few_enough(self) -> Self:
        units = sum(block.num_units for block in self.blocks)
        if units > MAX_UNITS:
            raise invalid(f"the network must have at most {MAX_UNITS} units, got {units}", "blocks")
        return self

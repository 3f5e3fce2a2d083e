"""The naming tables of every system whose weights are read.

A table is a framework's conventions, with a row for each layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from resnet_compile.errors import OptionError
from resnet_compile.spec.parts import ProjectsAt
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.numbering import Numbering

# What TensorFlow's training saves beside the variables: step counters (`tf.train.get_or_create_global_step`), the
# running products of Adam, loss scaling and learning rates, slim's `mean_rgb`. Beside a batch norm's variables it saves
# the averages before their bias is taken out (`zero_debias_moving_mean`) and those of batch renormalisation (`renorm`),
# which inference skips.
_TENSORFLOW_IGNORED = (
    r"(^|/)(global_step|mean_rgb|current_loss_scale|loss_scale|good_steps|learning_rate(_\d+)?|(save_counter|iter))$",
    r"(^|/)beta[12]_power(_\d+)?$",
    r"/(biased|local_step)$",
    r"/renorm_(mean|stddev|mean_weight|stddev_weight)$",
)
# What object-based checkpoints hold besides: the graph of objects, the scalars of Keras's optimizers, its metrics.
_OBJECTS_IGNORED = (
    r"^_CHECKPOINTABLE_OBJECT_GRAPH$",
    r"(^|/)(save_counter|_?iter(ations)?|_?(current_)?learning_rate|decay|momentum|beta_[12]|rho|epsilon"
    r"|current_loss_scale|good_steps|_variables/\d+)/\.ATTRIBUTES/VARIABLE_VALUE$",
    r"(^|/)keras_api/metrics/",
)

# Where the units of most systems project: by their kind's own rule, or where the shape changes.
_BY_SHAPE: tuple[ProjectsAt | None, ...] = (None, "shape")

# The conventions of each framework; its tables add a name, rules and unit kinds.
_TORCH = Naming(
    "",
    (),
    kernel="OIHW",
    dense="OI",
    roles={"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"},
    # Batch norm's own counter, the counts of the profiler `thop`, the ranges that quantisation observers record.
    ignored=(
        r"(^|\.)(num_batches_tracked|total_ops|total_params)$",
        r"(^|\.)activation_post_process(_\d+)?\.(min_val|max_val|eps|histogram)$",
    ),
    separator=".",
    offsets=("weight", "bias"),
)
_TENSORFLOW = Naming("", (), kernel="HWIO", dense="IO", ignored=_TENSORFLOW_IGNORED)
# Keras 3 saves its training state under `optimizer` and `metrics`.
_KERAS = replace(_TENSORFLOW, ignored=(*_OBJECTS_IGNORED, r"^(optimizer|metrics)/"), offsets=("kernel", "bias"))


class _Layer(NamedTuple):
    """A row of a table.

    Attributes:
        ours: The layer's scope.
        theirs: The source's scope of its weights; empty for a norm without a convolution.
        norm: The source's scope of its norm; empty if no network of the source has one there.
        biases: Whether a network of the source has biases there.
    """

    ours: str
    theirs: str = ""
    norm: str = ""
    biases: bool = False

    def rules(self, naming: Naming) -> Iterator[tuple[str, str]]:
        """The row as rules, in the words of a table."""
        separator, (weights, biases) = naming.separator, naming.offsets
        if self.theirs:
            yield f"{self.ours}/weights", f"{self.theirs}{separator}{weights}"
        if self.biases:
            yield f"{self.ours}/biases", f"{self.theirs}{separator}{biases}"
        if self.norm:
            scope = f"{self.ours}/BatchNorm" if self.theirs else self.ours
            yield f"{scope}/{{role}}", f"{self.norm}{separator}{{role}}"


def _unit(prefix: str, *layers: _Layer) -> Iterator[_Layer]:
    """The layers of a unit; the prefix begins all of the source's names."""
    for ours, theirs, norm, biases in layers:
        scope = f"block{{b}}/unit_{{u}}/{{kind}}/{ours}"
        yield _Layer(scope, theirs and f"{prefix}{theirs}", norm and f"{prefix}{norm}", biases)


def _table(base: Naming, name: str, *layers: _Layer, logits: str, **facts: Any) -> Naming:
    """A table with the facts of another one, except those given; its logits are a layer with biases."""
    table = replace(base, name=name, **facts)
    rows = (*layers, _Layer("logits", logits, biases=True))
    return replace(table, rules=tuple(rule for row in rows for rule in row.rules(table)))


_SAME_NAMES = (("{rest}", "{rest}"),)

# Training with this package saves its progress and the averages before their bias is taken out.
NATIVE = Naming("native", _SAME_NAMES, kernel="OIHW", dense="OI", ignored=(r"^(progress|step)$", r"/biased$"))

TF_SLIM = replace(_TENSORFLOW, name="tf-slim", rules=_SAME_NAMES, ignored=(*_TENSORFLOW_IGNORED, *_OBJECTS_IGNORED))

# The `resnet` of the old TensorFlow models. In the first unit of the first group the shortcut starts from the
# activation too; the scope of that unit's first norm says so.
TF_CIFAR = _table(
    _TENSORFLOW,
    "tf-cifar",
    _Layer("conv1", "init/init_conv"),
    _Layer("block1/unit_1/cifar_plain/preact", norm="unit_1_0/shared_activation/init_bn"),
    _Layer("block1/unit_1/cifar_bottleneck/preact", norm="unit_1_0/common_bn_relu/init_bn"),
    _Layer("block{b}/unit_{u}/cifar_plain/preact", norm="unit_{b}_{u-1}/residual_only_activation/init_bn"),
    _Layer("block{b}/unit_{u}/cifar_bottleneck/preact", norm="unit_{b}_{u-1}/residual_bn_relu/init_bn"),
    *_unit("unit_{b}_{u-1}/sub", _Layer("conv{k}", "{k}/conv{k}", "{k+1}/bn{k+1}"), _Layer("shortcut", "_add/project")),
    _Layer("postnorm", norm="unit_last/final_bn"),
    logits="logit",
    offsets=("DW", "biases"),
    kinds=("cifar_plain", "cifar_bottleneck"),
    family="(cifar|wrn)_",
)

# torchvision's `resnet`, and timm's of the same name, which adds deep stems, attention and pooled shortcuts.
TORCHVISION = _table(
    _TORCH,
    "torchvision",
    _Layer("stem1", "conv1.0", "conv1.1"),
    _Layer("stem2", "conv1.3", "conv1.4"),
    _Layer("stem3", "conv1.6", "bn1"),
    _Layer("conv1", "conv1", "bn1"),
    _Layer("pool1", "maxpool.0", "maxpool.1"),
    *_unit(
        "layer{b}.{u-1}.",
        _Layer("conv{k}", "conv{k}", "bn{k}"),
        _Layer("shortcut", "downsample.0", "downsample.1"),
        _Layer("projection", "downsample.1", "downsample.2"),
        _Layer("attention/conv{k}", "se.fc{k}", biases=True),
        _Layer("attention/channels", "se.conv"),
    ),
    logits="fc",
    untold="anti-aliased pooling, the activation, or which convolution has the stride",
    kinds=("torchvision_basic", "torchvision_bottleneck", "caffe_bottleneck"),
    projects=_BY_SHAPE,
    family="torchvision_|timm_(?!resnetv2)|transformers_",
)


def _transformers(name: str, body: str) -> Naming:
    """`ResNetForImageClassification` of transformers; without a prefix for the body, its `ResNetModel`."""
    return _table(
        TORCHVISION,
        name,
        _Layer("conv1", f"{body}embedder.embedder.convolution", f"{body}embedder.embedder.normalization"),
        *_unit(
            f"{body}encoder.stages.{{b-1}}.layers.{{u-1}}.",
            _Layer("conv{k}", "layer.{k-1}.convolution", "layer.{k-1}.normalization"),
            _Layer("shortcut", "shortcut.convolution", "shortcut.normalization"),
        ),
        logits="classifier.1",
        untold="the activation, or which convolution has the stride",
    )


TRANSFORMERS = _transformers("transformers", "resnet.")
TRANSFORMERS_BODY = _transformers("transformers-body", "")

# kuangliu's networks for CIFAR, and akamaster's, whose shortcuts have no parameters.
KUANGLIU = _table(
    TORCHVISION,
    "kuangliu",
    _Layer("conv1", "conv1", "bn1"),
    *_unit("layer{b}.{u-1}.", _Layer("conv{k}", "conv{k}", "bn{k}"), _Layer("shortcut", "shortcut.0", "shortcut.1")),
    logits="linear",
    untold=None,
    kinds=("torchvision_basic", "torchvision_bottleneck"),
    family="kuangliu_(?!preact)|akamaster_",
)

# kuangliu's pre-activation networks: the first norm of a unit is the pre-activation's.
KUANGLIU_PREACT = _table(
    KUANGLIU,
    "kuangliu-preact",
    _Layer("conv1", "conv1"),
    *_unit(
        "layer{b}.{u-1}.",
        _Layer("preact", norm="bn1"),
        _Layer("conv{k}", "conv{k}", "bn{k+1}"),
        _Layer("shortcut", "shortcut.0"),
    ),
    logits="linear",
    kinds=("preact_basic", "timm_preact_bottleneck"),
    family="kuangliu_preact_",
)

# detectron2's backbones, which a detector has under `backbone.bottom_up.`.
DETECTRON2 = _table(
    TORCHVISION,
    "detectron2",
    _Layer("conv1", "stem.conv1", "stem.conv1.norm"),
    *_unit("res{b+1}.{u-1}.", *(_Layer(layer, layer, f"{layer}.norm") for layer in ("conv{k}", "shortcut"))),
    logits="linear",
    untold="which convolution has the stride",
    family="detectron2_",
)

# Detectron's blobs. Its training saves momentum, the learning rate and the order of the weights' channels beside them.
CAFFE2 = _table(
    _TORCH,
    "caffe2",
    _Layer("conv1", "conv1", "res_conv1_bn"),
    *_unit(
        "res{b+1}_{u-1}_branch",
        _Layer("conv1", "2a", "2a_bn"),
        _Layer("conv2", "2b", "2b_bn"),
        _Layer("conv3", "2c", "2c_bn"),
        _Layer("shortcut", "1", "1_bn"),
    ),
    logits="fc1000",
    roles={"gamma": "s", "beta": "b"},
    ignored=(r"_momentum$", r"(^|\.)(lr|weight_order)$"),
    separator="_",
    offsets=("w", "b"),
    untold="which convolution has the stride",
    kinds=("caffe_bottleneck", "torchvision_bottleneck"),
    family="caffe2_",
)

# tensorpack's `examples/ResNet`.
TENSORPACK = _table(
    _TENSORFLOW,
    "tensorpack",
    _Layer("conv1", "conv0", "conv0/bn"),
    *_unit(
        "group{b-1}/block{u-1}/conv",
        _Layer("conv{k}", "{k}", "{k}/bn"),
        _Layer("shortcut", "shortcut", "shortcut/bn"),
    ),
    logits="linear",
    roles={"moving_mean": "mean/EMA", "moving_variance": "variance/EMA"},
    offsets=("W", "b"),
    untold="which convolution has the stride, or the padding",
    kinds=("torchvision_basic", "torchvision_bottleneck", "caffe_bottleneck"),
    family="tensorpack_",
)

TIMM_RESNETV2 = _table(
    _TORCH,
    "timm-resnetv2",
    _Layer("conv1", "stem.conv"),
    *_unit(
        "stages.{b-1}.blocks.{u-1}.",
        _Layer("preact", norm="norm1"),
        _Layer("conv{k}", "conv{k}", "norm{k+1}"),
        _Layer("shortcut", "downsample.conv"),
    ),
    _Layer("postnorm", norm="norm"),
    logits="head.fc",
    kinds=("timm_preact_bottleneck",),
    projects=_BY_SHAPE,
    family="timm_resnetv2_",
)

_KERAS_UNIT = (_Layer("shortcut", "0_conv", "0_bn", biases=True), _Layer("conv{k}", "{k}_conv", "{k}_bn", biases=True))

# `keras.applications.resnet`, version 1.
KERAS_RESNET = _table(
    _KERAS,
    "keras-resnet",
    _Layer("conv1", "conv1_conv", "conv1_bn", biases=True),
    *_unit("conv{b+1}_block{u}_", *_KERAS_UNIT),
    logits="predictions",
    kinds=("caffe_bottleneck",),
    family="keras_",
)

# `keras.applications.resnet_v2`.
KERAS_RESNETV2 = _table(
    _KERAS,
    "keras-resnetv2",
    _Layer("conv1", "conv1_conv", biases=True),
    *_unit("conv{b+1}_block{u}_", _Layer("preact", norm="preact_bn"), *_KERAS_UNIT),
    _Layer("postnorm", norm="post_bn"),
    logits="predictions",
    kinds=("keras_v2_bottleneck",),
    family="keras_",
)

# TensorFlow's official `resnet` (`official/r1/resnet`), which names no layer; MLPerf's ResNet-50 is one of these.
TF_OFFICIAL = replace(
    _TENSORFLOW,
    name="tf-official",
    offsets=("kernel", "bias"),
    kinds=("preact_basic", "timm_preact_bottleneck", "torchvision_basic", "torchvision_bottleneck"),
    projects=("first",),
    numbering=Numbering(),
)

# Keras's own names for layers without one, in a network that makes a unit's projection last, such as MLPerf Tiny's.
KERAS_LAYERS = replace(
    _KERAS,
    name="keras-layers",
    kinds=("torchvision_basic",),
    untold="anything but the order of the layers",
    projects=_BY_SHAPE,
    numbering=Numbering(shortcut_last=True),
)

NAMINGS: tuple[Naming, ...] = (
    *(TF_SLIM, TF_CIFAR, TORCHVISION, TRANSFORMERS, TRANSFORMERS_BODY, KUANGLIU, KUANGLIU_PREACT),
    *(DETECTRON2, CAFFE2, TENSORPACK, TIMM_RESNETV2, KERAS_RESNET, KERAS_RESNETV2, TF_OFFICIAL, KERAS_LAYERS, NATIVE),
)


def naming_of(name: str) -> Naming:
    """The table of a name; raises `OptionError` for an unknown one."""
    for naming in NAMINGS:
        if naming.name == name:
            return naming
    known = ", ".join(each.name for each in NAMINGS)
    raise OptionError(f"naming must be one of {known}, got {name}", where="naming")

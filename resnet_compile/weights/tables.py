"""The naming tables of every system whose weights are read."""

from __future__ import annotations

from dataclasses import replace

from resnet_compile.errors import OptionError
from resnet_compile.spec.parts import ProjectsAt
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.numbering import Numbering

# What TensorFlow's training leaves beside the variables: step counters (`tf.train.get_or_create_global_step`), the
# running products of Adam, loss scaling and learning rates, slim's `mean_rgb`; and beside a batch norm's the averages
# before their bias is taken out (`zero_debias_moving_mean`) and renormalisation's (`renorm`), which inference skips.
_TENSORFLOW_IGNORED = (
    r"(^|/)(global_step|mean_rgb|current_loss_scale|loss_scale|good_steps|learning_rate(_\d+)?|(save_counter|iter))$",
    r"(^|/)beta[12]_power(_\d+)?$",
    r"/(biased|local_step)$",
    r"/renorm_(mean|stddev|mean_weight|stddev_weight)$",
)
# Of object-based checkpoints: the graph of objects, the scalars of Keras's optimizers, its metrics.
_KERAS_IGNORED = (
    r"^_CHECKPOINTABLE_OBJECT_GRAPH$",
    r"(^|/)(save_counter|_?iter(ations)?|_?(current_)?learning_rate|decay|momentum|beta_[12]|rho|epsilon"
    r"|current_loss_scale|good_steps|_variables/\d+)/\.ATTRIBUTES/VARIABLE_VALUE$",
    r"(^|/)keras_api/metrics/",
)

# The same, and what Keras 3 saves of training beside the layers.
_KERAS_LEFT = (*_KERAS_IGNORED, r"^(optimizer|metrics)/")

# Where the units of most systems project: as their kind does, or where the shape changes.
_BY_SHAPE: tuple[ProjectsAt | None, ...] = (None, "shape")

_UNIT = "block{b}/unit_{u}/{kind}"
_TORCH_ROLES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
# Batch norm's own counter; what the profiler `thop` counts; the ranges that observers of quantisation note.
_TORCH_IGNORED = (
    r"(^|\.)(num_batches_tracked|total_ops|total_params)$",
    r"(^|\.)activation_post_process(_\d+)?\.(min_val|max_val|eps|histogram)$",
)

NATIVE = Naming(
    "native",
    (("{rest}", "{rest}"),),
    kernel="OIHW",
    dense="OI",
    # What our own training keeps beside the parameters.
    ignored=(r"^(progress|step)$", r"/biased$"),
)

TF_SLIM = Naming(
    "tf-slim",
    (("{rest}", "{rest}"),),
    kernel="HWIO",
    dense="IO",
    ignored=(*_TENSORFLOW_IGNORED, *_KERAS_IGNORED),
)

# The `resnet` of the old TensorFlow models. Where a group's first unit shares its activation with the shortcut, which
# is so in the first group alone, the scope of its first norm says so.
TF_CIFAR = Naming(
    "tf-cifar",
    (
        ("conv1/weights", "init/init_conv/DW"),
        ("block1/unit_1/cifar_plain/preact/{role}", "unit_1_0/shared_activation/init_bn/{role}"),
        ("block1/unit_1/cifar_bottleneck/preact/{role}", "unit_1_0/common_bn_relu/init_bn/{role}"),
        ("block{b}/unit_{u}/cifar_plain/preact/{role}", "unit_{b}_{u-1}/residual_only_activation/init_bn/{role}"),
        ("block{b}/unit_{u}/cifar_bottleneck/preact/{role}", "unit_{b}_{u-1}/residual_bn_relu/init_bn/{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "unit_{b}_{u-1}/sub{k}/conv{k}/DW"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "unit_{b}_{u-1}/sub{k+1}/bn{k+1}/{role}"),
        (f"{_UNIT}/shortcut/weights", "unit_{b}_{u-1}/sub_add/project/DW"),
        ("postnorm/{role}", "unit_last/final_bn/{role}"),
        ("logits/weights", "logit/DW"),
        ("logits/biases", "logit/biases"),
    ),
    kernel="HWIO",
    dense="IO",
    ignored=_TENSORFLOW_IGNORED,
    offsets=("DW", "biases"),
    kinds=("cifar_plain", "cifar_bottleneck"),
    family="(cifar|wrn)_",
)

# torchvision's `resnet`, and timm's of the same name, which adds deep stems, attention and pooled shortcuts.
TORCHVISION = Naming(
    "torchvision",
    (
        ("stem1/weights", "conv1.0.weight"),
        ("stem1/BatchNorm/{role}", "conv1.1.{role}"),
        ("stem2/weights", "conv1.3.weight"),
        ("stem2/BatchNorm/{role}", "conv1.4.{role}"),
        ("stem3/weights", "conv1.6.weight"),
        ("stem3/BatchNorm/{role}", "bn1.{role}"),
        ("conv1/weights", "conv1.weight"),
        ("conv1/BatchNorm/{role}", "bn1.{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "layer{b}.{u-1}.conv{k}.weight"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "layer{b}.{u-1}.bn{k}.{role}"),
        (f"{_UNIT}/shortcut/weights", "layer{b}.{u-1}.downsample.0.weight"),
        (f"{_UNIT}/shortcut/BatchNorm/{{role}}", "layer{b}.{u-1}.downsample.1.{role}"),
        ("pool1/weights", "maxpool.0.weight"),
        ("pool1/BatchNorm/{role}", "maxpool.1.{role}"),
        (f"{_UNIT}/projection/weights", "layer{b}.{u-1}.downsample.1.weight"),
        (f"{_UNIT}/projection/BatchNorm/{{role}}", "layer{b}.{u-1}.downsample.2.{role}"),
        (f"{_UNIT}/attention/conv{{k}}/weights", "layer{b}.{u-1}.se.fc{k}.weight"),
        (f"{_UNIT}/attention/conv{{k}}/biases", "layer{b}.{u-1}.se.fc{k}.bias"),
        (f"{_UNIT}/attention/channels/weights", "layer{b}.{u-1}.se.conv.weight"),
        ("logits/weights", "fc.weight"),
        ("logits/biases", "fc.bias"),
    ),
    kernel="OIHW",
    dense="OI",
    roles=_TORCH_ROLES,
    ignored=_TORCH_IGNORED,
    separator=".",
    offsets=("weight", "bias"),
    untold="anti-aliased pooling, the activation, or which convolution has the stride",
    kinds=("torchvision_basic", "torchvision_bottleneck", "caffe_bottleneck"),
    projects=_BY_SHAPE,
    family="torchvision_|timm_(?!resnetv2)|transformers_",
)


def _transformers(name: str, body: str) -> Naming:
    """`ResNetForImageClassification` of transformers, or with no name for the body its `ResNetModel`."""
    unit = f"{body}encoder.stages.{{b-1}}.layers.{{u-1}}"
    return replace(
        TORCHVISION,
        name=name,
        rules=(
            ("conv1/weights", f"{body}embedder.embedder.convolution.weight"),
            ("conv1/BatchNorm/{role}", f"{body}embedder.embedder.normalization.{{role}}"),
            (f"{_UNIT}/conv{{k}}/weights", f"{unit}.layer.{{k-1}}.convolution.weight"),
            (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", f"{unit}.layer.{{k-1}}.normalization.{{role}}"),
            (f"{_UNIT}/shortcut/weights", f"{unit}.shortcut.convolution.weight"),
            (f"{_UNIT}/shortcut/BatchNorm/{{role}}", f"{unit}.shortcut.normalization.{{role}}"),
            ("logits/weights", "classifier.1.weight"),
            ("logits/biases", "classifier.1.bias"),
        ),
        untold="the activation, or which convolution has the stride",
    )


TRANSFORMERS = _transformers("transformers", "resnet.")
TRANSFORMERS_BODY = _transformers("transformers-body", "")

# kuangliu's networks for CIFAR, and akamaster's, whose shortcuts have no parameters.
KUANGLIU = replace(
    TORCHVISION,
    name="kuangliu",
    rules=(
        ("conv1/weights", "conv1.weight"),
        ("conv1/BatchNorm/{role}", "bn1.{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "layer{b}.{u-1}.conv{k}.weight"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "layer{b}.{u-1}.bn{k}.{role}"),
        (f"{_UNIT}/shortcut/weights", "layer{b}.{u-1}.shortcut.0.weight"),
        (f"{_UNIT}/shortcut/BatchNorm/{{role}}", "layer{b}.{u-1}.shortcut.1.{role}"),
        ("logits/weights", "linear.weight"),
        ("logits/biases", "linear.bias"),
    ),
    untold=None,
    kinds=("torchvision_basic", "torchvision_bottleneck"),
    family="kuangliu_(?!preact)|akamaster_",
)

# kuangliu's of pre-activation units, which number their norms from the first.
KUANGLIU_PREACT = replace(
    KUANGLIU,
    name="kuangliu-preact",
    rules=(
        ("conv1/weights", "conv1.weight"),
        (f"{_UNIT}/preact/{{role}}", "layer{b}.{u-1}.bn1.{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "layer{b}.{u-1}.conv{k}.weight"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "layer{b}.{u-1}.bn{k+1}.{role}"),
        (f"{_UNIT}/shortcut/weights", "layer{b}.{u-1}.shortcut.0.weight"),
        ("logits/weights", "linear.weight"),
        ("logits/biases", "linear.bias"),
    ),
    kinds=("preact_basic", "timm_preact_bottleneck"),
    family="kuangliu_preact_",
)

# detectron2's backbones, which stand under `backbone.bottom_up.` in a detector.
DETECTRON2 = replace(
    TORCHVISION,
    name="detectron2",
    rules=(
        ("conv1/weights", "stem.conv1.weight"),
        ("conv1/BatchNorm/{role}", "stem.conv1.norm.{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "res{b+1}.{u-1}.conv{k}.weight"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "res{b+1}.{u-1}.conv{k}.norm.{role}"),
        (f"{_UNIT}/shortcut/weights", "res{b+1}.{u-1}.shortcut.weight"),
        (f"{_UNIT}/shortcut/BatchNorm/{{role}}", "res{b+1}.{u-1}.shortcut.norm.{role}"),
        ("logits/weights", "linear.weight"),
        ("logits/biases", "linear.bias"),
    ),
    untold="which convolution has the stride",
    family="detectron2_",
)

# Detectron's blobs. Beside them its training leaves momentum, the learning rate and the order of the weights' channels.
CAFFE2 = Naming(
    "caffe2",
    (
        ("conv1/weights", "conv1_w"),
        ("conv1/BatchNorm/{role}", "res_conv1_bn_{role}"),
        *(
            rule
            for number, letter in ((1, "a"), (2, "b"), (3, "c"))
            for rule in (
                (f"{_UNIT}/conv{number}/weights", f"res{{b+1}}_{{u-1}}_branch2{letter}_w"),
                (f"{_UNIT}/conv{number}/BatchNorm/{{role}}", f"res{{b+1}}_{{u-1}}_branch2{letter}_bn_{{role}}"),
            )
        ),
        (f"{_UNIT}/shortcut/weights", "res{b+1}_{u-1}_branch1_w"),
        (f"{_UNIT}/shortcut/BatchNorm/{{role}}", "res{b+1}_{u-1}_branch1_bn_{role}"),
        ("logits/weights", "fc1000_w"),
        ("logits/biases", "fc1000_b"),
    ),
    kernel="OIHW",
    dense="OI",
    roles={"gamma": "s", "beta": "b"},
    ignored=(r"_momentum$", r"(^|\.)(lr|weight_order)$"),
    separator="_",
    offsets=("w", "b"),
    untold="which convolution has the stride",
    kinds=("caffe_bottleneck", "torchvision_bottleneck"),
    family="caffe2_",
)

# tensorpack's `examples/ResNet`.
TENSORPACK = Naming(
    "tensorpack",
    (
        ("conv1/weights", "conv0/W"),
        ("conv1/BatchNorm/{role}", "conv0/bn/{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "group{b-1}/block{u-1}/conv{k}/W"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "group{b-1}/block{u-1}/conv{k}/bn/{role}"),
        (f"{_UNIT}/shortcut/weights", "group{b-1}/block{u-1}/convshortcut/W"),
        (f"{_UNIT}/shortcut/BatchNorm/{{role}}", "group{b-1}/block{u-1}/convshortcut/bn/{role}"),
        ("logits/weights", "linear/W"),
        ("logits/biases", "linear/b"),
    ),
    kernel="HWIO",
    dense="IO",
    roles={"moving_mean": "mean/EMA", "moving_variance": "variance/EMA"},
    ignored=_TENSORFLOW_IGNORED,
    offsets=("W", "b"),
    untold="which convolution has the stride, or the padding",
    kinds=("torchvision_basic", "torchvision_bottleneck", "caffe_bottleneck"),
    family="tensorpack_",
)

TIMM_RESNETV2 = Naming(
    "timm-resnetv2",
    (
        ("conv1/weights", "stem.conv.weight"),
        (f"{_UNIT}/preact/{{role}}", "stages.{b-1}.blocks.{u-1}.norm1.{role}"),
        (f"{_UNIT}/conv{{k}}/weights", "stages.{b-1}.blocks.{u-1}.conv{k}.weight"),
        (f"{_UNIT}/conv{{k}}/BatchNorm/{{role}}", "stages.{b-1}.blocks.{u-1}.norm{k+1}.{role}"),
        (f"{_UNIT}/shortcut/weights", "stages.{b-1}.blocks.{u-1}.downsample.conv.weight"),
        ("postnorm/{role}", "norm.{role}"),
        ("logits/weights", "head.fc.weight"),
        ("logits/biases", "head.fc.bias"),
    ),
    kernel="OIHW",
    dense="OI",
    roles=_TORCH_ROLES,
    ignored=_TORCH_IGNORED,
    separator=".",
    offsets=("weight", "bias"),
    kinds=("timm_preact_bottleneck",),
    projects=_BY_SHAPE,
    family="timm_resnetv2_",
)


def _keras_unit(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    """A convolution of a unit of Keras Applications, and its norm."""
    layer = f"conv{{b+1}}_block{{u}}_{theirs}"
    return (
        (f"{_UNIT}/{ours}/weights", f"{layer}_conv/kernel"),
        (f"{_UNIT}/{ours}/biases", f"{layer}_conv/bias"),
        (f"{_UNIT}/{ours}/BatchNorm/{{role}}", f"{layer}_bn/{{role}}"),
    )


# `keras.applications.resnet`, of version 1.
KERAS_RESNET = Naming(
    "keras-resnet",
    (
        ("conv1/weights", "conv1_conv/kernel"),
        ("conv1/biases", "conv1_conv/bias"),
        ("conv1/BatchNorm/{role}", "conv1_bn/{role}"),
        *_keras_unit("shortcut", "0"),
        *_keras_unit("conv{k}", "{k}"),
        ("logits/weights", "predictions/kernel"),
        ("logits/biases", "predictions/bias"),
    ),
    kernel="HWIO",
    dense="IO",
    ignored=_KERAS_LEFT,
    offsets=("kernel", "bias"),
    kinds=("caffe_bottleneck",),
    family="keras_",
)

# `keras.applications.resnet_v2`.
KERAS_RESNETV2 = Naming(
    "keras-resnetv2",
    (
        ("conv1/weights", "conv1_conv/kernel"),
        ("conv1/biases", "conv1_conv/bias"),
        (f"{_UNIT}/preact/{{role}}", "conv{b+1}_block{u}_preact_bn/{role}"),
        *_keras_unit("shortcut", "0"),
        *_keras_unit("conv{k}", "{k}"),
        ("postnorm/{role}", "post_bn/{role}"),
        ("logits/weights", "predictions/kernel"),
        ("logits/biases", "predictions/bias"),
    ),
    kernel="HWIO",
    dense="IO",
    ignored=_KERAS_LEFT,
    offsets=("kernel", "bias"),
    kinds=("keras_v2_bottleneck",),
    family="keras_",
)

# TensorFlow's official `resnet` (`official/r1/resnet`), which names no layer; MLPerf's ResNet-50 is one of it.
TF_OFFICIAL = Naming(
    "tf-official",
    (),
    kernel="HWIO",
    dense="IO",
    ignored=_TENSORFLOW_IGNORED,
    offsets=("kernel", "bias"),
    kinds=("preact_basic", "timm_preact_bottleneck", "torchvision_basic", "torchvision_bottleneck"),
    projects=("first",),
    numbering=Numbering(),
)

# What Keras calls layers that nobody named, of a network that makes a unit's projection last, as MLPerf Tiny's.
KERAS_LAYERS = Naming(
    "keras-layers",
    (),
    kernel="HWIO",
    dense="IO",
    ignored=_KERAS_LEFT,
    offsets=("kernel", "bias"),
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
    """The table of a name.

    Raises:
        OptionError: There is no such table.
    """
    for naming in NAMINGS:
        if naming.name == name:
            return naming
    known = ", ".join(each.name for each in NAMINGS)
    raise OptionError(f"naming must be one of {known}, got {name}", where="naming")

"""Writes specs/*.json, the catalogue, so that all of its files are formatted alike.

python tools/write_catalogue.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from resnet_compile.schemes import Normalise, Scheme, ShortSide, Stretch
from resnet_compile.spec import (
    BatchNorm,
    Block,
    CifarRoot,
    DeepStem,
    EfficientChannel,
    Head,
    HParams,
    ImagenetRoot,
    ImagenetV1Root,
    Input,
    KerasV2Root,
    MaxRootPool,
    NetworkSpec,
    PaddedSubsample,
    PooledProjection,
    Projection,
    ScaleOffset,
    SqueezeExcitation,
    StemRoot,
    ThreeStem,
    TimmPreactRoot,
    TorchvisionRoot,
    caffe_block,
    cifar_network,
    keras_block,
    keras_v2_block,
    mlperf_tiny_block,
    preact_basic_block,
    published_weights,
    resnet_v1_block,
    resnet_v2_block,
    tf_official_block,
    timm_preact_block,
    torchvision_basic_block,
    torchvision_bottleneck_block,
    transformers_network,
)
from resnet_compile.spec.network import NormKind
from resnet_compile.spec.parts import AttentionKind
from resnet_compile.spec.writing import document

FOLDER = Path(__file__).resolve().parents[1] / "specs"
# Units of the four blocks, by the number of layers.
UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
# TF-slim and Keras stride in the last unit of a block, all others in the first.
STRIDE_LAST, STRIDE_FIRST = (2, 2, 2, 1), (1, 2, 2, 2)

BlockBuilder = Callable[[str, int, int, int], Block]


def four_blocks(builder: BlockBuilder, layers: int, strides: Sequence[int]) -> tuple[Block, ...]:
    """The blocks of an ImageNet network: base depths 64, 128, 256 and 512."""
    return tuple(builder(f"block{index + 1}", 64 << index, UNITS[layers][index], strides[index]) for index in range(4))


def image(side: int, preprocess: str | Scheme) -> Input:
    """A square image of three channels."""
    return Input.model_validate({"height": side, "width": side, "channels": 3, "preprocess": preprocess})


def slim_v1(layers: int) -> NetworkSpec:
    """TF-slim's `resnet_v1_*`."""
    return NetworkSpec(
        name=f"resnet_v1_{layers}",
        origin=f"tf_slim.nets.resnet_v1.resnet_v1_{layers}",
        input=image(224, "vgg"),
        root=ImagenetV1Root(),
        blocks=four_blocks(resnet_v1_block, layers, STRIDE_LAST),
        head=Head(num_classes=1000),
    )


def slim_v2(layers: int) -> NetworkSpec:
    """TF-slim's `resnet_v2_*`."""
    return NetworkSpec(
        name=f"resnet_v2_{layers}",
        origin=f"tf_slim.nets.resnet_v2.resnet_v2_{layers}",
        input=image(224, "inception"),
        root=ImagenetRoot(),
        blocks=four_blocks(resnet_v2_block, layers, STRIDE_LAST),
        head=Head(num_classes=1000),
    )


def segmentation() -> NetworkSpec:
    """TF-slim's `resnet_v2_101` as its documentation uses it to label pixels."""
    return slim_v2(101).replace(
        origin="tf_slim.nets.resnet_v2.resnet_v2_101, for 21 classes of pixels",
        input=image(513, "inception"),
        output_stride=16,
        head=Head(num_classes=21, global_pool=False),
    )


def tiny() -> NetworkSpec:
    """A network for trials."""
    return NetworkSpec(
        name="tiny",
        origin="none: a small network for trials",
        input=image(32, "inception"),
        root=ImagenetRoot(depth=16),
        blocks=(resnet_v2_block("block1", 8, 2, 2), resnet_v2_block("block2", 16, 2, 1)),
        head=Head(num_classes=10),
    )


def timm(
    name: str,
    layers: int,
    *,
    basic: bool = False,
    bag_of_tricks: bool = False,
    attention: AttentionKind | None = None,
) -> NetworkSpec:
    """A network of timm's `resnet`: torchvision's, with what timm combines it with.

    Args:
        name: What timm calls it.
        layers: How many layers its number stands for.
        basic: Whether its units are basic ones.
        bag_of_tricks: Whether it is a ResNet-D: a deep stem, and shortcuts pooled before they are projected.
        attention: What weighs the residuals' channels.
    """
    builder = torchvision_basic_block if basic else torchvision_bottleneck_block
    shortcut = PooledProjection() if bag_of_tricks else None
    blocks = four_blocks(partial(builder, attention=attention, shortcut=shortcut), layers, STRIDE_FIRST)
    spec = torchvision(name, blocks).replace(
        name=f"timm_{name}",
        origin=f"timm.models.resnet.{name}",
        root=StemRoot(stem=DeepStem()) if bag_of_tricks else TorchvisionRoot(),
    )
    return published_weights(spec.name)[0].prepare(spec)


def torchvision(name: str, blocks: tuple[Block, ...]) -> NetworkSpec:
    """A network of torchvision's `models.resnet`."""
    return NetworkSpec(
        name=f"torchvision_{name}",
        origin=f"torchvision.models.{name}",
        input=image(224, "torchvision"),
        root=TorchvisionRoot(),
        blocks=blocks,
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=1000, logits="dense", predictions=None),
        initializer="torchvision",
    )


def torchvision_bottlenecks(name: str, layers: int, groups: int, base_width: int) -> NetworkSpec:
    """A network of torchvision's bottlenecks: ResNet, ResNeXt, wide ResNet."""

    def block(scope: str, base_depth: int, num_units: int, stride: int) -> Block:
        return torchvision_bottleneck_block(scope, base_depth, num_units, stride, groups=groups, base_width=base_width)

    spec = torchvision(name, four_blocks(block, layers, STRIDE_FIRST))
    return published_weights(spec.name)[0].prepare(spec)


def resnet26() -> NetworkSpec:
    """The network of `microsoft/resnet-26`; the other sizes are torchvision's."""
    spec = transformers_network("transformers_resnet26", depths=(2, 2, 2, 2)).replace(
        origin="transformers ResNetForImageClassification"
    )
    return published_weights(spec.name)[0].prepare(spec)


# How kuangliu's training takes CIFAR's images, by means and deviations that it gives in full.
KUANGLIU_VALUES = Normalise(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
AKAMASTER_VALUES = Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def cifar_image(values: Normalise) -> Input:
    """An image of CIFAR's size."""
    return image(32, Scheme(resize=Stretch(filter="bilinear"), values=values, size=32))


def kuangliu(layers: int) -> NetworkSpec:
    """Kuangliu's `ResNet18` and so on: torchvision's with a 3x3 stem for CIFAR."""
    builder = torchvision_basic_block if layers < 50 else torchvision_bottleneck_block
    return NetworkSpec(
        name=f"kuangliu_resnet{layers}",
        origin=f"kuangliu/pytorch-cifar models.ResNet{layers}",
        input=cifar_image(KUANGLIU_VALUES),
        root=StemRoot(stem=ThreeStem(), pool=None),
        blocks=four_blocks(builder, layers, STRIDE_FIRST),
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=10, logits="dense", predictions=None),
        initializer="pytorch",
        weight_decay=5e-4,
    )


def kuangliu_preact(layers: int) -> NetworkSpec:
    """Kuangliu's `PreActResNet18` and so on, which end without a norm."""
    bottleneck = partial(timm_preact_block, shortcut=Projection(at="shape"))
    return kuangliu(layers).replace(
        name=f"kuangliu_preact_resnet{layers}",
        origin=f"kuangliu/pytorch-cifar models.PreActResNet{layers}",
        root=CifarRoot(depth=64),
        blocks=four_blocks(preact_basic_block if layers < 50 else bottleneck, layers, STRIDE_FIRST),
        head=Head(num_classes=10, logits="dense", predictions=None, postnorm="none"),
    )


def akamaster(units: int) -> NetworkSpec:
    """Akamaster's `resnet20` and so on: He et al.'s for CIFAR, with shortcuts of option A."""
    block = partial(torchvision_basic_block, shortcut=PaddedSubsample())
    layers = 6 * units + 2
    return NetworkSpec(
        name=f"akamaster_resnet{layers}",
        origin=f"akamaster/pytorch_resnet_cifar10 resnet{layers}",
        input=cifar_image(AKAMASTER_VALUES),
        root=StemRoot(stem=ThreeStem(), depth=16, pool=None),
        blocks=tuple(block(f"block{number}", 8 << number, units, 1 if number == 1 else 2) for number in (1, 2, 3)),
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=10, logits="dense", predictions=None),
        initializer="akamaster",
    )


# Detectors take an image of any size; a square one is stretched here. detectron2's mean is of its own rounding.
DETECTRON2_VALUES = Normalise(divisor=1.0, mean=(103.53, 116.28, 123.675))
CAFFE2_VALUES = Normalise(divisor=1.0, mean=(102.9801, 115.9465, 122.7717))


def detectron2(layers: int) -> NetworkSpec:
    """The backbone of detectron2's detectors whose first weights are He et al.'s."""
    return NetworkSpec(
        name=f"detectron2_resnet{layers}",
        origin=f"detectron2 build_resnet_backbone, DEPTH {layers}, STRIDE_IN_1X1",
        input=image(224, Scheme(resize=Stretch(filter="bilinear"), values=DETECTRON2_VALUES, channels="bgr")),
        root=TorchvisionRoot(),
        blocks=four_blocks(caffe_block, layers, STRIDE_FIRST),
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=None, global_pool=False),
        initializer="timm",
    )


def caffe2(layers: int) -> NetworkSpec:
    """He et al.'s weights as Detectron takes them, the statistics of their norms merged into scales and offsets."""
    resize = ShortSide(filter="bilinear", crop=0.875)
    return detectron2(layers).replace(
        name=f"caffe2_resnet{layers}",
        origin=f"Detectron modeling.ResNet, R-{layers}.pkl",
        input=image(224, Scheme(resize=resize, values=CAFFE2_VALUES, channels="bgr")),
        norm=ScaleOffset(),
        head=Head(num_classes=1000, logits="dense"),
    )


# tensorpack reads images as blue, green, red, and scales with OpenCV's cubic filter, which does not antialias.
TENSORPACK_SCHEME = Scheme(
    resize=ShortSide(filter="bicubic", crop=0.875),
    values=Normalise(mean=(0.406, 0.456, 0.485), std=(0.225, 0.224, 0.229)),
    channels="bgr",
)


def tensorpack(layers: int) -> NetworkSpec:
    """tensorpack's: torchvision's units under TensorFlow's SAME padding everywhere."""
    builder = torchvision_basic_block if layers < 50 else torchvision_bottleneck_block
    return NetworkSpec(
        name=f"tensorpack_resnet{layers}",
        origin=f"tensorpack examples/ResNet, ImageNet-ResNet{layers}",
        input=image(224, TENSORPACK_SCHEME),
        root=StemRoot(padding="same", pool=MaxRootPool(padding="same")),
        blocks=four_blocks(partial(builder, padding="same"), layers, STRIDE_FIRST),
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=1000, logits="dense", predictions=None),
        initializer="timm",
    )


def timm_preact(layers: int) -> NetworkSpec:
    """A network of timm's `resnetv2`, with batch norm."""
    return NetworkSpec(
        name=f"timm_resnetv2_{layers}",
        origin=f"timm.models.resnetv2.resnetv2_{layers}",
        input=image(224, "timm"),
        root=TimmPreactRoot(),
        blocks=four_blocks(timm_preact_block, layers, STRIDE_FIRST),
        norm=BatchNorm(decay=0.9),
        head=Head(num_classes=1000, predictions=None),
        initializer="timm",
    )


def keras(layers: int) -> NetworkSpec:
    """Keras's `ResNet*` of version 1."""
    return NetworkSpec(
        name=f"keras_resnet{layers}",
        origin=f"keras.applications.ResNet{layers}",
        input=image(224, "caffe"),
        root=StemRoot(biases=True, pool=MaxRootPool(padding="zero")),
        blocks=four_blocks(keras_block, layers, STRIDE_FIRST),
        norm=BatchNorm(epsilon=1.001e-5, decay=0.99),
        head=Head(num_classes=1000, logits="dense"),
        initializer="keras",
    )


def keras_v2(layers: int) -> NetworkSpec:
    """Keras's `ResNet*V2`."""
    return NetworkSpec(
        name=f"keras_resnet{layers}v2",
        origin=f"keras.applications.ResNet{layers}V2",
        input=image(224, "keras"),
        root=KerasV2Root(),
        blocks=four_blocks(keras_v2_block, layers, STRIDE_LAST),
        norm=BatchNorm(epsilon=1.001e-5, decay=0.99),
        head=Head(num_classes=1000, logits="dense"),
        initializer="keras",
    )


def cifar(name: str, hps: HParams, filters: tuple[int, int, int, int] | None = None) -> NetworkSpec:
    """A network of the CIFAR system."""
    kind = "bottleneck" if hps.use_bottleneck else "plain"
    origin = f"tensorflow/models resnet (2016), {kind}, num_residual_units={hps.num_residual_units}"
    if filters:
        origin += f", filters={list(filters)}"
    return cifar_network(hps, name, filters).replace(origin=origin)


def tf_official(layers: int, version: Literal[1, 2], blocks: tuple[Block, ...]) -> NetworkSpec:
    """An ImageNet network of TensorFlow's official `resnet`, of which version 1 has the strides of v1.5."""
    return NetworkSpec(
        name=f"tf_official_resnet{layers}_v{version}",
        origin=f"tensorflow/models official/r1/resnet, ImagenetModel({layers}, resnet_version={version})",
        input=image(224, "vgg"),
        root=StemRoot(norm=version == 1, pool=MaxRootPool(padding="same")),
        blocks=blocks,
        head=Head(num_classes=1001, logits="dense"),
        initializer="tf_official",
    )


def tf_official_imagenet(layers: int, version: Literal[1, 2]) -> NetworkSpec:
    """Its sizes; from 50 layers on the units are bottlenecks."""
    builder = partial(tf_official_block, version=version, bottleneck=layers >= 50)
    return tf_official(layers, version, four_blocks(builder, layers, STRIDE_FIRST))


def tf_official_cifar(layers: int, version: Literal[1, 2]) -> NetworkSpec:
    """A CIFAR network of TensorFlow's official `resnet`: 6n + 2 layers."""
    units = (layers - 2) // 6
    blocks = tuple(
        tf_official_block(f"block{number}", 8 << number, units, stride, version=version, bottleneck=False)
        for number, stride in ((1, 1), (2, 2), (3, 2))
    )
    return tf_official(layers, version, blocks).replace(
        name=f"tf_official_cifar_resnet{layers}_v{version}",
        origin=f"tensorflow/models official/r1/resnet, Cifar10Model({layers}, resnet_version={version})",
        input=image(32, "cifar"),
        root=StemRoot(stem=ThreeStem(), depth=16, norm=version == 1, pool=None),
        head=Head(num_classes=10, logits="dense"),
        weight_decay=2e-4,
    )


def mlperf_tiny() -> NetworkSpec:
    """MLPerf Tiny's network for CIFAR-10, which takes pixels from 0 to 255 as they are."""
    raw = Scheme(resize=Stretch(filter="bilinear"), values=Normalise(divisor=1.0), size=32)
    blocks = ((16, 1), (32, 2), (64, 2))
    return NetworkSpec(
        name="mlperf_tiny_resnet8",
        origin="mlcommons/tiny image_classification, resnet_v1_eembc",
        input=Input(height=32, width=32, preprocess=raw),
        root=StemRoot(stem=ThreeStem(), depth=16, biases=True, pool=None),
        blocks=tuple(
            mlperf_tiny_block(f"block{at + 1}", depth, 1, stride) for at, (depth, stride) in enumerate(blocks)
        ),
        norm=BatchNorm(epsilon=1e-3, decay=0.99),
        head=Head(num_classes=10, logits="dense"),
        initializer="mlperf_tiny",
        weight_decay=2e-4,  # Keras's l2(1e-4) has no half
    )


def catalogue() -> Iterator[tuple[str, NetworkSpec]]:
    """Every spec of the catalogue, by the name of its file."""
    yield "tiny", tiny()
    yield "resnet101_segmentation", segmentation()
    for layers in (50, 101, 152, 200):
        yield f"resnet{layers}", slim_v2(layers)
        yield f"resnet_v1_{layers}", slim_v1(layers)
    for units in (3, 5, 7, 9, 18):
        name = f"cifar_resnet{6 * units + 2}"
        yield name, cifar(name, HParams(num_residual_units=units))
    for units in (18, 111):
        name = f"cifar_resnet{9 * units + 2}"
        yield name, cifar(name, HParams(num_residual_units=units, use_bottleneck=True))
    yield "wrn_28_10", cifar("wrn_28_10", HParams(num_residual_units=4), filters=(16, 160, 320, 640))
    for layers in (18, 34):
        name = f"resnet{layers}"
        yield f"torchvision_{name}", torchvision(name, four_blocks(torchvision_basic_block, layers, STRIDE_FIRST))
    for name, layers, groups, base_width in (
        ("resnet50", 50, 1, 64),
        ("resnet101", 101, 1, 64),
        ("resnet152", 152, 1, 64),
        ("resnext50_32x4d", 50, 32, 4),
        ("resnext101_32x8d", 101, 32, 8),
        ("resnext101_64x4d", 101, 64, 4),
        ("wide_resnet50_2", 50, 1, 128),
        ("wide_resnet101_2", 101, 1, 128),
    ):
        yield f"torchvision_{name}", torchvision_bottlenecks(name, layers, groups, base_width)
    for timm_network in (
        timm("resnet18d", 18, basic=True, bag_of_tricks=True),
        timm("resnet50d", 50, bag_of_tricks=True),
        timm("seresnet50", 50, attention=SqueezeExcitation()),
        timm("ecaresnet50d", 50, bag_of_tricks=True, attention=EfficientChannel()),
    ):
        yield timm_network.name, timm_network
    yield "transformers_resnet26", resnet26()
    for layers in (18, 34, 50, 101, 152):
        for torch_network in (kuangliu(layers), kuangliu_preact(layers), tensorpack(layers)):
            yield torch_network.name, torch_network
    for units in (3, 5, 7, 9, 18, 200):
        yield f"akamaster_resnet{6 * units + 2}", akamaster(units)
    for layers in (50, 101):
        yield f"detectron2_resnet{layers}", detectron2(layers)
    for layers in (50, 101, 152):
        yield f"caffe2_resnet{layers}", caffe2(layers)
    for layers in (50, 101, 152):
        yield f"timm_resnetv2_{layers}", timm_preact(layers)
        yield f"keras_resnet{layers}", keras(layers)
        yield f"keras_resnet{layers}v2", keras_v2(layers)
    versions: tuple[Literal[1, 2], ...] = (1, 2)
    for version in versions:
        for network in (
            *(tf_official_imagenet(layers, version) for layers in UNITS),
            *(tf_official_cifar(layers, version) for layers in (20, 32, 44, 56, 110)),
        ):
            yield network.name, network
    yield "mlperf_tiny_resnet8", mlperf_tiny()


def text(spec: NetworkSpec) -> str:
    """The spec as the text of its file: an object a line, units of a block below each other."""
    members = (f"{json.dumps(key)}: {value}" for key, value in _members(spec))
    return _indented("{", members, "}", by=2) + "\n"


def _members(spec: NetworkSpec) -> Iterator[tuple[str, str]]:
    """The members of the file in order: what every spec has, and of the rest what is not the default."""
    yield "$schema", json.dumps("network.schema.json")
    yield "name", json.dumps(spec.name)
    yield "origin", json.dumps(spec.origin)
    yield "input", json.dumps(spec.input.model_dump() | {"preprocess": document(spec.input.preprocess)})
    yield "root", json.dumps(document(spec.root))
    yield "blocks", _indented("[", map(_block, spec.blocks), "]", by=4)
    yield "output_stride", json.dumps(spec.output_stride)
    yield "norm", json.dumps(_norm(spec.norm))
    head = {"num_classes": spec.head.num_classes, "global_pool": spec.head.global_pool}
    head |= {"spatial_squeeze": spec.head.squeezes, **spec.head.model_dump(exclude_defaults=True)}
    yield "head", json.dumps(head)
    if spec.initializer != "slim":
        yield "initializer", json.dumps(spec.initializer)
    yield "weight_decay", json.dumps(spec.weight_decay)


def _norm(norm: NormKind) -> dict[str, Any]:
    """A batch norm with its numbers, defaults or not."""
    numbers = ("epsilon", "decay", "scale") if isinstance(norm, BatchNorm) else ()
    return {"kind": norm.kind, **{name: getattr(norm, name) for name in numbers}} | document(norm)


def _block(block: Block) -> str:
    args = [json.dumps(args.model_dump(exclude_unset=True, exclude_none=True)) for args in block.args]
    given = {"kind": block.unit.kind, **block.unit.model_dump(exclude_unset=True)}
    members = {
        "scope": json.dumps(block.scope),
        "unit": json.dumps(given | document(block.unit)),
        "args": f"[{args[0]}]" if len(args) == 1 else _indented("[", args, "]", by=8),
    }
    return _indented("{", (f"{json.dumps(key)}: {value}" for key, value in members.items()), "}", by=6)


def _indented(opening: str, items: Iterable[str], closing: str, *, by: int) -> str:
    """The items, a line each, between brackets that stand two columns further left."""
    lines = ",\n".join(" " * by + item for item in items)
    return f"{opening}\n{lines}\n{' ' * (by - 2)}{closing}"


if __name__ == "__main__":
    for file_name, network in catalogue():
        (FOLDER / f"{file_name}.json").write_text(text(network))

"""The Python API builds what the catalogue holds."""

import pytest

from resnet_compile.spec import (
    Block,
    CifarPlain,
    Head,
    HParams,
    Input,
    NetworkSpec,
    caffe_block,
    cifar_bottleneck_block,
    cifar_network,
    cifar_plain_block,
    keras_block,
    keras_v2_block,
    load_spec,
    resnet_v1_block,
    resnet_v2_block,
    timm_preact_block,
    torchvision_basic_block,
    torchvision_bottleneck_block,
)

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


@pytest.mark.parametrize("depth", UNITS)
def test_four_lines_make_a_catalogue_network(depth: int) -> None:
    strides = (2, 2, 2, 1)
    blocks = [
        resnet_v2_block(f"block{i + 1}", base_depth=64 << i, num_units=UNITS[depth][i], stride=strides[i])
        for i in range(4)
    ]
    built = NetworkSpec(
        name=f"resnet_v2_{depth}", input=Input(height=224, width=224), blocks=blocks, head=Head(num_classes=1000)
    )
    kept = load_spec(f"resnet{depth}")
    flat = [
        [(a.depth, a.depth_bottleneck, a.stride) for a in block.args for _ in range(a.repeat)] for block in kept.blocks
    ]
    assert flat == [
        [(a.depth, a.depth_bottleneck, a.stride) for a in block.args for _ in range(a.repeat)] for block in built.blocks
    ]
    assert (built.name, built.root, built.norm, built.output_stride, built.head.squeezes) == (
        kept.name,
        kept.root,
        kept.norm,
        kept.output_stride,
        kept.head.squeezes,
    )


def test_the_strides_of_a_block_stand_where_its_original_has_them() -> None:
    builders = (resnet_v1_block, resnet_v2_block, keras_v2_block)
    for builder in builders:
        assert strides(builder("block1", 8, 3, 2)) == [1, 1, 2]
    for builder in (caffe_block, keras_block, timm_preact_block, torchvision_bottleneck_block):
        assert strides(builder("block1", 8, 3, 2)) == [2, 1, 1]
    for plain in (torchvision_basic_block, cifar_plain_block, cifar_bottleneck_block):
        assert strides(plain("block1", 8, 3, 2)) == [2, 1, 1]
        assert strides(plain("block1", 8, 1, 2)) == [2]
        assert strides(plain("block1", 8, 3, 1)) == [1, 1, 1]


def strides(block: Block) -> list[int]:
    return [args.stride for args in block.args for _ in range(args.repeat)]


@pytest.mark.parametrize(
    ("name", "hps", "filters"),
    [
        ("cifar_resnet32", HParams(), None),
        ("cifar_resnet164", HParams(num_residual_units=18, use_bottleneck=True), None),
        ("wrn_28_10", HParams(num_residual_units=4), (16, 160, 320, 640)),
    ],
)
def test_the_cifar_systems_hyperparameters_make_its_networks(
    name: str, hps: HParams, filters: tuple[int, int, int, int] | None
) -> None:
    kept = load_spec(name)
    assert cifar_network(hps, name, filters).model_dump(exclude={"origin"}) == kept.model_dump(exclude={"origin"})


def test_every_hyperparameter_of_the_network_reaches_it() -> None:
    """The other four say how it is trained."""
    assert HParams._fields == (
        "batch_size",
        "num_classes",
        "min_lrn_rate",
        "lrn_rate",
        "num_residual_units",
        "use_bottleneck",
        "weight_decay_rate",
        "relu_leakiness",
        "optimizer",
    )
    spec = cifar_network(HParams(100, 100, 0.0, 0.2, 2, False, 0.001, 0.0, "sgd"), "net")
    assert (spec.head.num_classes, spec.weight_decay) == (100, 0.001)
    for block in spec.blocks:
        assert isinstance(block.unit, CifarPlain)
        assert block.unit.relu_leakiness == 0
        assert block.num_units == 2
    assert cifar_network(HParams(), "net") == cifar_network(HParams(batch_size=1, lrn_rate=1.0, optimizer="sgd"), "net")

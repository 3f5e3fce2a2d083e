"""Networks made deeper, shallower, wider and narrower: against what their makers call the results."""

import pytest

from resnet_compile import load_spec, plan_network
from resnet_compile.errors import SpecError
from resnet_compile.spec.catalogue import catalogue
from resnet_compile.spec.scaling import scaled


def units(name: str, factor: float) -> list[int]:
    return [block.num_units for block in scaled(load_spec(name), depth=factor).blocks]


def test_units_come_and_go() -> None:
    # Of 3, 4, 6 and 3; halves go to the even number.
    assert units("resnet50", 2) == [6, 8, 12, 6]
    assert units("resnet50", 0.5) == [2, 2, 3, 2]
    # CIFAR's networks have n units in each of three blocks.
    assert scaled(load_spec("cifar_resnet20"), depth=3).blocks == load_spec("cifar_resnet56").blocks


@pytest.mark.parametrize("name", ["resnet50", "torchvision_resnet50", "torchvision_resnet18", "cifar_resnet20"])
@pytest.mark.parametrize("factor", [0.1, 0.5, 2, 3])
def test_strides_stay_where_they_are(name: str, factor: float) -> None:
    own, made = load_spec(name), scaled(load_spec(name), depth=factor)
    for before, after in zip(own.blocks, made.blocks, strict=True):
        strided = [[args for args in block.args if args.stride > 1] for block in (before, after)]
        assert strided[0] == strided[1]
        assert (before.args[-1].stride > 1) == (after.args[-1].stride > 1) or factor < 1
    assert plan_network(made).end_points[-1].shape == plan_network(own).end_points[-1].shape


def test_channels_are_multiples_of_8_or_of_4_where_they_are_few() -> None:
    made = scaled(load_spec("resnet50"), width=0.3)
    assert made.root is not None
    assert made.root.depth == 20  # 19.2
    assert [(block.args[0].depth, block.args[0].depth_bottleneck) for block in made.blocks] == [
        (80, 20),  # 76.8, 19.2
        (152, 40),  # 153.6, 38.4
        (304, 80),
        (616, 152),
    ]
    # Strides of the CIFAR system's networks go with a change of depth.
    assert [block.args[0].depth for block in scaled(load_spec("cifar_resnet20"), width=0.25).blocks] == [4, 8, 16]
    assert scaled(load_spec("resnet50"), width=1e-6).blocks[0].args[0].depth == 4


@pytest.mark.parametrize("name", catalogue())
def test_every_network_can_be_scaled(name: str) -> None:
    spec = load_spec(name)
    assert scaled(spec) == spec
    planned = plan_network(spec)
    assert plan_network(scaled(spec, depth=2)).macs > planned.macs > plan_network(scaled(spec, width=0.5)).macs


def test_what_cannot_be_scaled_so_is_refused() -> None:
    with pytest.raises(SpecError, match=r"width must be greater than 0.0, got 0\.0 @ \$\.width"):
        scaled(load_spec("tiny"), width=0.0)
    with pytest.raises(SpecError, match="depth must be at most 65536"):
        scaled(load_spec("tiny"), width=1e5)

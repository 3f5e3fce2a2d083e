"""What networks cost, against counts by hand and against the plan, which counts by layers and not by operators."""

import pytest

import resnet_compile as rc
from resnet_compile.costs import costs
from resnet_compile.errors import SpecError


@pytest.mark.parametrize("name", ["resnet50", "torchvision_resnet18", "torchvision_resnext50_32x4d", "cifar_resnet20"])
def test_the_operators_multiply_as_the_layers_do(name: str) -> None:
    found = costs(name, rc.CompileOptions(batch=3))
    assert found.macs == 3 * rc.plan_network(name).macs
    assert found.batch == 3


def test_a_network_by_hand() -> None:
    """One 1x1 convolution in a unit that adds its input, then the head: 2 channels, 4x4 pixels, float32."""
    spec = rc.NetworkSpec(
        name="net",
        input=rc.Input(height=4, width=4, channels=2),
        root=None,
        blocks=[rc.Block("block1", rc.BottleneckV2(), [(2, 1, 1)])],
        head=rc.Head(num_classes=None, global_pool=False),
    )
    by_name = {value.name.removeprefix("net/block1/unit_1/bottleneck_v2/"): value for value in costs(spec).values}
    first = next(value for name, value in by_name.items() if name.startswith("conv1") and value.operator == "Conv")
    # One channel of 16 pixels of two channels each, a bias from the normalisation behind it among the weights.
    assert (first.shape, first.macs, first.weights) == ((1, 1, 4, 4), 32, 3)
    assert (first.activation_bytes, first.bytes_moved) == (64, 128 + 12 + 64)
    assert first.arithmetic_intensity == 64 / 204
    total = next(value for value in by_name.values() if value.operator == "Add")
    assert (total.macs, total.bytes_moved) == (0, 3 * 128)


def test_the_peak_is_what_lives_at_one_time() -> None:
    found = costs("resnet50", rc.CompileOptions(size=(64, 64)))
    sizes = [value.activation_bytes for value in found.values]
    assert max(sizes) < found.activation_bytes_peak < found.activation_bytes == sum(sizes)
    # Where block1 adds, the shortcut, the residual and their sum live together: three maps of 256 channels, 16x16.
    assert found.activation_bytes_peak == 3 * 256 * 16 * 16 * 4
    assert costs("resnet50", rc.CompileOptions(size=(64, 64), batch=2)).activation_bytes_peak == 6 * 256 * 16 * 16 * 4


def test_options_that_count() -> None:
    assert costs("tiny", rc.CompileOptions(size=(64, 48), num_classes=3)).plan.head.logits is not None
    assert costs("tiny", rc.CompileOptions(num_classes="none")).macs < costs("tiny").macs
    with pytest.raises(SpecError):
        costs("tini")

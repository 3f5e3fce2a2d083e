"""The originals of the catalogue's PyTorch networks, by the catalogue's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import nn
from torch_networks import Affine, Cifar, Classic, DetectronNet, OptionA, Preactivated, TensorpackNet


@dataclass(frozen=True)
class Original:
    """How to make a network, and the side of the image that it is counted at."""

    make: Callable[[], nn.Module]
    side: int


# Units of the four layers, by the number of layers.
LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)


def timm(name: str) -> Original:
    """A network of timm's."""

    def make() -> nn.Module:
        from timm import create_model

        return create_model(name)

    return Original(make, 224)


def transformers_resnet26() -> nn.Module:
    """As `microsoft/resnet-26` has it."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(depths=[2, 2, 2, 2], num_labels=1000))


def expansion(layers: int) -> int:
    """Outputs of a unit over what is inside: the shorter networks have basic units."""
    return 1 if layers < 50 else 4


def kuangliu(layers: int, *, preact: bool) -> Original:
    """`ResNet18` and so on, and `PreActResNet18` and so on."""
    unit = Preactivated if preact else Classic
    return Original(partial(Cifar, unit, expansion(layers), LAYERS[layers], WIDTHS, stem=64, norm=not preact), 32)


ORIGINALS: Mapping[str, Original] = {
    **{f"timm_{name}": timm(name) for name in ("resnet18d", "resnet50d", "seresnet50", "ecaresnet50d")},
    "transformers_resnet26": Original(transformers_resnet26, 224),
    **{f"kuangliu_resnet{layers}": kuangliu(layers, preact=False) for layers in LAYERS},
    **{f"kuangliu_preact_resnet{layers}": kuangliu(layers, preact=True) for layers in LAYERS},
    **{
        f"akamaster_resnet{6 * units + 2}": Original(
            partial(Cifar, OptionA, 1, (units,) * 3, (16, 32, 64), stem=16, norm=True), 32
        )
        for units in (3, 5, 7, 9, 18, 200)
    },
    **{
        f"detectron2_resnet{layers}": Original(partial(DetectronNet, LAYERS[layers], WIDTHS, None), 224)
        for layers in (50, 101)
    },
    **{
        f"caffe2_resnet{layers}": Original(partial(DetectronNet, LAYERS[layers], WIDTHS, 1000, norm=Affine), 224)
        for layers in (50, 101, 152)
    },
    **{
        f"tensorpack_resnet{layers}": Original(partial(TensorpackNet, expansion(layers), LAYERS[layers], WIDTHS), 224)
        for layers in LAYERS
    },
}

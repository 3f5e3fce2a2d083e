"""The originals of the catalogue's PyTorch networks, by the catalogue's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Original:
    """How to make a network, and the side of the image that it is counted at."""

    make: Callable[[], nn.Module]
    side: int


def timm(name: str) -> Original:
    """A network of timm's."""

    def make() -> nn.Module:
        from timm import create_model

        return create_model(name)

    return Original(make, 224)


ORIGINALS: Mapping[str, Original] = {
    f"timm_{name}": timm(name) for name in ("resnet18d", "resnet50d", "seresnet50", "ecaresnet50d")
}

"""Makes TF-slim's ResNet v2 with PyTorch and torch.onnx; `tools/peers.py` runs it.

    python peer_torch.py resnet_v2_50 weights.npz model.onnx OPSET

Needs torch, onnx, onnxscript and numpy. The network is written down here anew, from TF-slim's source.
"""

import sys
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

UNITS = {
    "resnet_v2_50": (3, 4, 6, 3),
    "resnet_v2_101": (3, 4, 23, 3),
    "resnet_v2_152": (3, 8, 36, 3),
    "resnet_v2_200": (3, 24, 36, 3),
}
STRIDES = (2, 2, 2, 1)
EPSILON = 1e-5


class PreactivationUnit(nn.Module):
    """slim's bottleneck of the second version: its stride is in the 3x3 convolution and the shortcut."""

    def __init__(self, depth_in: int, depth: int, stride: int) -> None:
        super().__init__()
        inner = depth // 4
        self.preact = nn.BatchNorm2d(depth_in, EPSILON)
        self.shortcut = nn.Conv2d(depth_in, depth, 1, stride) if depth_in != depth else None
        self.subsample = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
        self.residual = nn.Sequential(
            nn.Conv2d(depth_in, inner, 1, bias=False),
            nn.BatchNorm2d(inner, EPSILON),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(inner, EPSILON),
            nn.ReLU(),
            nn.Conv2d(inner, depth, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, depth_in, H, W] to [N, depth, H / stride, W / stride]."""
        before = torch.relu(self.preact(x))
        shortcut = self.subsample(x) if self.shortcut is None else self.shortcut(before)
        return shortcut + self.residual(before)


class ResNetV2(nn.Module):
    """slim's resnet_v2 for 1000 classes, up to the logits; sides are multiples of 32."""

    def __init__(self, units: tuple[int, ...]) -> None:
        super().__init__()
        self.root = nn.Conv2d(3, 64, 7, 2, padding=3)
        # SAME padding of an even side by 2 is one more row at the end, which is what rounding up adds.
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.blocks = nn.ModuleList()
        depth_in = 64
        for block, (count, stride) in enumerate(zip(units, STRIDES, strict=True)):
            depth = 256 << block
            for unit in range(count):
                self.blocks.append(PreactivationUnit(depth_in, depth, stride if unit == count - 1 else 1))
                depth_in = depth
        self.postnorm = nn.BatchNorm2d(depth_in, EPSILON)
        self.logits = nn.Linear(depth_in, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] to [N, 1000]."""
        x = self.pool(self.root(x))
        for unit in self.blocks:
            x = unit(x)
        return self.logits(torch.relu(self.postnorm(x)).mean((2, 3)))


def fill(layer: nn.Module, scope: str, values: Mapping[str, np.ndarray]) -> None:
    """Fills a layer with values under slim's names, convolution weights as OIHW."""
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    if not isinstance(layer, nn.BatchNorm2d):
        names = {"weight": "weights", "bias": "biases"}
    for attribute, suffix in names.items():
        target = getattr(layer, attribute)
        if target is not None:
            target.data.copy_(torch.from_numpy(values[f"{scope}/{suffix}"].reshape(target.shape)))


def layers(network: ResNetV2, units: tuple[int, ...]) -> Iterator[tuple[str, nn.Module]]:
    """Every layer that has parameters, with slim's scope below the network's name."""
    yield "conv1", network.root
    scopes = [f"block{b}/unit_{u}/bottleneck_v2" for b, n in enumerate(units, 1) for u in range(1, n + 1)]
    for scope, unit in zip(scopes, network.blocks, strict=True):
        yield f"{scope}/preact", unit.preact
        if unit.shortcut is not None:
            yield f"{scope}/shortcut", unit.shortcut
        inside = {0: "conv1", 1: "conv1/BatchNorm", 3: "conv2", 4: "conv2/BatchNorm", 6: "conv3"}
        yield from ((f"{scope}/{name}", unit.residual[position]) for position, name in inside.items())
    yield "postnorm", network.postnorm
    yield "logits", network.logits


def build(name: str, values: Mapping[str, np.ndarray]) -> ResNetV2:
    """A network of `UNITS`, for inference, filled with values under slim's names."""
    if name not in UNITS:
        raise SystemExit(f"no network here is called {name!r}; there are {', '.join(UNITS)}")
    network = ResNetV2(UNITS[name]).eval()
    for scope, layer in layers(network, UNITS[name]):
        fill(layer, f"{name}/{scope}", values)
    return network


def main() -> None:
    """Builds, fills and exports the network."""
    name, weights, output, opset = sys.argv[1:]
    torch.onnx.export(
        build(name, np.load(weights)),
        (torch.zeros(2, 3, 224, 224),),
        output,
        input_names=["input"],
        output_names=["logits"],
        opset_version=int(opset),
        dynamo=True,
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        external_data=False,
    )


if __name__ == "__main__":
    main()

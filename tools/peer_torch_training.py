"""Takes training steps in PyTorch on request; `tools/compare_training.py` talks to it, as `training_worker.py` says.

    python peer_torch_training.py NETWORK start.npz {eager,channels_last,compile} THREADS

The file holds `images`, `labels`, `learning_rate`, `weight_decay` and every parameter under our name for it. Needs
torch and numpy.

The CIFAR network is written down here anew, from its source; TF-slim's is the one of `peer_torch.py`. A step is what
PyTorch's examples do: a network in training mode, cross-entropy, SGD with momentum, and the L2 penalty of the weights
alone as the optimizer's weight decay. What moving averages follow differs (PyTorch does not debias), not what it costs.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from peer_torch import UNITS, ResNetV2, fill, layers
from torch import nn
from torch.nn import functional
from training_worker import serve_training

CIFAR_UNITS = {
    "cifar_resnet20": 3,
    "cifar_resnet32": 5,
    "cifar_resnet44": 7,
    "cifar_resnet56": 9,
    "cifar_resnet110": 18,
}
CIFAR_DEPTHS = (16, 32, 64)
CIFAR_EPSILON, SLOPE = 0.001, 0.1
MOMENTUM = 0.9


class CifarUnit(nn.Module):
    """The CIFAR system's plain residual unit."""

    def __init__(self, depth_in: int, depth: int, *, first: bool) -> None:
        super().__init__()
        self.stride, self.border, self.first = depth // depth_in, (depth - depth_in) // 2, first
        self.preact = nn.BatchNorm2d(depth_in, CIFAR_EPSILON)
        self.conv1 = nn.Conv2d(depth_in, depth, 3, self.stride, padding=2 - self.stride, bias=False)
        self.norm = nn.BatchNorm2d(depth, CIFAR_EPSILON)
        self.conv2 = nn.Conv2d(depth, depth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, depth_in, H, W] to [N, depth, H / stride, W / stride]."""
        residual = functional.leaky_relu(self.preact(x), SLOPE)
        shortcut = residual if self.first else x
        if self.stride > 1:
            residual = functional.pad(residual, (0, 1, 0, 1))  # TensorFlow's SAME of an even side
            shortcut = functional.avg_pool2d(shortcut, self.stride)
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.border, self.border))
        residual = functional.leaky_relu(self.norm(self.conv1(residual)), SLOPE)
        return shortcut + self.conv2(residual)


class CifarResNet(nn.Module):
    """The CIFAR network for 10 classes, up to the logits."""

    def __init__(self, units: int) -> None:
        super().__init__()
        depths = [depth for depth in CIFAR_DEPTHS for _ in range(units)]
        pairs = zip([CIFAR_DEPTHS[0], *depths], depths, strict=False)
        self.root = nn.Conv2d(3, CIFAR_DEPTHS[0], 3, padding=1, bias=False)
        self.units = nn.ModuleList(CifarUnit(*pair, first=number == 0) for number, pair in enumerate(pairs))
        self.postnorm = nn.BatchNorm2d(depths[-1], CIFAR_EPSILON)
        self.logits = nn.Linear(depths[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, 32, 32] to [N, 10]."""
        x = self.root(x)
        for unit in self.units:
            x = unit(x)
        return self.logits(functional.leaky_relu(self.postnorm(x), SLOPE).mean((2, 3)))

    def layers(self, units: int) -> Iterator[tuple[str, nn.Module]]:
        """Every layer that has parameters, with our scope below the network's name."""
        yield "conv1", self.root
        for number, unit in enumerate(self.units):
            scope = f"block{number // units + 1}/unit_{number % units + 1}/cifar_plain"
            yield f"{scope}/preact", unit.preact
            yield f"{scope}/conv1", unit.conv1
            yield f"{scope}/conv1/BatchNorm", unit.norm
            yield f"{scope}/conv2", unit.conv2
        yield "postnorm", self.postnorm
        yield "logits", self.logits


def built(name: str, values: Any) -> nn.Module:
    """The network by our name for it, filled, in training mode."""
    network: nn.Module
    if name in UNITS:
        network = ResNetV2(UNITS[name])
        scoped = layers(network, UNITS[name])
    else:
        network = CifarResNet(CIFAR_UNITS[name])
        scoped = network.layers(CIFAR_UNITS[name])
    for scope, layer in scoped:
        fill(layer, f"{name}/{scope}", values)
    return network.train()


class Training:
    """A network, its optimizer and one batch, of which every step is taken."""

    def __init__(self, name: str, values: Any, kind: str) -> None:
        network = built(name, values)
        self._images, self._labels = torch.from_numpy(values["images"]), torch.from_numpy(values["labels"])
        if kind == "channels_last":
            network = network.to(memory_format=torch.channels_last)
            self._images = self._images.to(memory_format=torch.channels_last)
        self._decayed = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        self._decay = float(values["weight_decay"])
        decayed = {id(weight) for weight in self._decayed}
        free = [weight for weight in network.parameters() if id(weight) not in decayed]
        self._optimizer = torch.optim.SGD(
            [{"params": self._decayed, "weight_decay": self._decay}, {"params": free}],
            lr=float(values["learning_rate"]),
            momentum=MOMENTUM,
        )

        def cost(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(network(images), labels)

        self._cost: Callable[..., torch.Tensor] = torch.compile(cost) if kind == "compile" else cost

    def step(self) -> None:
        """One step."""
        self._cost_of_step()

    def loss_of_step(self) -> float:
        """One step; the cross-entropy and the penalty before it."""
        penalty = sum(float((weight.detach() ** 2).sum()) for weight in self._decayed) * self._decay / 2
        return float(self._cost_of_step()) + penalty

    def _cost_of_step(self) -> torch.Tensor:
        self._optimizer.zero_grad()
        cost = self._cost(self._images, self._labels)
        cost.backward()
        self._optimizer.step()
        return cost.detach()


def main() -> None:
    """Builds the network, then serves."""
    name, start, kind, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    training = Training(name, np.load(start), kind)
    serve_training(training.step, training.loss_of_step)


if __name__ == "__main__":
    main()

"""Residual networks of systems that are not installed from a registry, stated anew in PyTorch from their definitions.

Each says which public definition it states; its modules have the names that the system's files have. Needs torch alone.

============ ==========================================================================================================
kuangliu     github.com/kuangliu/pytorch-cifar, `models/resnet.py` and `models/preact_resnet.py`
akamaster    github.com/akamaster/pytorch_resnet_cifar10, `resnet.py`
detectron2   github.com/facebookresearch/detectron2, `modeling/backbone/resnet.py`
caffe2       github.com/facebookresearch/Detectron, `modeling/ResNet.py`: detectron2's, with affine channels for norms
tensorpack   github.com/tensorpack/tensorpack, `examples/ResNet/resnet_model.py`
============ ==========================================================================================================
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NewUnit = Callable[[int, int, int], nn.Module]


class Classic(nn.Module):
    """Units whose sum is rectified: two 3x3 convolutions, or with an expansion of 4 a bottleneck, its stride on the
    3x3; a 1x1 convolution with a norm where the shape changes. kuangliu's `BasicBlock` and `Bottleneck`.
    """

    def __init__(self, source: int, planes: int, stride: int, expansion: int) -> None:
        super().__init__()
        depth = planes * expansion
        kernels = (3, 3) if expansion == 1 else (1, 3, 1)
        widths = (source, *[planes] * (len(kernels) - 1), depth)
        self.count = len(kernels)
        for index, kernel in enumerate(kernels):
            strides = stride if kernel == 3 and 3 not in kernels[:index] else 1
            conv = nn.Conv2d(widths[index], widths[index + 1], kernel, strides, kernel // 2, bias=False)
            self.add_module(f"conv{index + 1}", conv)
            self.add_module(f"bn{index + 1}", nn.BatchNorm2d(widths[index + 1]))
        self.shortcut = nn.Sequential()
        if stride != 1 or source != depth:
            self.shortcut = nn.Sequential(nn.Conv2d(source, depth, 1, stride, bias=False), nn.BatchNorm2d(depth))

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = functional.relu(y) if number < self.count else y
        return functional.relu(y + self.shortcut(x))


class Preactivated(nn.Module):
    """Units that normalise and rectify before each convolution; the bare projection reads the first such map.
    kuangliu's `PreActBlock` and `PreActBottleneck`.
    """

    def __init__(self, source: int, planes: int, stride: int, expansion: int) -> None:
        super().__init__()
        depth = planes * expansion
        kernels = (3, 3) if expansion == 1 else (1, 3, 1)
        widths = (source, *[planes] * (len(kernels) - 1), depth)
        self.count = len(kernels)
        for index, kernel in enumerate(kernels):
            strides = stride if kernel == 3 and 3 not in kernels[:index] else 1
            self.add_module(f"bn{index + 1}", nn.BatchNorm2d(widths[index]))
            conv = nn.Conv2d(widths[index], widths[index + 1], kernel, strides, kernel // 2, bias=False)
            self.add_module(f"conv{index + 1}", conv)
        if stride != 1 or source != depth:
            self.shortcut = nn.Sequential(nn.Conv2d(source, depth, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        y = first = functional.relu(self.bn1(x))
        for number in range(1, self.count + 1):
            y = functional.relu(getattr(self, f"bn{number}")(y)) if number > 1 else y
            y = getattr(self, f"conv{number}")(y)
        return y + (self.shortcut(first) if hasattr(self, "shortcut") else x)


class OptionA(Classic):
    """akamaster's `BasicBlock`: every second pixel, between a quarter of the new channels of zeros on either side."""

    def __init__(self, source: int, planes: int, stride: int, expansion: int = 1) -> None:
        super().__init__(source, planes, stride, expansion)
        self.shortcut = Padded(planes // 4) if stride != 1 or source != planes else nn.Sequential()


class Padded(nn.Module):
    """Every second pixel, with channels of zeros before and after."""

    def __init__(self, zeros: int) -> None:
        super().__init__()
        self.zeros = zeros

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))


class Cifar(nn.Module):
    """A 3x3 stem, layers of units, the mean of the map and a dense layer; `norm` says whether the stem has one."""

    def __init__(
        self,
        unit: Callable[[int, int, int, int], nn.Module],
        expansion: int,
        layers: Sequence[int],
        widths: Sequence[int],
        stem: int,
        norm: bool,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        if norm:
            self.bn1 = nn.BatchNorm2d(stem)
        source, self.depth = stem, len(layers)
        for number, (count, planes) in enumerate(zip(layers, widths, strict=True), start=1):
            units = []
            for index in range(count):
                units.append(unit(source, planes, 2 if index == 0 and number > 1 else 1, expansion))
                source = planes * expansion
            self.add_module(f"layer{number}", nn.Sequential(*units))
        self.linear = nn.Linear(source, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        x = self.conv1(x)
        if hasattr(self, "bn1"):
            x = functional.relu(self.bn1(x))
        for number in range(1, self.depth + 1):
            x = getattr(self, f"layer{number}")(x)
        return self.linear(x.mean((2, 3)))


class Affine(nn.Module):
    """Caffe2's `AffineChannel`: a scale and an offset for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class NormedConv(nn.Conv2d):
    """detectron2's `Conv2d`, whose norm is a part of it. A frozen batch norm is one in evaluation mode."""

    def __init__(self, source: int, depth: int, kernel: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__(source, depth, kernel, stride, kernel // 2, bias=False)
        self.norm = norm(depth)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        return self.norm(super().forward(x))


class Detectron(nn.Module):
    """`BottleneckBlock` with the stride on the first 1x1, as the weights of He et al. have it."""

    def __init__(self, source: int, planes: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        depth = 4 * planes
        self.shortcut = NormedConv(source, depth, 1, stride, norm) if source != depth else nn.Sequential()
        self.conv1 = NormedConv(source, planes, 1, stride, norm)
        self.conv2 = NormedConv(planes, planes, 3, 1, norm)
        self.conv3 = NormedConv(planes, depth, 1, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        y = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        return functional.relu(self.conv3(y) + self.shortcut(x))


class Stem(nn.Module):
    """`BasicStem`: a 7x7 convolution, rectified, and a max pool padded by one."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = NormedConv(3, 64, 7, 2, norm)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        return functional.max_pool2d(functional.relu(self.conv1(x)), 3, 2, 1)


class DetectronNet(nn.Module):
    """The backbone, and where there are classes the mean of its last map and a dense layer."""

    def __init__(
        self,
        layers: Sequence[int],
        widths: Sequence[int],
        num_classes: int | None,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.stem = Stem(norm)
        source = 64
        for number, (count, planes) in enumerate(zip(layers, widths, strict=True), start=2):
            units = []
            for index in range(count):
                units.append(Detectron(source, planes, 2 if index == 0 and number > 2 else 1, norm))
                source = 4 * planes
            self.add_module(f"res{number}", nn.Sequential(*units))
        self.linear = nn.Linear(source, num_classes) if num_classes else None

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        x = self.stem(x)
        for number in (2, 3, 4, 5):
            x = getattr(self, f"res{number}")(x)
        return self.linear(x.mean((2, 3))) if self.linear else x


class SameConv(nn.Conv2d):
    """TensorFlow's SAME: as much padding as ceil(side / stride) windows need, the odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        return super().forward(same(x, self.kernel_size[0], self.stride[0], 0.0))


def same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """A map padded by TensorFlow's SAME."""
    missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in missing)
    return functional.pad(x, (left, right, top, bottom), value=value)


class Tensorpack(nn.Module):
    """`resnet_basicblock` and `resnet_bottleneck`, the stride on the 3x3; a projection where the depth changes."""

    def __init__(self, source: int, planes: int, stride: int, expansion: int) -> None:
        super().__init__()
        depth = planes * expansion
        kernels = (3, 3) if expansion == 1 else (1, 3, 1)
        widths = (source, *[planes] * (len(kernels) - 1), depth)
        self.count = len(kernels)
        for index, kernel in enumerate(kernels):
            strides = stride if kernel == 3 and 3 not in kernels[:index] else 1
            self.add_module(f"conv{index + 1}", normed_same(widths[index], widths[index + 1], kernel, strides))
        if source != depth:
            self.convshortcut = normed_same(source, depth, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"conv{number}")(y)
            y = functional.relu(y) if number < self.count else y
        return functional.relu(y + (self.convshortcut(x) if hasattr(self, "convshortcut") else x))


def normed_same(source: int, depth: int, kernel: int, stride: int) -> nn.Module:
    """A convolution with its batch norm."""
    parts = {"W": SameConv(source, depth, kernel, stride, bias=False), "bn": nn.BatchNorm2d(depth)}
    sequence = nn.Sequential()
    for name, part in parts.items():
        sequence.add_module(name, part)
    return sequence


class TensorpackNet(nn.Module):
    """`resnet_backbone`."""

    def __init__(self, expansion: int, layers: Sequence[int], widths: Sequence[int], num_classes: int = 1000) -> None:
        super().__init__()
        self.conv0 = normed_same(3, 64, 7, 2)
        source = 64
        for number, (count, planes) in enumerate(zip(layers, widths, strict=True)):
            units = nn.Sequential()
            for index in range(count):
                stride = 2 if index == 0 and number > 0 else 1
                units.add_module(f"block{index}", Tensorpack(source, planes, stride, expansion))
                source = planes * expansion
            self.add_module(f"group{number}", units)
        self.linear = nn.Linear(source, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of a map."""
        x = functional.max_pool2d(same(functional.relu(self.conv0(x)), 3, 2, -torch.inf), 3, 2)
        for number in range(4):
            x = getattr(self, f"group{number}")(x)
        return self.linear(x.mean((2, 3)))

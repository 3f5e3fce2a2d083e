"""One planning function per kind of residual unit.

Every kind becomes a `UnitPlan`: an optional pre-activation, a shortcut, a chain of layers, their sum, an optional
activation. Later stages (counting, lowering) know units, not kinds. A planning function does not know the parts that
its kind is combined with: `UnitSite` and `shortcut` put them in.
"""

from __future__ import annotations

from typing import assert_never

from resnet_compile.plan.geometry import FeatureMap
from resnet_compile.plan.layers import Activation, Conv, LeakyRelu, NormActivation, Relu
from resnet_compile.plan.shortcuts import Wiring, pooled_and_padded, refuse_stride, shortcut
from resnet_compile.plan.unit import ResidualLayer, Shortcut, ShortcutLayer, UnitPlan, UnitSite
from resnet_compile.spec import units


def plan_unit(site: UnitSite) -> UnitPlan:
    """The unit at a site.

    Raises:
        SpecError: The kind has no unit of these depths, stride or sides.
    """
    match site.kind:
        case units.BottleneckV1():
            return _bottleneck(site, Wiring(projects=not site.keeps_depth, norm=True))
        case units.BottleneckV2():
            return _biased_preactivation(site, projects=not site.keeps_depth)
        case units.CaffeBottleneck():
            return _caffe_bottleneck(site)
        case units.CifarBottleneck():
            return _cifar_bottleneck(site.kind, site)
        case units.CifarPlain():
            return _cifar_plain(site.kind, site)
        case units.KerasV2Bottleneck():
            return _biased_preactivation(site, projects=site.first or not site.keeps_depth)
        case units.PreactBasic():
            return _preact_basic(site)
        case units.TimmPreactBottleneck():
            return _timm_preact_bottleneck(site)
        case units.TorchvisionBasic():
            return _torchvision_basic(site)
        case units.TorchvisionBottleneck():
            return _bottleneck(site, Wiring(projects=not site.keeps_shape, norm=True))
        case _:
            assert_never(site.kind)


def _bottleneck(site: UnitSite, wiring: Wiring) -> UnitPlan:
    """`resnet_v1.bottleneck` of TF-slim and `Bottleneck` of torchvision, which differ in the units that project.

    TF-slim's project where the depth changes; a unit that keeps its depth subsamples its input.
    """
    conv, (first, second) = site.conv, site.bottleneck
    conv1 = conv("conv1", site.source, first, 1, norm=True, activation=site.relu)
    middle = _middle(site, conv1.output, second)
    conv3 = conv("conv3", middle[-1].output, site.args.depth, 1, norm=True)
    return site.plan((conv1, *middle, conv3), shortcut(site, wiring), activation=site.relu)


def _biased_preactivation(site: UnitSite, *, projects: bool) -> UnitPlan:
    """`resnet_v2.bottleneck` of TF-slim and `block2` of Keras.

    TF-slim projects where the depth changes, Keras in the first unit of a stack.
    """
    conv, (first, second) = site.conv, site.bottleneck
    preactivation = site.scope.norm_activation("preact", site.source, site.relu)
    conv1 = conv("conv1", site.source, first, 1, norm=True, activation=site.relu)
    middle = _middle(site, conv1.output, second)
    conv3 = conv("conv3", middle[-1].output, site.args.depth, 1, biases=True)
    wiring = Wiring(projects, biases=True, from_preactivation=True)
    return site.plan((conv1, *middle, conv3), shortcut(site, wiring), preactivation=preactivation)


def _middle(site: UnitSite, source: FeatureMap, depth: int) -> tuple[ResidualLayer, ...]:
    """The 3x3 convolution of a bottleneck that strides there."""
    groups = _groups(site)
    return site.striding("conv2", source, depth, 3, rate=site.rate, groups=groups, norm=True, activation=site.relu)


def _after_stride(site: UnitSite, source: FeatureMap, depth: int, activation: Activation) -> Conv:
    """The 3x3 convolution of a bottleneck that strides in its first convolution."""
    rate, groups = site.rate_after_stride, _groups(site)
    return site.conv("conv2", source, depth, 3, rate=rate, groups=groups, norm=True, activation=activation)


def _groups(site: UnitSite) -> int:
    assert isinstance(site.kind, units.BottleneckModel), "no other unit has groups"
    return site.kind.groups


def _caffe_bottleneck(site: UnitSite) -> UnitPlan:
    """The bottleneck of He et al.'s prototxts: branch2a, a 1x1 convolution, strides, and so does branch1."""
    conv, (first, second) = site.conv, site.bottleneck
    opening = site.striding("conv1", site.source, first, 1, norm=True, activation=site.relu)
    conv2 = _after_stride(site, opening[-1].output, second, site.relu)
    conv3 = conv("conv3", conv2.output, site.args.depth, 1, norm=True)
    wiring = Wiring(projects=not site.keeps_shape, norm=True)
    return site.plan((*opening, conv2, conv3), shortcut(site, wiring), activation=site.relu)


def _torchvision_basic(site: UnitSite) -> UnitPlan:
    """`BasicBlock` of torchvision; with rates as in timm, since torchvision's has none."""
    conv, depth = site.conv, site.args.depth
    opening = site.striding("conv1", site.source, site.width, 3, rate=site.rate, norm=True, activation=site.relu)
    conv2 = conv("conv2", opening[-1].output, depth, 3, rate=site.rate_after_stride, norm=True)
    wiring = Wiring(projects=not site.keeps_shape, norm=True)
    return site.plan((*opening, conv2), shortcut(site, wiring), activation=site.relu)


def _preact_basic(site: UnitSite) -> UnitPlan:
    """The pre-activation unit of two 3x3 convolutions, of PyTorch's CIFAR networks and TensorFlow's official ones."""
    conv, depth = site.conv, site.args.depth
    preactivation = site.scope.norm_activation("preact", site.source, site.relu)
    opening = site.striding("conv1", site.source, site.width, 3, rate=site.rate, norm=True, activation=site.relu)
    conv2 = conv("conv2", opening[-1].output, depth, 3, rate=site.rate_after_stride)
    wiring = Wiring(projects=not site.keeps_shape, from_preactivation=True)
    return site.plan((*opening, conv2), shortcut(site, wiring), preactivation=preactivation)


def _timm_preact_bottleneck(site: UnitSite) -> UnitPlan:
    """`PreActBottleneck` of timm: the first unit of a stage projects, whatever its depth.

    No other unit of timm's changes its shape; here such a unit projects too.
    """
    conv, (first, second) = site.conv, site.bottleneck
    preactivation = site.scope.norm_activation("preact", site.source, site.relu)
    conv1 = conv("conv1", site.source, first, 1, norm=True, activation=site.relu)
    middle = _middle(site, conv1.output, second)
    conv3 = conv("conv3", middle[-1].output, site.args.depth, 1)
    wiring = Wiring(projects=site.first or not site.keeps_shape, from_preactivation=True)
    return site.plan((conv1, *middle, conv3), shortcut(site, wiring), preactivation=preactivation)


def _cifar_plain(kind: units.CifarPlain, site: UnitSite) -> UnitPlan:
    """`_residual` of the CIFAR system: TensorFlow's SAME padding, which with a stride depends on the input's size."""
    source, depth, activation = site.source, site.args.depth, _leaky(kind.relu_leakiness)
    preactivation = site.scope.norm_activation("preact", source, activation)
    opening = site.striding("conv1", source, site.width, 3, rate=site.rate, norm=True, activation=activation, same=True)
    conv2 = site.conv("conv2", opening[-1].output, depth, 3, rate=site.rate_after_stride)
    own = pooled_and_padded(site) if kind.shortcut is None else ()
    return _cifar(kind, site, (*opening, conv2), preactivation, own)


def _cifar_bottleneck(kind: units.CifarBottleneck, site: UnitSite) -> UnitPlan:
    """`_bottleneck_residual` of the CIFAR system: the projection reads the shortcut's start, mostly the raw input."""
    conv, source, stride, (first, second) = site.conv, site.source, site.stride, site.bottleneck
    activation = _leaky(kind.relu_leakiness)
    preactivation = site.scope.norm_activation("preact", source, activation)
    if site.keeps_depth and kind.shortcut is None:
        refuse_stride(site)
    projects = kind.shortcut is None and not site.keeps_depth
    own = (conv("shortcut", source, site.args.depth, 1, stride=stride),) if projects else ()
    opening = site.striding("conv1", source, first, 1, norm=True, activation=activation)
    conv2 = _after_stride(site, opening[-1].output, second, activation)
    conv3 = conv("conv3", conv2.output, site.args.depth, 1)
    return _cifar(kind, site, (*opening, conv2, conv3), preactivation, own)


def _cifar(
    kind: units.CifarModel,
    site: UnitSite,
    residual: tuple[ResidualLayer, ...],
    preactivation: NormActivation,
    own: tuple[ShortcutLayer, ...],
) -> UnitPlan:
    """The unit with its own shortcut, or with the part that replaces it.

    Either starts from the activated input in a group's first unit with the original's `activate_before_residual`.
    """
    activated = site.first and kind.first_shortcut == "activated"
    layers = own if kind.shortcut is None else shortcut(site, Wiring(projects=not site.keeps_shape)).layers
    return site.plan(residual, Shortcut(layers, activated), preactivation=preactivation)


def _leaky(slope: float) -> Activation:
    return LeakyRelu(slope) if slope else Relu()

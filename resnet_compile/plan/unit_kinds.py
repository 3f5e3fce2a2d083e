"""One planning function per kind of residual unit.

Every kind comes out as the same shape of value, a `UnitPlan`, so whatever comes later (counting, lowering) knows units
and not kinds: an optional pre-activation, a shortcut, a chain of convolutions, their sum, an optional activation.
"""

from __future__ import annotations

from typing import assert_never

from resnet_compile.errors import SpecError
from resnet_compile.plan.geometry import same_padding
from resnet_compile.plan.layers import Activation, AveragePool, ChannelPad, LeakyRelu, Relu
from resnet_compile.plan.unit import Shortcut, UnitPlan, UnitSite
from resnet_compile.spec import units

# The shortcut of kinds whose unit keeps its shape.
_IDENTITY = Shortcut((), from_preactivation=False)


def plan_unit(kind: units.UnitKind, site: UnitSite) -> UnitPlan:
    """The unit of a kind that stands at a site.

    Raises:
        SpecError: The kind has no unit of these depths, stride or sides.
    """
    match kind:
        case units.BottleneckV1():
            return _bottleneck_v1(site)
        case units.BottleneckV2():
            return _biased_preactivation(site, projects=not site.keeps_depth)
        case units.CaffeBottleneck():
            return _caffe_bottleneck(site)
        case units.CifarBottleneck():
            return _cifar_bottleneck(kind, site)
        case units.CifarPlain():
            return _cifar_plain(kind, site)
        case units.KerasV2Bottleneck():
            return _biased_preactivation(site, projects=site.first or not site.keeps_depth)
        case units.TimmPreactBottleneck():
            return _timm_preact_bottleneck(site)
        case units.TorchvisionBasic():
            return _torchvision_basic(site)
        case units.TorchvisionBottleneck():
            return _torchvision_bottleneck(kind, site)
        case _:
            assert_never(kind)


def _bottleneck_v1(site: UnitSite) -> UnitPlan:
    """`resnet_v1.bottleneck` of TF-slim: only the depth decides between subsampling and projecting."""
    conv, source, stride = site.scope.conv, site.source, site.stride
    if site.keeps_depth:
        shortcut = Shortcut(site.scope.subsample("shortcut", source, stride), from_preactivation=False)
    else:
        shortcut = _normed_projection(site)
    conv1 = conv("conv1", source, site.width, 1, norm=True, activation=Relu())
    conv2 = conv("conv2", conv1.output, site.width, 3, stride=stride, rate=site.rate, norm=True, activation=Relu())
    conv3 = conv("conv3", conv2.output, site.args.depth, 1, norm=True)
    return site.plan((conv1, conv2, conv3), shortcut, activation=Relu())


def _biased_preactivation(site: UnitSite, *, projects: bool) -> UnitPlan:
    """`resnet_v2.bottleneck` of TF-slim and `block2` of Keras, which decide each in its way whether to project.

    In TF-slim it is the depth alone; a Keras stack projects in its first unit.
    """
    conv, source, stride = site.scope.conv, site.source, site.stride
    preactivation = site.scope.norm_activation("preact", source, Relu())
    if projects:
        projection = conv("shortcut", source, site.args.depth, 1, stride=stride, biases=True)
        shortcut = Shortcut((projection,), from_preactivation=True)
    else:
        shortcut = Shortcut(site.scope.subsample("shortcut", source, stride), from_preactivation=False)
    conv1 = conv("conv1", source, site.width, 1, norm=True, activation=Relu())
    conv2 = conv("conv2", conv1.output, site.width, 3, stride=stride, rate=site.rate, norm=True, activation=Relu())
    conv3 = conv("conv3", conv2.output, site.args.depth, 1, biases=True)
    return site.plan((conv1, conv2, conv3), shortcut, preactivation=preactivation)


def _caffe_bottleneck(site: UnitSite) -> UnitPlan:
    """The bottleneck of He et al.'s prototxts: branch2a, a 1x1, bears the stride as branch1 does."""
    conv = site.scope.conv
    shortcut = _IDENTITY if site.keeps_shape else _normed_projection(site)
    conv1 = conv("conv1", site.source, site.width, 1, stride=site.stride, norm=True, activation=Relu())
    conv2 = conv("conv2", conv1.output, site.width, 3, rate=site.rate_after_stride, norm=True, activation=Relu())
    conv3 = conv("conv3", conv2.output, site.args.depth, 1, norm=True)
    return site.plan((conv1, conv2, conv3), shortcut, activation=Relu())


def _torchvision_basic(site: UnitSite) -> UnitPlan:
    """`BasicBlock` of torchvision; its rates are timm's, as torchvision has none here."""
    conv, depth = site.scope.conv, site.args.depth
    shortcut = _IDENTITY if site.keeps_shape else _normed_projection(site)
    conv1 = conv("conv1", site.source, depth, 3, stride=site.stride, rate=site.rate, norm=True, activation=Relu())
    conv2 = conv("conv2", conv1.output, depth, 3, rate=site.rate_after_stride, norm=True)
    return site.plan((conv1, conv2), shortcut, activation=Relu())


def _torchvision_bottleneck(kind: units.TorchvisionBottleneck, site: UnitSite) -> UnitPlan:
    """`Bottleneck` of torchvision: width = int(planes * (base_width / 64)) * groups."""
    conv, groups = site.scope.conv, kind.groups
    width = site.width * kind.base_width // 64 * groups
    if width == 0:
        raise SpecError(f"a base_width of {kind.base_width} leaves the bottleneck no channels", where=site.where)
    shortcut = _IDENTITY if site.keeps_shape else _normed_projection(site)
    conv1 = conv("conv1", site.source, width, 1, norm=True, activation=Relu())
    conv2 = conv(
        "conv2", conv1.output, width, 3, stride=site.stride, rate=site.rate, groups=groups, norm=True, activation=Relu()
    )
    conv3 = conv("conv3", conv2.output, site.args.depth, 1, norm=True)
    return site.plan((conv1, conv2, conv3), shortcut, activation=Relu())


def _timm_preact_bottleneck(site: UnitSite) -> UnitPlan:
    """`PreActBottleneck` of timm: the first unit of a stage projects, whatever its depth.

    timm has no other unit that changes its shape; here such a unit projects too.
    """
    conv, source, stride = site.scope.conv, site.source, site.stride
    preactivation = site.scope.norm_activation("preact", source, Relu())
    if site.first or not site.keeps_shape:
        shortcut = Shortcut((conv("shortcut", source, site.args.depth, 1, stride=stride),), from_preactivation=True)
    else:
        shortcut = _IDENTITY
    conv1 = conv("conv1", source, site.width, 1, norm=True, activation=Relu())
    conv2 = conv("conv2", conv1.output, site.width, 3, stride=stride, rate=site.rate, norm=True, activation=Relu())
    conv3 = conv("conv3", conv2.output, site.args.depth, 1)
    return site.plan((conv1, conv2, conv3), shortcut, preactivation=preactivation)


def _cifar_plain(kind: units.CifarPlain, site: UnitSite) -> UnitPlan:
    """`_residual` of the CIFAR system: TensorFlow's SAME padding, which a stride makes follow the input's size."""
    scope, source, depth, activation = site.scope, site.source, site.args.depth, _leaky(kind.relu_leakiness)
    preactivation = scope.norm_activation("preact", source, activation)
    padding = same_padding(source, 3, site.stride, site.rate)
    conv1 = scope.conv(
        "conv1",
        source,
        depth,
        3,
        stride=site.stride,
        rate=site.rate,
        padding=padding,
        norm=True,
        activation=activation,
    )
    conv2 = scope.conv("conv2", conv1.output, depth, 3, rate=site.rate_after_stride)
    shortcut = Shortcut(_pooled_and_padded(site), _from_preactivation(kind, site))
    return site.plan((conv1, conv2), shortcut, preactivation=preactivation)


def _cifar_bottleneck(kind: units.CifarBottleneck, site: UnitSite) -> UnitPlan:
    """`_bottleneck_residual` of the CIFAR system: the projection reads what the shortcut starts from, mostly raw."""
    conv, source, stride, depth = site.scope.conv, site.source, site.stride, site.args.depth
    activation = _leaky(kind.relu_leakiness)
    preactivation = site.scope.norm_activation("preact", source, activation)
    if site.keeps_depth:
        _refuse_stride(site)
    projection = () if site.keeps_depth else (conv("shortcut", source, depth, 1, stride=stride),)
    conv1 = conv("conv1", source, site.width, 1, stride=stride, norm=True, activation=activation)
    conv2 = conv("conv2", conv1.output, site.width, 3, rate=site.rate_after_stride, norm=True, activation=activation)
    conv3 = conv("conv3", conv2.output, depth, 1)
    shortcut = Shortcut(projection, _from_preactivation(kind, site))
    return site.plan((conv1, conv2, conv3), shortcut, preactivation=preactivation)


def _normed_projection(site: UnitSite) -> Shortcut:
    """A 1x1 convolution of the raw input, batch-normalised: the projection of all kinds without pre-activation."""
    projection = site.scope.conv("shortcut", site.source, site.args.depth, 1, stride=site.stride, norm=True)
    return Shortcut((projection,), from_preactivation=False)


def _from_preactivation(kind: units.CifarPlain | units.CifarBottleneck, site: UnitSite) -> bool:
    """`activate_before_residual` of the CIFAR system, which only a group's first unit can have."""
    return site.first and kind.first_shortcut == "activated"


def _leaky(slope: float) -> Activation:
    return LeakyRelu(slope) if slope else Relu()


def _pooled_and_padded(site: UnitSite) -> tuple[AveragePool | ChannelPad, ...]:
    """The CIFAR system's parameterless shortcut: the mean of each stride x stride window, then channels of zeros.

    Its pool drops what fills no window where the strided convolution keeps it, and its two pads are of one size; where
    that does not come out, the original fails too.
    """
    if site.keeps_depth:
        _refuse_stride(site)
        return ()
    source, stride, missing = site.source, site.stride, site.args.depth - site.source.channels
    if missing < 0 or missing % 2:
        raise SpecError(
            f"{source.channels} channels cannot be padded to {site.args.depth} equally on both sides",
            where=f"{site.where}.depth",
        )
    if source.height % stride or source.width % stride:
        raise SpecError(
            f"a map of {source.height}x{source.width} has no average pool of stride {stride} "
            f"in {site.scope.name}, whose strided convolution rounds up where the pool rounds down",
            where="$.input",
        )
    pool = (site.scope.average_pool("shortcut/pool", source, stride),) if stride > 1 else ()
    padded = pool[0].output if pool else source
    return *pool, site.scope.channel_pad("shortcut", padded, missing // 2, missing // 2)


def _refuse_stride(site: UnitSite) -> None:
    """A unit that keeps its depth adds its input as it is, so it cannot stride."""
    if site.stride > 1:
        raise SpecError(
            "a unit of this kind that keeps its depth cannot stride: its shortcut is its input",
            where=f"{site.where}.stride",
        )

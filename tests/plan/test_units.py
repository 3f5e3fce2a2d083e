"""Units of each kind: where strides, rates and projections stand, and what a kind refuses."""

from typing import Any

import numpy as np
import pytest
from support.models import run
from support.slim import SlimCase, slim_cases
from support.specs import parsed, tiny_document
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, NetworkSpec, compile, load_spec, plan_network
from resnet_compile.errors import SpecError
from resnet_compile.plan import UnitPlan
from resnet_compile.plan.layers import AveragePool, Blur, ChannelGate, ChannelPad, Conv
from resnet_compile.spec import Block, CaffeBottleneck, UnitArgs, caffe_block


def units(kind: str, *args: dict[str, Any], **changes: Any) -> tuple[UnitPlan, ...]:
    """A block of units on a map of 8 channels, 16x16."""
    document = tiny_document() | {"input": {"height": 16, "width": 16, "channels": 8}, "root": None} | changes
    unit = {"kind": kind} | document.pop("unit", {})
    document["blocks"] = [{"scope": "block1", "unit": unit, "args": list(args)}]
    return plan_network(parsed(document)).blocks[0].units


def projects(unit: UnitPlan) -> bool:
    return any(isinstance(layer, Conv) for layer in unit.shortcut.layers)


def strides(unit: UnitPlan) -> list[int]:
    return [layer.stride for layer in unit.residual if not isinstance(layer, ChannelGate)]


def rates(unit: UnitPlan) -> list[int]:
    return [conv.rate for conv in unit.residual if isinstance(conv, Conv)]


PLAIN = {"depth": 12, "stride": 2}
INNER = PLAIN | {"depth_bottleneck": 4}


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        ("bottleneck_v1", INNER, [1, 2, 1]),
        ("bottleneck_v2", INNER, [1, 2, 1]),
        ("keras_v2_bottleneck", INNER, [1, 2, 1]),
        ("torchvision_bottleneck", INNER, [1, 2, 1]),
        ("timm_preact_bottleneck", INNER, [1, 2, 1]),
        ("caffe_bottleneck", INNER, [2, 1, 1]),
        ("cifar_bottleneck", INNER, [2, 1, 1]),
        ("torchvision_basic", PLAIN, [2, 1]),
        ("preact_basic", PLAIN, [2, 1]),
        ("cifar_plain", PLAIN, [2, 1]),
    ],
)
def test_where_the_stride_stands(kind: str, args: dict[str, int], expected: list[int]) -> None:
    (unit,) = units(kind, args)
    assert strides(unit) == expected
    assert unit.output.size == (8, 8)
    for layer in unit.shortcut.layers:
        if isinstance(layer, Conv):
            assert layer.stride == 2


@pytest.mark.parametrize(
    ("kind", "args", "first", "second"),
    [
        ("bottleneck_v2", INNER, [1, 2, 1], [1, 4, 1]),
        ("caffe_bottleneck", INNER, [1, 4, 1], [1, 4, 1]),
        ("cifar_bottleneck", INNER, [1, 4, 1], [1, 4, 1]),
        ("torchvision_basic", PLAIN, [2, 4], [4, 4]),
        ("cifar_plain", PLAIN, [2, 4], [4, 4]),
    ],
)
def test_what_lies_behind_a_stride_that_was_taken_away_is_that_much_wider(
    kind: str, args: dict[str, int], first: list[int], second: list[int]
) -> None:
    opening, strided, following = units(
        kind, args, args | {"depth": 16}, args | {"depth": 16, "stride": 1}, output_stride=1
    )
    assert strides(strided) == [1] * len(first)
    # The opening unit gave up a stride of 2 before.
    assert rates(strided) == first
    assert rates(following) == second
    assert opening.rate == 1


@pytest.mark.parametrize(
    "kind",
    [
        "bottleneck_v1",
        "bottleneck_v2",
        "caffe_bottleneck",
        "cifar_bottleneck",
        "keras_v2_bottleneck",
        "timm_preact_bottleneck",
        "torchvision_basic",
        "torchvision_bottleneck",
    ],
)
def test_an_atrous_network_computes_the_strided_one_densely(kind: str) -> None:
    """TF-slim's own test of its rates: every 6th pixel of the dense map is the strided map."""
    inner = {} if kind == "torchvision_basic" else {"depth_bottleneck": 4}
    args = [{"depth": 8, **inner}, {"depth": 12, **inner, "stride": 2}, {"depth": 16, **inner, "stride": 3}]
    document = tiny_document() | {"input": {"height": 23, "width": 18, "channels": 8}, "root": None}
    document["blocks"] = [
        {"scope": "block1", "unit": {"kind": kind}, "args": args},
        {"scope": "block2", "unit": {"kind": kind}, "args": [{"depth": 16, **inner, "repeat": 2}]},
    ]
    x = np.random.default_rng(0).standard_normal((1, 8, 23, 18), np.float32)
    maps = [
        run(compile(parsed(document | {"output_stride": stride}), CompileOptions(outputs=("block2",))).to_proto(), x)
        for stride in (6, 1)
    ]
    strided, dense = (outputs["tiny/block2"] for outputs in maps)
    assert dense.shape[2:] == (23, 18)
    assert relative_error(dense[:, :, ::6, ::6], strided) <= NETWORK


def test_a_rate_behind_a_stride_has_the_limit_of_all_rates() -> None:
    args = [{"depth": depth, "stride": 9} for depth in (12, 16)]
    with pytest.raises(SpecError, match=r"atrous rate of 81, above 64 @ \$\.output_stride"):
        units("torchvision_basic", *args, output_stride=1)


@pytest.mark.parametrize(
    ("kind", "first", "same", "strided", "deeper"),
    [
        ("bottleneck_v1", False, False, False, True),
        ("bottleneck_v2", False, False, False, True),
        ("keras_v2_bottleneck", True, False, False, True),
        ("caffe_bottleneck", False, False, True, True),
        ("torchvision_bottleneck", False, False, True, True),
        ("timm_preact_bottleneck", True, False, True, True),
    ],
)
def test_what_makes_a_unit_project(kind: str, first: bool, same: bool, strided: bool, deeper: bool) -> None:
    args = {"depth": 8, "depth_bottleneck": 4}
    planned = units(kind, args, args, args | {"stride": 2}, args | {"depth": 12})
    assert [projects(unit) for unit in planned] == [first, same, strided, deeper]


@pytest.mark.parametrize("kind", ["cifar_plain", "cifar_bottleneck"])
def test_only_the_first_unit_of_a_block_shares_its_activation(kind: str) -> None:
    inner = {} if kind == "cifar_plain" else {"depth_bottleneck": 4}
    args = [{"depth": 12, **inner, "repeat": 2}, {"depth": 16, **inner}]
    shared = units(kind, *args, unit={"first_shortcut": "activated"})
    assert [unit.shortcut.from_preactivation for unit in shared] == [True, False, False]
    raw = units(kind, *args)
    assert [unit.shortcut.from_preactivation for unit in raw] == [False, False, False]


def test_a_wide_group_pads_its_activated_input() -> None:
    """Unit 1_0 of WRN-28-10: 16 to 160 channels at stride 1, 72 on either side."""
    unit = next(plan_network(load_spec("wrn_28_10")).units)
    (pad,) = unit.shortcut.layers
    assert isinstance(pad, ChannelPad)
    assert (pad.before, pad.after, unit.shortcut.from_preactivation) == (72, 72, True)
    pool, pad = plan_network(load_spec("wrn_28_10")).blocks[1].units[0].shortcut.layers
    assert isinstance(pool, AveragePool)
    assert isinstance(pad, ChannelPad)
    assert (pool.stride, pad.before, pad.after) == (2, 80, 80)


@pytest.mark.parametrize(
    ("kind", "args", "where", "words"),
    [
        ("cifar_plain", {"depth": 8, "stride": 2}, "$.blocks[0].args[0].stride", "cannot stride"),
        ("cifar_plain", {"depth": 6}, "$.blocks[0].args[0].depth", "8 channels cannot be padded to 6"),
        ("cifar_plain", {"depth": 11}, "$.blocks[0].args[0].depth", "8 channels cannot be padded to 11"),
        ("cifar_plain", {"depth": 12, "stride": 3}, "$.input", "16x16 map are not multiples of the stride 3"),
        (
            "cifar_bottleneck",
            {"depth": 8, "depth_bottleneck": 2, "stride": 2},
            "$.blocks[0].args[0].stride",
            "cannot stride",
        ),
    ],
)
def test_units_that_the_original_cannot_build_are_refused(
    kind: str, args: dict[str, int], where: str, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        units(kind, args)
    assert caught.value.where == where
    assert words in caught.value.message


def test_a_bottleneck_without_channels_is_refused() -> None:
    args = {"depth": 8, "depth_bottleneck": 1}
    with pytest.raises(SpecError, match=r"leaves the bottleneck no channels @ \$\.blocks\[0\]\.args\[0\]"):
        units("torchvision_bottleneck", args, unit={"base_width": 32})


def test_groups_and_base_width_are_torchvisions() -> None:
    """Width = int(planes * (base_width / 64)) * groups: 8 * 24 / 64 is 3, in 4 groups."""
    (unit,) = units("torchvision_bottleneck", {"depth": 8, "depth_bottleneck": 8}, unit={"groups": 4, "base_width": 24})
    assert [conv.weights.shape for conv in unit.residual] == [(12, 8, 1, 1), (12, 3, 3, 3), (8, 12, 1, 1)]
    assert unit.residual[1].macs == 12 * 3 * 9 * 16 * 16


def gate(source: int, attention: dict[str, Any]) -> ChannelGate:
    (unit,) = units("torchvision_basic", {"depth": source}, unit={"attention": attention})
    (found,) = [layer for layer in unit.residual if isinstance(layer, ChannelGate)]
    return found


@pytest.mark.parametrize(
    ("channels", "part", "between"),
    [
        (64, {}, 8),
        (200, {}, 16),
        (256, {}, 16),
        (328, {}, 24),
        (64, {"rounding": 1}, 4),
        (12, {"reduction": 4, "rounding": 1}, 3),
        (2, {"rounding": 1}, 1),
    ],
)
def test_the_channels_between_are_the_nearest_multiple(channels: int, part: dict[str, int], between: int) -> None:
    """By timm's rule: int(channels / reduction + rounding / 2) // rounding * rounding, and one multiple at least."""
    first, second = gate(channels, {"kind": "squeeze_excitation"} | part).layers
    assert (first.output.channels, second.output.channels) == (between, channels)
    biased = gate(channels, {"kind": "squeeze_excitation"} | part)
    bare = gate(channels, {"kind": "squeeze_excitation", "biases": False} | part)
    assert biased.macs == bare.macs == 2 * channels * between
    assert len(biased.parameters) == 2 * len(bare.parameters) == 4


@pytest.mark.parametrize(("channels", "taps"), [(8, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)])
def test_taps_along_the_channels_follow_the_papers_rule(channels: int, taps: int) -> None:
    """t = |(log2 C + 1) / 2|, the odd number nearest to it in timm's manner: 3.5 gives 3, 4 gives 5."""
    (layer,) = gate(channels, {"kind": "efficient_channel"}).layers
    assert layer.weights.shape == (1, 1, 1, taps)
    assert layer.macs == channels * taps


@pytest.mark.parametrize(
    ("part", "projections"),
    [
        ({"kind": "projection", "at": "first"}, [True, False, True, True]),
        ({"kind": "projection", "at": "shape"}, [False, False, True, True]),
        ({"kind": "pooled_projection", "at": "first"}, [True, False, True, True]),
        ({"kind": "padded_subsample"}, [False] * 4),
    ],
)
@pytest.mark.parametrize("kind", ["bottleneck_v1", "torchvision_bottleneck", "bottleneck_v2", "cifar_bottleneck"])
def test_where_a_shortcut_part_projects(kind: str, part: dict[str, str], projections: list[bool]) -> None:
    """A block's first unit, one like it, one that strides, one that is deeper."""
    args = {"depth": 8, "depth_bottleneck": 4}
    block = units(kind, args, args, args | {"stride": 2}, args | {"depth": 16}, unit={"shortcut": part})
    assert [projects(unit) for unit in block] == projections


def test_a_pooled_projection_keeps_what_fills_no_window() -> None:
    document = {"height": 7, "width": 5, "channels": 8}
    (unit,) = units("torchvision_basic", PLAIN, unit={"shortcut": {"kind": "pooled_projection"}}, input=document)
    pool, projection = unit.shortcut.layers
    assert (pool.output.size, projection.output.size, unit.output.size) == ((4, 3),) * 3
    assert isinstance(projection, Conv)
    assert (projection.stride, projection.scope.rpartition("/")[2]) == (1, "projection")


@pytest.mark.parametrize(
    ("kind", "args", "bearer"),
    [("torchvision_bottleneck", INNER, 1), ("caffe_bottleneck", INNER, 0), ("torchvision_basic", PLAIN, 0)],
)
def test_a_blur_takes_the_stride_over_from_the_convolution_that_bears_it(
    kind: str, args: dict[str, Any], bearer: int
) -> None:
    strided, even = units(kind, args, args | {"stride": 1}, unit={"anti_aliasing": {"kind": "blur"}})
    assert not any(isinstance(layer, Blur) for layer in even.residual)
    assert [isinstance(layer, Blur) for layer in strided.residual].index(True) == bearer + 1
    assert strides(strided) == [2 if place == bearer + 1 else 1 for place in range(len(strided.residual))]


@pytest.mark.parametrize("pool", [{"kind": "max", "padding": "ceil"}, {"kind": "average"}])
def test_a_map_too_small_for_the_roots_pool_is_refused(pool: dict[str, str]) -> None:
    root = {"kind": "stem", "stem": {"kind": "3x3"}, "depth": 8, "pool": pool}
    with pytest.raises(SpecError, match=r"a map of 1x5 is too small for the root's pool @ \$\.input"):
        units("torchvision_basic", PLAIN, input={"height": 1, "width": 5, "channels": 3}, root=root)


def test_a_map_too_small_to_be_mirrored_is_refused() -> None:
    image = {"height": 2, "width": 2, "channels": 8}
    with pytest.raises(SpecError, match=r"a map of 2x2 is too small to blur at net/.*conv1/blur @ \$\.input"):
        units(
            "torchvision_basic", PLAIN, unit={"anti_aliasing": {"kind": "blur", "kernel": 5}}, input=image, name="net"
        )


def test_biases_stand_before_a_norm_too() -> None:
    (unit,) = units("torchvision_bottleneck", INNER, unit={"biases": True})
    convolutions = [layer for layer in (*unit.residual, *unit.shortcut.layers) if isinstance(layer, Conv)]
    assert len(convolutions) == 4
    assert all(conv.biases and conv.norm for conv in convolutions)


def test_widths_are_those_of_each_inner_convolution() -> None:
    (unit,) = units("torchvision_bottleneck", PLAIN | {"widths": [3, 5]})
    assert [conv.output.channels for conv in unit.residual] == [3, 5, 12]
    (basic,) = units("torchvision_basic", PLAIN | {"widths": [3]})
    assert [conv.output.channels for conv in basic.residual] == [3, 12]


@pytest.mark.parametrize(
    ("kind", "args", "unit", "message"),
    [
        ("torchvision_basic", PLAIN | {"widths": [3, 5]}, {}, r"widths must have 1 entries .*, got 2 @ .*\.widths"),
        ("torchvision_bottleneck", INNER | {"widths": [3, 5]}, {}, r"has no meaning .* beside widths @ .*bottleneck"),
        ("bottleneck_v1", PLAIN | {"widths": [3, 5]}, {"groups": 2}, r"2 groups do not divide widths of 3 and 5 @"),
        (
            "torchvision_basic",
            PLAIN,
            {"attention": {"kind": "efficient_channel", "kernel": 4}},
            r"must be odd, got 4 @",
        ),
        ("torchvision_basic", PLAIN, {"groups": 2}, r"unknown .*@ \$\.blocks\[0\]\.unit\.groups"),
        (
            "torchvision_basic",
            {"depth": 11},
            {"shortcut": {"kind": "padded_subsample"}},
            r"8 channels cannot be padded",
        ),
    ],
)
def test_parts_that_make_no_sense_are_refused_with_their_path(
    kind: str, args: dict[str, Any], unit: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        units(kind, args, unit=unit)


def test_an_activation_has_no_place_in_units_with_their_own() -> None:
    with pytest.raises(SpecError, match=r"^activation cannot be set with units .* \(relu_leakiness\) @ \$\.activation"):
        units("cifar_plain", PLAIN, activation={"kind": "relu6"})


def test_the_source_articles_counts_of_one_unit() -> None:
    """At 256 channels: a plain pair of 3x3 convolutions, 1,179,648 weights, against the bottleneck's three, 69,632."""
    plain = plan_network(load_spec("torchvision_resnet34")).blocks[2].units[1]
    bottleneck = plan_network(load_spec("torchvision_resnet50")).blocks[0].units[1]
    assert sum(layer.weights.size for layer in plain.residual) == 1_179_648
    assert sum(layer.weights.size for layer in bottleneck.residual) == 69_632


def test_the_original_caffe_network_costs_what_the_paper_says() -> None:
    """ResNet-50 with the stride on the first 1x1: 3.858e9 multiply-accumulates ("3.8 x 10^9")."""
    spec = load_spec("resnet_v1_50")
    stages = zip((64, 128, 256, 512), (3, 4, 6, 3), (1, 2, 2, 2), strict=True)
    blocks = tuple(caffe_block(f"block{i}", *stage) for i, stage in enumerate(stages, start=1))
    planned = plan_network(spec.replace(blocks=blocks))
    assert round(planned.macs / 1e6) == 3858
    assert planned.num_parameters == 25_557_032


def moved_to_the_next_first_unit(spec: NetworkSpec) -> NetworkSpec:
    """TF-slim's blocks as Caffe's: the stride of a block's last unit becomes that of the next block's first."""
    blocks, stride = [], 1
    for block in spec.blocks:
        args = [UnitArgs(depth=a.depth, depth_bottleneck=a.depth_bottleneck) for a in block.args]
        args[0] = args[0].replace(stride=stride)
        stride = block.args[-1].stride
        blocks.append(Block(scope=block.scope, unit=CaffeBottleneck(), args=tuple(args)))
    return spec.replace(blocks=tuple(blocks))


def identity_projections(spec: NetworkSpec) -> dict[str, np.ndarray]:
    """What a projection of equal depth starts from, to be the subsampling that TF-slim has in its place."""
    epsilon = spec.norm.epsilon
    values = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0 - epsilon}
    weights = {}
    for unit in plan_network(spec).units:
        for layer in unit.shortcut.layers:
            if isinstance(layer, Conv) and layer.source.channels == layer.output.channels:
                assert layer.norm
                weights[layer.weights.name] = np.eye(layer.output.channels, dtype=np.float32)[:, :, None, None]
                for parameter in layer.norm.parameters:
                    weights[parameter.name] = np.full(parameter.shape, values[parameter.role], np.float32)
    return weights


def standard(case: SlimCase) -> bool:
    """Whether only the last units of blocks stride, and no stride was taken away."""
    blocks = [[stride for _, _, stride in block["args"]] for block in case.description["blocks"]]
    return (
        case.description["output_stride"] is None
        and case.description["num_classes"] is not None
        and blocks[-1][-1] == 1
        and all(stride == 1 for strides in blocks for stride in strides[:-1])
    )


CASES = [case for case in slim_cases("v1") if standard(case)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_caffes_strides_and_slims_compute_the_same(case: SlimCase) -> None:
    """With the stride on the next unit's 1x1 convolutions, which see every second pixel as a subsampling would."""
    spec = moved_to_the_next_first_unit(case.spec)
    weights = identity_projections(spec)
    weights |= {name.replace("bottleneck_v1", "caffe_bottleneck"): value for name, value in case.weights.items()}
    logits = f"{spec.name}/logits"
    model = compile(spec, CompileOptions(outputs=(logits,), layout="nhwc"), weights=weights)
    assert relative_error(run(model.to_proto(), case.x)[logits], case.end_points[logits]) <= NETWORK


def test_there_are_cases_for_caffes_strides() -> None:
    assert {np.sign(case.description["height"] - case.description["width"]) for case in CASES} >= {0, 1}

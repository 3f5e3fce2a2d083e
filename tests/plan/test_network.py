"""Plans against the tables measured on the original (TF-slim 1.1.0)."""

import json
from pathlib import Path

import pytest
from support.specs import parsed, tiny_document

from resnet_compile import NetworkSpec, load_spec, plan_network
from resnet_compile.errors import SpecError

# trainable at 1000 classes, moving statistics, variables, convolutions, MACs at 224 and at 299
COUNTS = {
    "resnet50": (25_568_360, 45_440, 272, 54, 3_482_255_360, 6_536_211_200),
    "resnet101": (44_577_896, 97_664, 544, 105, 7_194_476_544, 13_373_516_544),
    "resnet152": (60_236_904, 143_744, 816, 156, 10_906_697_728, 20_210_821_888),
    "resnet200": (64_726_120, 168_320, 1072, 204, 14_400_552_960, 26_645_932_800),
}
END_POINTS = {"resnet50": 75, "resnet101": 143, "resnet152": 211, "resnet200": 275}

# The sides of v2-50's end points: conv1, then for each of block1..3 the unit conv1 (and everything before the last
# unit's stride) and the block, then block4; by input side and output stride.
SIDES = {
    (224, None): (112, 56, 28, 28, 14, 14, 7, 7),
    (224, 16): (112, 56, 28, 28, 14, 14, 14, 14),
    (224, 8): (112, 56, 28, 28, 28, 28, 28, 28),
    (513, None): (257, 129, 65, 65, 33, 33, 17, 17),
    (513, 32): (257, 129, 65, 65, 33, 33, 17, 17),
    (513, 16): (257, 129, 65, 65, 33, 33, 33, 33),
    (513, 8): (257, 129, 65, 65, 65, 65, 65, 65),
    (513, 4): (257, 129, 129, 129, 129, 129, 129, 129),
    (299, None): (150, 75, 38, 38, 19, 19, 10, 10),
}


def resized(spec: NetworkSpec, side: int, **changes: object) -> NetworkSpec:
    size = spec.input.replace(height=side, width=side)
    return spec.replace(input=size, **changes)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_originals(name: str) -> None:
    spec = load_spec(name)
    planned = plan_network(spec)
    trainable, moving, variables, convolutions, macs, macs_299 = COUNTS[name]
    assert planned.num_parameters == trainable
    assert planned.num_moving_statistics == moving
    assert len(planned.parameters) == variables
    assert sum(parameter.role == "weights" for parameter in planned.parameters) == convolutions
    assert planned.macs == macs
    assert plan_network(resized(spec, 299)).macs == macs_299
    assert len(planned.end_points) == END_POINTS[name]


@pytest.mark.parametrize(
    ("output_stride", "macs"), [(None, 19_316_149_440), (16, 31_985_896_640), (8, 101_843_733_696)]
)
def test_macs_of_segmentation_networks_are_the_originals(output_stride: int | None, macs: int) -> None:
    head = load_spec("resnet101_segmentation").head
    assert plan_network(resized(load_spec("resnet50"), 513, output_stride=output_stride, head=head)).macs == macs


@pytest.mark.parametrize(("side", "output_stride"), SIDES)
@pytest.mark.parametrize("name", COUNTS)
def test_shapes_of_end_points_are_the_originals(name: str, side: int, output_stride: int | None) -> None:
    planned = plan_network(resized(load_spec(name), side, output_stride=output_stride))
    conv1, *rest = SIDES[side, output_stride]
    sides = dict(enumerate(zip(rest[0:6:2], rest[1:6:2], strict=True), start=1))
    sides[4] = (rest[-1], rest[-1])
    expected = {f"{planned.name}/conv1": (64, conv1, conv1)}
    for number, block in enumerate(planned.blocks, start=1):
        before, after = sides[number]
        width = 64 << (number - 1)
        for index, unit in enumerate(block.units):
            side_out = after if index == len(block.units) - 1 else before
            if index == 0:
                expected[f"{unit.scope}/shortcut"] = (4 * width, before, before)
            expected[f"{unit.scope}/conv1"] = (width, before, before)
            expected[f"{unit.scope}/conv2"] = (width, side_out, side_out)
            expected[f"{unit.scope}/conv3"] = (4 * width, side_out, side_out)
            expected[unit.scope] = (4 * width, side_out, side_out)
        expected[block.scope] = (4 * width, after, after)
    expected[f"{planned.name}/logits"] = expected["predictions"] = (1000,)
    assert [(point.name, point.shape) for point in planned.end_points] == list(expected.items())


def strides_and_rates(output_stride: int | None) -> list[tuple[int, int]]:
    spec = load_spec("resnet50").replace(output_stride=output_stride)
    return [(unit.stride, unit.rate) for unit in plan_network(spec).units]


def test_atrous_rates_are_the_originals() -> None:
    one, two, four, eight = (1, 1), (1, 2), (1, 4), (1, 8)
    down = (2, 1)
    assert strides_and_rates(None) == strides_and_rates(32)
    assert strides_and_rates(32) == [one, one, down, one, one, one, down, *[one] * 5, down, *[one] * 3]
    assert strides_and_rates(16) == [one, one, down, one, one, one, down, *[one] * 6, *[two] * 3]
    assert strides_and_rates(8) == [one, one, down, *[one] * 4, *[two] * 6, *[four] * 3]
    assert strides_and_rates(4) == [*[one] * 3, *[two] * 4, *[four] * 6, *[eight] * 3]


@pytest.mark.parametrize("output_stride", [2, 6])
def test_an_output_stride_must_be_a_multiple_of_the_root_blocks(output_stride: int) -> None:
    message = rf"multiple of the root block's 4, got {output_stride} @ resnet50: \$\.output_stride"
    with pytest.raises(SpecError, match=message):
        strides_and_rates(output_stride)


@pytest.mark.parametrize("output_stride", [12, 20, 24, 64, 128])
def test_an_output_stride_that_cannot_be_reached_is_refused(output_stride: int) -> None:
    with pytest.raises(SpecError, match=r"cannot be reached @ resnet50: \$\.output_stride"):
        strides_and_rates(output_stride)


@pytest.mark.parametrize(("output_stride", "reached"), [(1, True), (2, True), (4, False), (3, False), (None, True)])
def test_without_a_root_block_the_output_stride_is_the_blocks_own(output_stride: int | None, reached: bool) -> None:
    spec = parsed(tiny_document() | {"root": None, "output_stride": output_stride})
    if reached:
        assert plan_network(spec).root == ()
    else:
        with pytest.raises(SpecError, match="cannot be reached"):
            plan_network(spec)


def test_an_atrous_rate_past_the_limit_is_refused() -> None:
    document = tiny_document() | {"output_stride": 4}
    document["blocks"][0]["args"] = [{"depth": 16, "depth_bottleneck": 4, "stride": 9, "repeat": 2}]
    with pytest.raises(SpecError, match=r"atrous rate of 81, above 64 @ \$\.output_stride"):
        plan_network(parsed(document))


def test_only_a_map_of_one_pixel_can_be_squeezed() -> None:
    document = tiny_document()
    document["head"] = {"num_classes": 10, "global_pool": False, "spatial_squeeze": True}
    with pytest.raises(SpecError, match=r"the map must be 1x1 to be squeezed, got 4x4 @ \$\.head\.spatial_squeeze"):
        plan_network(parsed(document))
    document["input"] = {"height": 8, "width": 8}
    assert plan_network(parsed(document)).end_points[-1].shape == (10,)


def test_more_parameters_than_the_limit_are_refused_before_any_is_made() -> None:
    document = tiny_document()
    document["blocks"][0]["args"] = [{"depth": 65_536, "depth_bottleneck": 65_536, "repeat": 4096}]
    with pytest.raises(SpecError, match=r"the network must have at most 20000000000 parameters, got \d+ @ \$\.blocks"):
        plan_network(parsed(document))


def test_a_fault_that_only_the_plan_finds_names_the_file_or_the_catalogues_name(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(tiny_document() | {"output_stride": 6}))
    for changed in (load_spec(path), load_spec(path).replace(weight_decay=0.0)):
        with pytest.raises(SpecError) as caught:
            plan_network(changed)
        assert caught.value.where == f"{path}: $.output_stride"
    with pytest.raises(SpecError, match=r"@ resnet50: \$\.output_stride$"):
        plan_network(load_spec("resnet50").replace(output_stride=6))
    with pytest.raises(SpecError, match=r"@ \$\.output_stride$"):
        plan_network(parsed(tiny_document() | {"output_stride": 6}))

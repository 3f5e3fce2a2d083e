"""Networks read off names and shapes: every family in every naming, of other sizes, in a section, without a head."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_compile import Block, NetworkSpec, catalogue, load_spec, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan
from resnet_compile.recognise import recognise
from resnet_compile.spec import (
    ConvolutionRootPool,
    StemRoot,
    keras_v2_block,
    resnet_v1_block,
    resnet_v2_block,
    timm_preact_block,
    torchvision_basic_block,
    torchvision_bottleneck_block,
)
from resnet_compile.weights.naming import Naming
from resnet_compile.weights.tables import NAMINGS, naming_of

# What names cannot tell of a network that pools no map and strides no further than this.
UNTOLD = {"resnet101_segmentation", "detectron2_resnet50", "detectron2_resnet101"}


def arrays(planned: Plan, naming: Naming, prefix: str) -> dict[str, np.ndarray] | None:
    """What a checkpoint of the network holds by a table's names, of zeros that take no memory; None without names."""
    names = naming.names(planned, ())
    if len(names) < len(planned.parameters):
        return None
    zero = np.float32(0)
    return {prefix + names[p.name]: np.broadcast_to(zero, naming.source_shape(p)) for p in planned.parameters}


def function(spec: NetworkSpec, like: NetworkSpec) -> Any:
    """What a network computes, whatever it is called."""
    planned = plan_network(spec.replace(name="net", origin=None, input=like.input))
    return planned.root, planned.blocks, planned.head


@pytest.mark.parametrize("name", [name for name in catalogue() if name not in UNTOLD])
def test_every_network_comes_back_from_every_table_that_names_it(name: str) -> None:
    spec = load_spec(name)
    planned, tables = plan_network(spec), 0
    for naming in sorted(NAMINGS, key=lambda table: table.name == "tf-slim"):
        own = naming is naming_of("tf-slim")
        if own and tables:  # under its own system's names
            break
        if not own and (naming.numbering or not naming.family or not re.match(naming.family, name)):
            continue
        source = arrays(planned, naming, f"{planned.name}/" if own else "")
        if source is None:
            continue
        found = recognise(source)
        assert function(found.spec, spec) == function(spec, spec), naming.name
        assert found.spec.norm == spec.norm
        tables += 1
    assert tables


BUILDERS: dict[str, tuple[str, str, Callable[..., Block], bool]] = {
    "slim v1": ("resnet_v1_50", "tf-slim", resnet_v1_block, True),
    "slim v2": ("resnet50", "tf-slim", resnet_v2_block, True),
    "keras v2": ("keras_resnet50v2", "keras-resnetv2", keras_v2_block, True),
    "timm": ("timm_resnetv2_50", "timm-resnetv2", timm_preact_block, False),
    "torchvision": ("torchvision_resnet50", "torchvision", torchvision_bottleneck_block, False),
    "torchvision basic": ("torchvision_resnet18", "transformers", torchvision_basic_block, False),
}


@pytest.mark.parametrize("family", BUILDERS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_width_and_depth_comes_back(family: str, data: st.DataObject) -> None:
    """In a section or at the root, with any number of classes and without a head."""
    name, table, build, last = BUILDERS[family]
    known, naming = load_spec(name), naming_of(table)
    count = data.draw(st.integers(2, 5))
    even = count if last else 1
    width = data.draw(st.sampled_from([8, 12, 20]))
    blocks = tuple(
        build(f"block{number}", width * number, data.draw(st.integers(2, 4)), 1 if number == even else 2)
        for number in range(1, count + 1)
    )
    classes = data.draw(st.sampled_from([None, 2, 21]))
    head = known.head.replace(num_classes=classes)
    root = known.root and known.root.replace(depth=data.draw(st.sampled_from([8, 16])))
    spec = known.replace(name="mine", root=root, blocks=blocks, head=head)
    prefix = data.draw(st.sampled_from(["", "module.encoder.", "a/b/"]))
    source = arrays(plan_network(spec), naming, prefix)
    assert source is not None
    found = recognise(source)
    assert function(found.spec, spec) == function(spec, spec)


def test_what_names_do_not_tell_is_told_with_its_field() -> None:
    source = arrays(plan_network(load_spec("torchvision_resnet50")), naming_of("torchvision"), "backbone.")
    assert source is not None
    found = recognise(source)
    assert found.told == (
        "read off the names: torchvision_resnet50, 3+4+6+3 units of kind torchvision_bottleneck, 1000 classes "
        "(torchvision naming, in section backbone)"
    )
    assumed = "; ".join(found.assumed)
    for words in (
        "stride 2 in the first unit of every block but the first (blocks[].args[].stride)",
        "the root's pool: max symmetric (root)",
        "epsilon 1e-05 (norm.epsilon)",
        "where caffe_bottleneck fits too (blocks[].unit.kind)",
        "images of 224x224 (--size)",
    ):
        assert words in assumed


def test_a_strided_convolution_in_the_place_of_the_pool_comes_back() -> None:
    """timm's `resnet18(replace_stem_pool=True)`."""
    spec = load_spec("torchvision_resnet18").replace(root=StemRoot(pool=ConvolutionRootPool()))
    source = arrays(plan_network(spec), naming_of("torchvision"), "")
    assert source
    assert "maxpool.0.weight" in source
    assert function(recognise(source).spec, spec) == function(spec, spec)


def test_of_two_sections_the_one_asked_for_is_read() -> None:
    first = arrays(plan_network(load_spec("torchvision_resnet18")), naming_of("torchvision"), "student.")
    second = arrays(plan_network(load_spec("torchvision_resnet34")), naming_of("torchvision"), "teacher.")
    assert first
    assert second
    assert recognise({**first, **second}, section=["student"]).spec.name == "torchvision_resnet18"
    assert recognise({**first, **second}, section=["teacher"]).spec.name == "torchvision_resnet34"


def test_names_that_no_table_reads_are_shown() -> None:
    with pytest.raises(WeightsError, match=r"no naming table reads .* \(the names are like encoder.w, head.w\)"):
        recognise({"encoder.w": np.zeros((3, 3)), "head.w": np.zeros(3)})


def damaged(name: str, change: Callable[[tuple[int, ...]], tuple[int, ...] | None]) -> dict[str, np.ndarray]:
    """ResNet-18 as torchvision has it, with one tensor of another shape or without it."""
    source = arrays(plan_network(load_spec("torchvision_resnet18")), naming_of("torchvision"), "")
    assert source
    shape = change(source.pop(name).shape)
    return source if shape is None else {**source, name: np.broadcast_to(np.float32(0), shape)}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("layer2.0.downsample.0.weight", lambda shape: None, "shortcut/weights is missing"),
        ("layer3.1.bn2.bias", lambda shape: None, "block3/unit_2/torchvision_basic/conv2/BatchNorm/beta is missing"),
        (
            "layer4.1.conv2.weight",
            lambda shape: (512, 9, 3, 3),
            r"has shape \[512, 9, 3, 3\], not \[512, 512, 3, 3\]",
        ),
        ("conv1.weight", lambda shape: (60, 3, 7, 7), "parameters are not those of a network of torchvision_basic"),
    ],
)
def test_what_is_no_network_is_told_by_its_first_difference(name: str, change: Any, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        recognise(damaged(name, change))

"""Every unit and the scores of narrow `ResNet`s and `ResNetV2`s of Keras Applications."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.golden import GOLDEN, GoldenRun, golden_runs, translated

from resnet_compile.spec import (
    BatchNorm,
    Block,
    Head,
    Input,
    KerasV2Root,
    MaxRootPool,
    NetworkSpec,
    Projection,
    StemRoot,
    TorchvisionBottleneck,
    keras_block,
    keras_v2_block,
)

STATISTICS = "(gamma|beta|moving_mean|moving_variance)"
UNIT = r"block(\d)/unit_(\d+)/(?:caffe|keras_v2)_bottleneck"
# Ours, theirs; their stages are counted as our blocks before.
RULES = (
    (r"conv1/weights", "conv1_conv/kernel"),
    (r"conv1/biases", "conv1_conv/bias"),
    (f"conv1/BatchNorm/{STATISTICS}", r"conv1_bn/\1"),
    (f"{UNIT}/preact/{STATISTICS}", r"conv\1_block\2_preact_bn/\3"),
    (f"{UNIT}/shortcut/weights", r"conv\1_block\2_0_conv/kernel"),
    (f"{UNIT}/shortcut/biases", r"conv\1_block\2_0_conv/bias"),
    (f"{UNIT}/shortcut/BatchNorm/{STATISTICS}", r"conv\1_block\2_0_bn/\3"),
    (rf"{UNIT}/conv(\d)/weights", r"conv\1_block\2_\3_conv/kernel"),
    (rf"{UNIT}/conv(\d)/biases", r"conv\1_block\2_\3_conv/bias"),
    (rf"{UNIT}/conv(\d)/BatchNorm/{STATISTICS}", r"conv\1_block\2_\3_bn/\4"),
    (f"postnorm/{STATISTICS}", r"post_bn/\1"),
    (r"logits/weights", "predictions/kernel"),
    (r"logits/biases", "predictions/bias"),
)


def counted_from_one(name: str) -> str:
    """Keras's `conv2` is the first stage."""
    return re.sub(r"^conv(\d)_block", lambda found: f"conv{int(found[1]) - 1}_block", name)


@dataclass(frozen=True)
class Version:
    """A version of the networks: its golden file's suffix, its builder, its stacks' strides, its root."""

    suffix: str
    block: Callable[..., Block]
    strides: tuple[int, int, int, int]
    root: StemRoot | KerasV2Root


SAME = MaxRootPool(padding="same")
VERSIONS = (
    Version("", keras_block, (1, 2, 2, 2), StemRoot(biases=True, pool=MaxRootPool(padding="zero"))),
    Version("v2", keras_v2_block, (2, 2, 2, 1), KerasV2Root()),
)


def runs(version: Version) -> list[GoldenRun]:
    found = []
    for index, (case, source, values) in enumerate(golden_runs(GOLDEN / f"keras_resnet{version.suffix}.npz")):
        stages = zip(case["filters"], case["units"], version.strides, strict=True)
        spec = NetworkSpec(
            name="net",
            input=Input(height=case["height"], width=case["width"]),
            root=version.root,
            blocks=tuple(
                version.block(f"block{number}", filters, units, stride)
                for number, (filters, units, stride) in enumerate(stages, start=1)
            ),
            norm=BatchNorm(epsilon=1.001e-5, decay=0.99),
            head=Head(num_classes=case["num_classes"], logits="dense"),
            initializer="keras",
        )
        weights = translated(spec, {counted_from_one(k): v for k, v in source.items()}, RULES, hwio=True)
        expected = {"net/logits": values["logits"], "predictions": values["predictions"]}
        kind = spec.blocks[0].unit.kind
        for key, value in values.items():
            if match := re.fullmatch(r"conv(\d)_block(\d+)_out", counted_from_one(key)):
                expected[f"net/block{match[1]}/unit_{match[2]}/{kind}"] = value.transpose(0, 3, 1, 2)
        label = f"keras{version.suffix}-{index}"
        found.append(GoldenRun(label, spec, weights, values["x"].transpose(0, 3, 1, 2), expected))
    return found


RUNS = [run for version in VERSIONS for run in runs(version)]


def test_one_block_keeps_its_depth_in_its_first_unit() -> None:
    """It projects all the same, which TF-slim's would not. In version 1 it strides, too."""
    assert len(RUNS) > 0
    for golden in RUNS:
        depths = [block.args[0].depth for block in golden.spec.blocks]
        assert len(set(depths)) < len(depths)


def of_another_kind(golden: GoldenRun) -> GoldenRun:
    """The stride on the 3x3 convolution."""
    unit = TorchvisionBottleneck(biases=True, shortcut=Projection(at="first"))
    blocks = tuple(block.replace(unit=unit) for block in golden.spec.blocks)

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name.replace("caffe_bottleneck", "torchvision_bottleneck"): value for name, value in values.items()}

    spec = golden.spec.replace(blocks=blocks)
    return replace(golden, spec=spec, weights=renamed(golden.weights), expected=renamed(golden.expected))


@pytest.mark.parametrize(
    "mistake",
    [
        of_another_kind,
        lambda golden: replace(golden, spec=golden.spec.replace(norm=BatchNorm(epsilon=1e-3, decay=0.99))),
        lambda golden: replace(golden, spec=golden.spec.replace(root=StemRoot(biases=True, pool=SAME))),
    ],
    ids=["stride on the 3x3", "epsilon", "pool SAME"],
)
def test_classic_mistakes_of_version_1_show(mistake: Callable[[GoldenRun], GoldenRun]) -> None:
    with pytest.raises(AssertionError, match="block2/unit_1"):
        mistake(RUNS[0]).check()


@pytest.mark.parametrize("golden", RUNS, ids=lambda golden: golden.label)
def test_units_and_scores_equal_the_originals(golden: GoldenRun) -> None:
    assert len(golden.expected) == 2 + sum(block.num_units for block in golden.spec.blocks)
    golden.check()

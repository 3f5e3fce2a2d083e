"""Every unit and the scores of a narrow `ResNetV2` of Keras Applications."""

import re

import pytest
from support.golden import GOLDEN, GoldenRun, golden_runs, translated

from resnet_compile.spec import BatchNorm, Head, Input, KerasV2Root, NetworkSpec, keras_v2_block

STATISTICS = "(gamma|beta|moving_mean|moving_variance)"
UNIT = r"block(\d)/unit_(\d+)/keras_v2_bottleneck"
# Ours, theirs; their stages are counted as our blocks before.
RULES = (
    (r"conv1/weights", "conv1_conv/kernel"),
    (r"conv1/biases", "conv1_conv/bias"),
    (f"{UNIT}/preact/{STATISTICS}", r"conv\1_block\2_preact_bn/\3"),
    (f"{UNIT}/shortcut/weights", r"conv\1_block\2_0_conv/kernel"),
    (f"{UNIT}/shortcut/biases", r"conv\1_block\2_0_conv/bias"),
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


def runs() -> list[GoldenRun]:
    found = []
    for index, (case, source, values) in enumerate(golden_runs(GOLDEN / "keras_resnetv2.npz")):
        stages = zip(case["filters"], case["units"], (2, 2, 2, 1), strict=True)
        spec = NetworkSpec(
            name="net",
            input=Input(height=case["height"], width=case["width"]),
            root=KerasV2Root(),
            blocks=tuple(
                keras_v2_block(f"block{number}", filters, units, stride)
                for number, (filters, units, stride) in enumerate(stages, start=1)
            ),
            norm=BatchNorm(epsilon=1.001e-5, decay=0.99),
            head=Head(num_classes=case["num_classes"], logits="dense"),
            initializer="keras",
        )
        weights = translated(spec, {counted_from_one(k): v for k, v in source.items()}, RULES, hwio=True)
        expected = {"net/logits": values["logits"], "predictions": values["predictions"]}
        for key, value in values.items():
            if match := re.fullmatch(r"conv(\d)_block(\d+)_out", counted_from_one(key)):
                expected[f"net/block{match[1]}/unit_{match[2]}/keras_v2_bottleneck"] = value.transpose(0, 3, 1, 2)
        found.append(GoldenRun(f"keras-{index}", spec, weights, values["x"].transpose(0, 3, 1, 2), expected))
    return found


RUNS = runs()


def test_one_block_keeps_its_depth_in_its_first_unit() -> None:
    """It projects all the same, which TF-slim's would not."""
    assert len(RUNS) > 0
    for golden in RUNS:
        depths = [block.args[0].depth for block in golden.spec.blocks]
        assert len(set(depths)) < len(depths)


@pytest.mark.parametrize("golden", RUNS, ids=lambda golden: golden.label)
def test_units_and_scores_equal_the_originals(golden: GoldenRun) -> None:
    assert len(golden.expected) == 2 + sum(block.num_units for block in golden.spec.blocks)
    golden.check()

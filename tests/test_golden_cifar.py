"""Every unit and the scores of the CIFAR system's networks against the system itself."""

import re

import numpy as np
import pytest
from support.golden import GOLDEN, GoldenRun, translated, variables

from resnet_compile.spec import HParams, cifar_network

STATISTICS = "(gamma|beta|moving_mean|moving_variance)"
UNIT = r"block(\d)/unit_(\d+)/cifar_\w+"
RULES = (
    (r"conv1/weights", r"init/init_conv/DW"),
    (f"{UNIT}/preact/{STATISTICS}", r"unit_\1_\2/shared_activation/init_bn/\3"),
    (f"{UNIT}/preact/{STATISTICS}", r"unit_\1_\2/common_bn_relu/init_bn/\3"),
    (f"{UNIT}/preact/{STATISTICS}", r"unit_\1_\2/residual_only_activation/init_bn/\3"),
    (f"{UNIT}/preact/{STATISTICS}", r"unit_\1_\2/residual_bn_relu/init_bn/\3"),
    (f"{UNIT}/conv1/BatchNorm/{STATISTICS}", r"unit_\1_\2/sub2/bn2/\3"),
    (f"{UNIT}/conv2/BatchNorm/{STATISTICS}", r"unit_\1_\2/sub3/bn3/\3"),
    (rf"{UNIT}/conv(\d)/weights", r"unit_\1_\2/sub\3/conv\3/DW"),
    (f"{UNIT}/shortcut/weights", r"unit_\1_\2/sub_add/project/DW"),
    (f"postnorm/{STATISTICS}", r"unit_last/final_bn/\1"),
    (r"logits/weights", r"logit/DW"),
    (r"logits/biases", r"logit/biases"),
)


def counted_from_one(variable: str) -> str:
    """The CIFAR system counts units from 0."""
    return re.sub(r"^unit_(\d)_(\d+)", lambda found: f"unit_{found[1]}_{int(found[2]) + 1}", variable)


def golden_run(kind: str) -> GoldenRun:
    arrays = np.load(GOLDEN / f"cifar_{kind}.npz")
    spec = cifar_network(HParams(num_residual_units=2, use_bottleneck=kind == "bottleneck"), f"cifar_{kind}")
    source = {counted_from_one(name): value for name, value in variables(arrays).items() if name != "global_step"}
    expected = {f"cifar_{kind}/logits": arrays["logits"], "predictions": arrays["predictions"]}
    for key in arrays.files:
        if found := re.fullmatch(r"end/unit_(\d)_(\d+)", key):
            unit = f"block{found[1]}/unit_{int(found[2]) + 1}/cifar_{kind}"
            expected[f"{spec.name}/{unit}"] = arrays[key].transpose(0, 3, 1, 2)
    weights = translated(spec, source, RULES, hwio=True)
    return GoldenRun(kind, spec, weights, arrays["x"].transpose(0, 3, 1, 2), expected)


@pytest.mark.parametrize("kind", ["plain", "bottleneck"])
def test_units_and_scores_equal_the_originals(kind: str) -> None:
    golden = golden_run(kind)
    assert len(golden.expected) == 2 + 6
    golden.check()

"""Every unit and the logits of narrow networks of timm's: its `resnet`, which is torchvision's, and its `resnetv2`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from support.golden import GOLDEN, GoldenRun, golden_runs, translated

from resnet_compile.errors import WeightsError
from resnet_compile.spec import (
    BatchNorm,
    Block,
    BlurPool,
    BlurredMaxRootPool,
    CaffeBottleneck,
    ConvolutionRootPool,
    DeepStem,
    EfficientChannel,
    Head,
    Input,
    MaxRootPool,
    NetworkSpec,
    PooledProjection,
    SqueezeExcitation,
    StemRoot,
    TimmPreactBottleneck,
    TimmPreactRoot,
    TorchvisionRoot,
    UnitArgs,
    torchvision_basic_block,
    torchvision_bottleneck_block,
)
from resnet_compile.spec.parts import AttentionKind

KINDS = {
    "resnet_basic": "torchvision_basic",
    "resnet_bottleneck": "torchvision_bottleneck",
    "resnext": "torchvision_bottleneck",
    "wide_resnet": "torchvision_bottleneck",
    "seresnet_basic": "torchvision_basic",
    "seresnet_bottleneck": "torchvision_bottleneck",
    "ecaresnet_d": "torchvision_bottleneck",
    "resnet_d_basic": "torchvision_basic",
    "resnet_t": "torchvision_bottleneck",
    "resnetblur_basic": "torchvision_basic",
    "resnetblur": "torchvision_bottleneck",
    "resnet_strided_stem": "torchvision_basic",
    "resnetv2": "timm_preact_bottleneck",
}
UNIT = r"block(\d)/unit_(\d+)/\w+"
# Ours, theirs; the roles of a norm are translated before.
TORCHVISION_RULES = (
    (r"conv1/weights", "conv1.weight"),
    (r"conv1/BatchNorm/(\w+)", r"bn1.\1"),
    (rf"{UNIT}/conv(\d)/weights", r"layer\1.\2.conv\3.weight"),
    (rf"{UNIT}/conv(\d)/BatchNorm/(\w+)", r"layer\1.\2.bn\3.\4"),
    (f"{UNIT}/shortcut/weights", r"layer\1.\2.downsample.0.weight"),
    (rf"{UNIT}/shortcut/BatchNorm/(\w+)", r"layer\1.\2.downsample.1.\3"),
    (r"stem1/weights", "conv1.0.weight"),
    (r"stem1/BatchNorm/(\w+)", r"conv1.1.\1"),
    (r"stem2/weights", "conv1.3.weight"),
    (r"stem2/BatchNorm/(\w+)", r"conv1.4.\1"),
    (r"stem3/weights", "conv1.6.weight"),
    (r"stem3/BatchNorm/(\w+)", r"bn1.\1"),
    (r"pool1/weights", "maxpool.0.weight"),
    (r"pool1/BatchNorm/(\w+)", r"maxpool.1.\1"),
    (f"{UNIT}/projection/weights", r"layer\1.\2.downsample.1.weight"),
    (rf"{UNIT}/projection/BatchNorm/(\w+)", r"layer\1.\2.downsample.2.\3"),
    (rf"{UNIT}/attention/conv(\d)/weights", r"layer\1.\2.se.fc\3.weight"),
    (rf"{UNIT}/attention/conv(\d)/biases", r"layer\1.\2.se.fc\3.bias"),
    (f"{UNIT}/attention/channels/weights", r"layer\1.\2.se.conv.weight"),
    (r"logits/weights", "fc.weight"),
    (r"logits/biases", "fc.bias"),
)
TIMM_RULES = (
    (r"conv1/weights", "stem.conv.weight"),
    (rf"{UNIT}/preact/(\w+)", r"stages.\1.blocks.\2.norm1.\3"),
    (rf"{UNIT}/conv(\d)/weights", r"stages.\1.blocks.\2.conv\3.weight"),
    (rf"{UNIT}/conv1/BatchNorm/(\w+)", r"stages.\1.blocks.\2.norm2.\3"),
    (rf"{UNIT}/conv2/BatchNorm/(\w+)", r"stages.\1.blocks.\2.norm3.\3"),
    (f"{UNIT}/shortcut/weights", r"stages.\1.blocks.\2.downsample.conv.weight"),
    (r"postnorm/(\w+)", r"norm.\1"),
    (r"logits/weights", "head.fc.weight"),
    (r"logits/biases", "head.fc.bias"),
)
COUNTER = ".num_batches_tracked"  # of a batch norm
ROLES = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "weight": "gamma",
    "bias": "beta",
}


def in_our_counting(name: str, *, is_norm: bool) -> str:
    """torch's name with stages and units counted from one, and with our words for a norm's roles."""
    *path, role = name.split(".")
    if path[0] == "stages":
        path[1], path[3] = str(int(path[1]) + 1), str(int(path[3]) + 1)
    elif path[0].startswith("layer"):
        path[1] = str(int(path[1]) + 1)
    return ".".join((*path, ROLES[role] if is_norm else role))


def network(kind: str, case: dict[str, Any]) -> NetworkSpec:
    stages = zip(case["layers"], case["widths"], case["bottlenecks"], (1, 2, 2, 2), strict=True)
    blocks = [block(kind, case, f"block{number}", *stage) for number, stage in enumerate(stages, start=1)]
    preact = kind == "timm_preact_bottleneck"
    return NetworkSpec(
        name="net",
        input=Input(height=case["height"], width=case["width"]),
        root=TimmPreactRoot() if preact else root(case),
        blocks=tuple(blocks),
        norm=BatchNorm(epsilon=1e-5, decay=0.9),
        head=Head(num_classes=case["num_classes"], logits="conv" if preact else "dense", predictions=None),
        initializer="timm" if preact else "torchvision",
    )


def root(case: dict[str, Any]) -> TorchvisionRoot | StemRoot:
    """timm's stems: the last convolution is twice as wide, the first of a tiered one three quarters as wide."""
    width = case.get("stem_width", 0)
    match case.get("stem_type"):
        case "deep":
            return StemRoot(stem=DeepStem(widths=(width, width)), depth=2 * width)
        case "deep_tiered":
            return StemRoot(stem=DeepStem(widths=(3 * width // 4, width)), depth=2 * width)
    if case.get("aa_layer"):
        return StemRoot(pool=BlurredMaxRootPool())
    return StemRoot(pool=ConvolutionRootPool()) if case.get("replace_stem_pool") else TorchvisionRoot()


def attention(kind: str, rd_ratio: float = 1 / 16) -> AttentionKind:
    """timm's modules."""
    return EfficientChannel() if kind == "eca" else SqueezeExcitation(reduction=1 / rd_ratio)


def block(kind: str, case: dict[str, Any], scope: str, units: int, width: int, bottleneck: int, stride: int) -> Block:
    parts: dict[str, Any] = {
        "attention": attention(**case["attention"]) if "attention" in case else None,
        "shortcut": PooledProjection() if case.get("avg_down") else None,
    }
    match kind:
        case "torchvision_basic":
            made = torchvision_basic_block(scope, width, units, stride, **parts)
            return blurred(made) if case.get("aa_layer") else made
        case "torchvision_bottleneck":
            parts |= {"groups": case["cardinality"], "base_width": case["base_width"]}
            made = torchvision_bottleneck_block(scope, width, units, stride, **parts)
            return blurred(made) if case.get("aa_layer") else made
    args = [UnitArgs(depth=width, depth_bottleneck=bottleneck, stride=stride if i == 0 else 1) for i in range(units)]
    return Block(scope=scope, unit=TimmPreactBottleneck(), args=tuple(args))


def blurred(made: Block) -> Block:
    """The block with anti-aliasing."""
    return made.replace(unit=made.unit.replace(anti_aliasing=BlurPool()))


def runs() -> list[GoldenRun]:
    found = []
    for name, kind in KINDS.items():
        for index, (case, source, values) in enumerate(golden_runs(GOLDEN / f"timm_{name}.npz")):
            spec = network(kind, case)
            norms = {name.removesuffix(COUNTER) for name in source if name.endswith(COUNTER)}
            ours = {
                in_our_counting(k, is_norm=k.rpartition(".")[0] in norms): v
                for k, v in source.items()
                if not k.endswith(COUNTER)
            }
            rules = TIMM_RULES if kind == "timm_preact_bottleneck" else TORCHVISION_RULES
            weights = translated(spec, ours, rules, hwio=False)
            stem = "stem3" if "stem_type" in case else "conv1"
            expected = {value_name(key, kind, stem): value for key, value in values.items() if key != "x"}
            found.append(GoldenRun(f"{name}-{index}", spec, weights, values["x"], expected))
    return found


def value_name(key: str, kind: str, stem: str) -> str:
    """Our name of a value: `layer1.0` and `stages.0.blocks.0` are both `block1/unit_1`."""
    if key in ("conv1", "stem.conv"):
        return f"net/{stem}"
    if key == "logits":
        return "net/logits"
    if key.startswith("stages"):
        _, stage, _, unit = key.split(".")
        return f"net/block{int(stage) + 1}/unit_{int(unit) + 1}/{kind}"
    layer, unit = key.split(".")
    return f"net/{layer.replace('layer', 'block')}/unit_{int(unit) + 1}/{kind}"


RUNS = runs()


def test_the_runs_cover_what_they_should() -> None:
    units = [(block.unit.kind, args.stride) for run in RUNS for block in run.spec.blocks for args in block.args]
    assert {*units} == {(kind, stride) for kind in KINDS.values() for stride in (1, 2)}
    assert {run.spec.input.height % 2 for run in RUNS} == {run.spec.input.width % 4 // 2 for run in RUNS} == {0, 1}


@pytest.mark.parametrize("golden", RUNS, ids=lambda golden: golden.label)
def test_units_and_logits_equal_the_originals(golden: GoldenRun) -> None:
    units = sum(block.num_units for block in golden.spec.blocks)
    assert len(golden.expected) == units + 2
    golden.check()


def with_unit(golden: GoldenRun, **changes: Any) -> GoldenRun:
    """Other parts in every unit."""
    blocks = tuple(block.replace(unit=block.unit.replace(**changes)) for block in golden.spec.blocks)
    return replace(golden, spec=golden.spec.replace(blocks=blocks))


def with_root(golden: GoldenRun, root: StemRoot) -> GoldenRun:
    return replace(golden, spec=golden.spec.replace(root=root))


def with_stride_on_1x1(golden: GoldenRun) -> GoldenRun:
    """Caffe's units, under whose names the weights fit all the same."""
    blocks = tuple(block.replace(unit=CaffeBottleneck()) for block in golden.spec.blocks)

    def renamed(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name.replace("torchvision_bottleneck", "caffe_bottleneck"): value for name, value in values.items()}

    weights, expected = renamed(golden.weights), renamed(golden.expected)
    return replace(golden, spec=golden.spec.replace(blocks=blocks), weights=weights, expected=expected)


@pytest.mark.parametrize(
    ("label", "mistake", "fault"),
    [
        (
            "seresnet_bottleneck-0",
            lambda golden: with_unit(golden, attention=SqueezeExcitation(reduction=4, rounding=1)),
            "attention",
        ),
        ("ecaresnet_d-0", lambda golden: with_unit(golden, attention=EfficientChannel(kernel=5)), "attention"),
        ("resnet_t-0", lambda golden: with_root(golden, StemRoot(stem=DeepStem(widths=(8, 8)), depth=16)), "stem1"),
        ("resnet_basic-0", lambda golden: with_root(golden, StemRoot(pool=MaxRootPool(padding="same"))), "block1"),
        ("resnetblur_basic-0", lambda golden: with_root(golden, StemRoot()), "block1"),
        ("resnet_bottleneck-0", with_stride_on_1x1, "block2/unit_1"),
    ],
    ids=["SE rounding", "ECA kernel", "deep stem widths", "SAME pool", "no blur", "stride on the 1x1"],
)
def test_classic_mistakes_show(label: str, mistake: Callable[[GoldenRun], GoldenRun], fault: str) -> None:
    with pytest.raises((AssertionError, WeightsError), match=fault):
        mistake(run_of(label)).check()


def test_a_pool_that_counts_its_padding_shows() -> None:
    """The last windows of an odd map, where the shortcut's mean is of what there is."""

    def count_padding(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type == "AveragePool":
                node.attribute.append(onnx.helper.make_attribute("count_include_pad", 1))

    golden = run_of("resnet_d_basic-1")
    with pytest.raises(AssertionError, match="block2/unit_1"):
        golden.check(count_padding)


def run_of(label: str) -> GoldenRun:
    return next(run for run in RUNS if run.label == label)

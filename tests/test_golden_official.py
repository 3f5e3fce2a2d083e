"""Every unit and the scores of narrow networks of TensorFlow's official `resnet`, version 1 and 2."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.golden import GOLDEN, GoldenRun, golden_runs, variables

from resnet_compile import load_spec, plan_network
from resnet_compile.errors import WeightsError
from resnet_compile.spec import (
    Block,
    Head,
    Input,
    MaxRootPool,
    NetworkSpec,
    Projection,
    StemRoot,
    ThreeStem,
    tf_official_block,
)
from resnet_compile.weights.binding import bind

NAMES = ("v1_basic", "v1_bottleneck", "v2_basic", "v2_bottleneck")


def creation(case: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """What a network of the original makes, in order, and our name for it: `conv2d` or `batch_normalization`.

    From the formulas of `resnet_model.py`: version 1 projects and normalises before a unit's own convolutions, version
    2 after its first normalisation; both in a block's first unit alone.
    """
    first = case["resnet_version"] == 1
    yield "conv2d", "conv1"
    if first:
        yield "batch_normalization", "conv1/BatchNorm"
    convolutions = 3 if case["bottleneck"] else 2
    for block, size in enumerate(case["block_sizes"], start=1):
        for unit in range(1, size + 1):
            scope = f"block{block}/unit_{unit}/{kind}"
            if not first:
                yield "batch_normalization", f"{scope}/preact"
            if unit == 1:
                yield "conv2d", f"{scope}/shortcut"
                if first:
                    yield "batch_normalization", f"{scope}/shortcut/BatchNorm"
            for number in range(1, convolutions + 1):
                yield "conv2d", f"{scope}/conv{number}"
                if first or number < convolutions:
                    yield "batch_normalization", f"{scope}/conv{number}/BatchNorm"
    if not first:
        yield "batch_normalization", "postnorm"
    yield "dense", "logits"


def translated(case: dict[str, Any], kind: str, source: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The variables by our names and in our layouts, every one of which has to be used."""
    counts: Counter[str] = Counter()
    found = {}
    for word, ours in creation(case, kind):
        scope = f"resnet_model/{word}_{counts[word]}" if counts[word] else f"resnet_model/{word}"
        counts[word] += 1
        for name, value in source.items():
            if name.rpartition("/")[0] == scope:
                role = {"kernel": "weights", "bias": "biases"}.get(name.rpartition("/")[2], name.rpartition("/")[2])
                found[f"net/{ours}/{role}"] = value.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim])
    assert len(found) == len(source)
    return found


def network(case: dict[str, Any]) -> NetworkSpec:
    version = case["resnet_version"]
    stages = zip(case["block_sizes"], case["block_strides"], strict=True)
    imagenet = {"pool": MaxRootPool(padding="same")}
    return NetworkSpec(
        name="net",
        input=Input(height=case["height"], width=case["width"]),
        root=StemRoot(
            depth=case["num_filters"],
            norm=version == 1,
            **imagenet if case["first_pool_size"] else {"stem": ThreeStem(), "pool": None},
        ),
        blocks=tuple(
            tf_official_block(
                f"block{at + 1}",
                case["num_filters"] << at,
                units,
                stride,
                version=version,
                bottleneck=case["bottleneck"],
            )
            for at, (units, stride) in enumerate(stages)
        ),
        head=Head(num_classes=case["num_classes"], logits="dense"),
        initializer="tf_official",
    )


def runs() -> list[GoldenRun]:
    found = []
    for name in NAMES:
        for index, (case, source, values) in enumerate(golden_runs(GOLDEN / f"official_{name}.npz")):
            spec = network(case)
            kind = spec.blocks[0].unit.kind
            expected = {"net/logits": values["logits"], "predictions": values["predictions"]}
            units = {key: value for key, value in values.items() if key.startswith("block")}
            expected |= {f"net/{key}/{kind}": value.transpose(0, 3, 1, 2) for key, value in units.items()}
            weights = translated(case, kind, source)
            found.append(GoldenRun(f"{name}-{index}", spec, weights, values["x"].transpose(0, 3, 1, 2), expected))
    return found


RUNS = runs()


def run_of(label: str) -> GoldenRun:
    return next(run for run in RUNS if run.label == label)


def test_the_runs_cover_what_they_should() -> None:
    first = [block.args[0] for run in RUNS for block in run.spec.blocks]
    assert {args.stride for args in first} == {1, 2}
    assert {run.spec.input.height % 2 for run in RUNS} == {0, 1}
    assert any(run.spec.input.height != run.spec.input.width for run in RUNS)
    # A first unit that keeps its shape projects all the same.
    assert all(run.spec.root.depth == run.spec.blocks[0].args[0].depth for run in RUNS if "basic" in run.label)


@pytest.mark.parametrize("golden", RUNS, ids=lambda golden: golden.label)
def test_units_and_scores_equal_the_originals(golden: GoldenRun) -> None:
    assert len(golden.expected) == 2 + sum(block.num_units for block in golden.spec.blocks)
    golden.check()


def pooled(golden: GoldenRun, padding: Any) -> GoldenRun:
    root = golden.spec.root.replace(pool=MaxRootPool(padding=padding))
    return replace(golden, spec=golden.spec.replace(root=root))


def of_kind(golden: GoldenRun, kind: str, **fields: Any) -> GoldenRun:
    """The units of another kind, or with another part."""

    def changed(block: Block) -> dict[str, Any]:
        unit = block.unit.model_dump(mode="json") | {"kind": kind} | fields
        return block.model_dump(mode="json") | {"unit": unit}

    document = golden.spec.model_dump(mode="json")
    spec = NetworkSpec.model_validate(document | {"blocks": [changed(block) for block in golden.spec.blocks]})
    old = golden.spec.blocks[0].unit.kind
    weights = {name.replace(old, kind): value for name, value in golden.weights.items()}
    expected = {name.replace(old, kind): value for name, value in golden.expected.items()}
    return replace(golden, spec=spec, weights=weights, expected=expected)


@pytest.mark.parametrize(
    ("label", "mistake"),
    [
        ("v1_bottleneck-0", lambda golden: pooled(golden, "symmetric")),
        ("v1_bottleneck-0", lambda golden: pooled(golden, "zero")),
        ("v2_bottleneck-0", lambda golden: pooled(golden, "symmetric")),
        ("v2_bottleneck-1", lambda golden: pooled(golden, "zero")),
        ("v1_bottleneck-0", lambda golden: of_kind(golden, "caffe_bottleneck")),
        ("v1_basic-0", lambda golden: of_kind(golden, "torchvision_basic", padding="same")),
        ("v2_basic-0", lambda golden: of_kind(golden, "preact_basic", padding="same")),
    ],
)
def test_classic_mistakes_show(label: str, mistake: Callable[[GoldenRun], GoldenRun]) -> None:
    """SAME or symmetric pool, zeros instead of -inf, the stride on the first 1x1, SAME instead of fixed padding."""
    with pytest.raises(AssertionError, match="net/block"):
        mistake(run_of(label)).check()


@pytest.mark.parametrize("label", ["v1_basic-0", "v2_basic-0"])
def test_a_network_that_projects_where_the_shape_changes_alone_is_another(label: str) -> None:
    golden = run_of(label)
    kind = golden.spec.blocks[0].unit.kind
    with pytest.raises(WeightsError, match=r"block1/unit_1.*shortcut"):
        of_kind(golden, kind, shortcut={"kind": "projection", "at": "shape"}).check()


@pytest.mark.parametrize("prefix", ["", "resnet_model/", "tower/resnet_model/"])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_read_by_themselves(name: str, prefix: str) -> None:
    """With and without the scope that newer versions of the original put in front."""
    golden = run_of(f"{name}-0")
    found = variables(np.load(GOLDEN / f"official_{name}.npz"))
    source = {key.replace("resnet_model/", prefix): value for key, value in found.items()}
    bound = bind(plan_network(golden.spec), source | {"global_step": np.int64(7)})
    assert bound.facts["weights_naming"] == "tf-official"
    for parameter, tensor in bound.tensors.items():
        np.testing.assert_array_equal(tensor.array(), golden.weights[parameter].reshape(tensor.shape), parameter)


def test_numbers_may_start_anywhere() -> None:
    """A session counts on from one network to the next."""
    golden = run_of("v1_basic-0")
    starts = {"conv2d": 7, "batch_normalization": 12, "dense": 2}

    def counted_on(found: re.Match[str]) -> str:
        return f"{found[1]}_{int(found[2] or 0) + starts[found[1]]}/"

    source = {
        re.sub(r"(conv2d|batch_normalization|dense)(?:_(\d+))?/", counted_on, key): value
        for key, value in variables(np.load(GOLDEN / "official_v1_basic.npz")).items()
    }
    assert "resnet_model/conv2d_7/kernel" in source
    bound = bind(plan_network(golden.spec), source)
    for parameter, tensor in bound.tensors.items():
        np.testing.assert_array_equal(tensor.array(), golden.weights[parameter].reshape(tensor.shape), parameter)


def test_numbers_of_units_with_another_shortcut_are_refused() -> None:
    """torchvision's network of the same shapes pools and projects otherwise."""
    golden = run_of("v1_bottleneck-0")
    other = of_kind(golden, "torchvision_bottleneck", shortcut=None).spec
    with pytest.raises(WeightsError, match="no name fits net"):
        bind(plan_network(other), variables(np.load(GOLDEN / "official_v1_bottleneck.npz")), naming="tf-official")


def test_mlperfs_network_is_one_of_the_catalogue() -> None:
    network, official = load_spec("mlperf_resnet50"), load_spec("tf_official_resnet50_v1")
    assert network.replace(input=official.input, origin=official.origin) == official
    assert network.input.preprocess == "mlperf"


def test_the_shortcut_of_the_published_networks_is_the_one_that_is_numbered() -> None:
    for version in (1, 2):
        for block in load_spec(f"tf_official_resnet50_v{version}").blocks:
            assert block.unit.shortcut == Projection(at="first")

"""Every unit and the outputs of narrow networks of transformers, kuangliu, akamaster, detectron2, Caffe2, tensorpack.

The weights are given under the originals' own names, so that their naming tables are held to them too.
"""

from functools import partial
from typing import Any

import pytest
from support.golden import GOLDEN, GoldenRun, golden_runs

from resnet_compile.spec import (
    BatchNorm,
    Block,
    CifarRoot,
    Head,
    Input,
    MaxRootPool,
    NetworkSpec,
    PaddedSubsample,
    Projection,
    ScaleOffset,
    StemRoot,
    ThreeStem,
    TorchvisionRoot,
    caffe_block,
    preact_basic_block,
    timm_preact_block,
    torchvision_basic_block,
    torchvision_bottleneck_block,
    transformers_network,
)
from resnet_compile.spec.roots import RootKind

HEAD = Head(num_classes=7, logits="dense", predictions=None)


def blocks(builder: Any, case: dict[str, Any]) -> tuple[Block, ...]:
    """A block a stage; all but the first stride."""
    stages = enumerate(zip(case["widths"], case["layers"], strict=True), start=1)
    return tuple(builder(f"block{n}", width, units, 1 if n == 1 else 2) for n, (width, units) in stages)


def same_root() -> RootKind:
    return StemRoot(padding="same", pool=MaxRootPool(padding="same"))


def network(name: str, case: dict[str, Any]) -> NetworkSpec:
    """The network of a case."""
    if name.startswith("transformers"):
        fields = ("depths", "hidden_sizes", "layer_type", "downsample_in_bottleneck", "downsample_in_first_stage")
        given = {field: case[field] for field in fields if field in case}
        return transformers_network("net", **given, embedding_size=6, num_labels=7)
    builders = {
        "kuangliu_basic": torchvision_basic_block,
        "kuangliu_bottleneck": torchvision_bottleneck_block,
        "kuangliu_preact_basic": preact_basic_block,
        "kuangliu_preact_bottleneck": partial(timm_preact_block, shortcut=Projection(at="shape")),
        "akamaster": partial(torchvision_basic_block, shortcut=PaddedSubsample()),
        "detectron2": caffe_block,
        "caffe2": caffe_block,
        "tensorpack_basic": partial(torchvision_basic_block, padding="same"),
        "tensorpack_bottleneck": partial(torchvision_bottleneck_block, padding="same"),
    }
    roots = {"detectron2": TorchvisionRoot(), "caffe2": TorchvisionRoot(), "tensorpack": same_root()}
    preact = "preact" in name
    cifar = CifarRoot(depth=case["stem"]) if preact else None
    if "stem" in case and not preact:
        cifar = StemRoot(stem=ThreeStem(), depth=case["stem"], pool=None)
    return NetworkSpec(
        name="net",
        input=Input(height=32, width=32),
        root=cifar or roots[name.split("_")[0]],
        blocks=blocks(builders[name], case),
        norm=ScaleOffset() if name == "caffe2" else BatchNorm(),
        head=HEAD.replace(postnorm="none") if preact else HEAD,
    )


def runs() -> list[GoldenRun]:
    found = []
    for path in sorted(GOLDEN.glob("torch_*.npz")):
        for index, (case, source, values) in enumerate(golden_runs(path)):
            spec = network(case["name"], case)
            spec = spec.replace(input=Input(height=case["height"], width=case["width"]))
            kind = spec.blocks[0].unit.kind
            expected = {f"net/{key}/{kind}": value for key, value in values.items() if key.startswith("block")}
            expected["net/logits"] = values["logits"]
            found.append(GoldenRun(f"{case['name']}-{index}", spec, source, values["x"], expected))
    return found


RUNS = runs()


def test_the_runs_cover_what_they_should() -> None:
    systems = {run.label.split("-")[0].split("_")[0] for run in RUNS}
    assert systems == {"transformers", "kuangliu", "akamaster", "detectron2", "caffe2", "tensorpack"}
    assert {run.spec.input.height % 2 for run in RUNS} == {run.spec.input.width % 4 // 2 for run in RUNS} == {0, 1}


@pytest.mark.parametrize("golden", RUNS, ids=lambda golden: golden.label)
def test_units_and_logits_equal_the_originals(golden: GoldenRun) -> None:
    assert len(golden.expected) == sum(block.num_units for block in golden.spec.blocks) + 1
    golden.check()

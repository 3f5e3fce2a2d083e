"""Random networks, for hypothesis."""

import json
from typing import Any

from hypothesis import strategies as st

from resnet_compile import NetworkSpec, load_spec, parse_spec
from resnet_compile.spec.catalogue import catalogue


def tiny_document() -> dict[str, Any]:
    """A small valid spec as a JSON document, for tests that break it."""
    return {
        "name": "tiny",
        "input": {"height": 32, "width": 32, "channels": 3},
        "root": {"kind": "imagenet", "depth": 8},
        "blocks": [
            {
                "scope": "block1",
                "unit": {"kind": "bottleneck_v2"},
                "args": [
                    {"depth": 16, "depth_bottleneck": 4, "stride": 1},
                    {"depth": 16, "depth_bottleneck": 4, "stride": 2},
                ],
            },
            {
                "scope": "block2",
                "unit": {"kind": "bottleneck_v2"},
                "args": [{"depth": 24, "depth_bottleneck": 6, "stride": 1, "repeat": 2}],
            },
        ],
        "output_stride": None,
        "norm": {"kind": "batch", "epsilon": 1e-5, "decay": 0.997, "scale": True},
        "head": {"num_classes": 10, "global_pool": True, "spatial_squeeze": True},
        "weight_decay": 1e-4,
    }


def parsed(document: dict[str, Any]) -> NetworkSpec:
    """The spec that a document describes."""
    return parse_spec(json.dumps(document))


PLAIN = ("cifar_plain", "torchvision_basic")
BOTTLENECKS = (
    "bottleneck_v1",
    "bottleneck_v2",
    "caffe_bottleneck",
    "cifar_bottleneck",
    "keras_v2_bottleneck",
    "timm_preact_bottleneck",
    "torchvision_bottleneck",
)
# Strides of the root blocks.
ROOTS = {None: 1, "imagenet": 4, "imagenet_v1": 4, "torchvision": 4, "timm_preact": 4, "keras_v2": 4, "cifar": 1}
# Pooled shortcuts want sides that their strides divide; networks with one stay within this stride.
MAX_POOLED_STRIDE = 48


@st.composite
def networks(draw: st.DrawFn, *, dynamic: bool = False) -> NetworkSpec:
    """Valid specs of every shape: all roots, units and heads, with and without scale, strides to 3, atrous or not.

    Args:
        draw: Hypothesis's.
        dynamic: Whether to leave out networks that have one size.
    """
    root = draw(st.sampled_from([*ROOTS]))
    channels = draw(st.integers(1, 4))
    root_depth = draw(st.sampled_from([4, 6]))
    depth, stride, divisor = root_depth if root else channels, ROOTS[root], 1
    blocks, reachable = [], [stride]
    for number in range(1, draw(st.integers(1, 3)) + 1):
        kind = draw(st.sampled_from([*PLAIN, *BOTTLENECKS]))
        runs = []
        for _ in range(draw(st.integers(1, 2))):
            args = draw(_unit_args(kind, depth, may_pool=not dynamic and 2 * stride <= MAX_POOLED_STRIDE))
            for _ in range(args["repeat"]):
                stride *= args["stride"]
                reachable.append(stride)
            if kind == "cifar_plain" and args["stride"] > 1:
                divisor = stride
            depth = args["depth"]
            runs.append(args)
        blocks.append({"scope": f"block{number}", "unit": draw(_unit(kind)), "args": runs})
    # Rates grow by the strides past the target, and have a limit of 64.
    targets = [target for target in reachable if stride // target <= 64]
    sides = st.integers(1, max(1, 40 // divisor)).map(lambda windows: windows * divisor)
    return parsed(
        {
            "name": draw(st.sampled_from(["net", "outer/net"])),
            "input": {"height": draw(sides), "width": draw(sides), "channels": channels},
            "root": {"kind": root, "depth": root_depth} if root else None,
            "blocks": blocks,
            "output_stride": draw(st.sampled_from([None, *targets])),
            "norm": {"scale": draw(st.booleans())},
            "head": draw(_heads()),
            "initializer": draw(st.sampled_from(["slim", "cifar", "torchvision", "timm", "keras"])),
        }
    )


@st.composite
def _unit_args(draw: st.DrawFn, kind: str, source: int, *, may_pool: bool) -> dict[str, Any]:
    """Arguments that the kind takes on a map of `source` channels."""
    plain = kind == "cifar_plain"
    depth = source + draw(st.sampled_from([0, 2, 4])) if plain else draw(st.sampled_from([4, 6, 8]))
    stride = draw(st.integers(1, 2 if plain else 3))
    # The CIFAR system's units stride only where they change the depth, which a run of equal units does once.
    if (kind.startswith("cifar") and depth == source) or (plain and not may_pool):
        stride = 1
    repeat = 1 if kind.startswith("cifar") and stride > 1 else draw(st.integers(1, 2))
    inner = {} if kind in PLAIN else {"depth_bottleneck": draw(st.integers(2, 4))}
    return {"depth": depth, **inner, "stride": stride, "repeat": repeat}


@st.composite
def _unit(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": kind}
    if kind == "torchvision_bottleneck":
        fields |= {"groups": draw(st.integers(1, 3)), "base_width": draw(st.sampled_from([32, 64, 100]))}
    if kind.startswith("cifar"):
        fields["relu_leakiness"] = draw(st.sampled_from([0.0, 0.1]))
        fields["first_shortcut"] = draw(st.sampled_from(["activated", "raw"]))
    return fields


@st.composite
def _heads(draw: st.DrawFn) -> dict[str, Any]:
    global_pool = draw(st.booleans())
    squeeze = draw(st.booleans()) if global_pool else False
    return {
        "num_classes": draw(st.sampled_from([None, 1, 5])),
        "global_pool": global_pool,
        "spatial_squeeze": squeeze,
        "logits": draw(st.sampled_from(["conv", "dense"])) if squeeze else "conv",
        "predictions": draw(st.sampled_from(["softmax", None])),
    }


def narrowed(spec: NetworkSpec) -> NetworkSpec:
    """A spec of the same kinds, strides and shortcuts with thinner layers, at most two units a run and small images."""
    document = spec.model_dump(mode="json")
    depths = [args["depth"] for block in document["blocks"] for args in block["args"]]
    divisor = max(1, min(depths) // 16)
    for block in document["blocks"]:
        for args in block["args"]:
            args["depth"] //= divisor
            args["repeat"] = min(args["repeat"], 2)
            if args["depth_bottleneck"]:
                # A sixteenth of a group's width must be left by grouped kinds.
                args["depth_bottleneck"] = max(args["depth_bottleneck"] // divisor, 16)
    if document["root"] and "depth" in document["root"]:
        document["root"]["depth"] = min(document["root"]["depth"], 16)
    document["head"]["num_classes"] = 10
    side = 16 if spec.input.height == 32 else 32
    document["input"] |= {"height": side, "width": side, "preprocess": None}
    return parsed(document | {"origin": None})


def families() -> list[NetworkSpec]:
    """The catalogue narrowed, once each: many members only differ in their depth."""
    specs = [narrowed(load_spec(name)) for name in catalogue()]
    return list({spec.replace(name="any"): spec for spec in reversed(specs)}.values())

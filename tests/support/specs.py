"""Random networks, for hypothesis."""

import json
from typing import Any

from hypothesis import assume
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


PLAIN = ("cifar_plain", "preact_basic", "torchvision_basic")
BOTTLENECKS = (
    "bottleneck_v1",
    "bottleneck_v2",
    "caffe_bottleneck",
    "cifar_bottleneck",
    "keras_v2_bottleneck",
    "timm_preact_bottleneck",
    "torchvision_bottleneck",
)
# Strides of the named root blocks.
ROOTS = {None: 1, "imagenet": 4, "imagenet_v1": 4, "torchvision": 4, "timm_preact": 4, "keras_v2": 4, "cifar": 1}
# Pooled shortcuts want sides that their strides divide; networks with one stay within this stride.
MAX_POOLED_STRIDE = 48
# Anti-aliased units behind many strides need images that no test has the time for.
MOST_ROWS = 256


@st.composite
def networks(draw: st.DrawFn, *, dynamic: bool = False) -> NetworkSpec:
    """Valid specs of every shape: all roots, units and heads, with and without scale, strides to 3, atrous or not.

    Args:
        draw: Hypothesis's.
        dynamic: Whether to leave out networks that have one size.
    """
    channels = draw(st.integers(1, 4))
    root, stride = draw(_roots())
    rounds_up = bool(root and root.get("pool") == {"kind": "max", "padding": "ceil"})
    if dynamic and rounds_up:  # of any size, where a map of one pixel has no such pool
        root, stride, rounds_up = None, 1, False
    depth, divisor, least = root["depth"] if root else channels, 1, 4 if rounds_up else 1
    blocks, reachable = [], [stride]
    for number in range(1, draw(st.integers(1, 3)) + 1):
        kind = draw(st.sampled_from([*PLAIN, *BOTTLENECKS]))
        unit = draw(_unit(kind))
        if dynamic:  # of any size, where a map of one pixel cannot be mirrored
            unit.pop("anti_aliasing", None)
        runs = []
        for _ in range(draw(st.integers(1, 2))):
            args = draw(_unit_args(unit, depth, may_pool=not dynamic and 2 * stride <= MAX_POOLED_STRIDE))
            for _ in range(args["repeat"]):
                least = max(least, 2 * stride + 2) if unit.get("anti_aliasing") and args["stride"] > 1 else least
                stride *= args["stride"]
                reachable.append(stride)
            if shortcut_of(unit) == "padded_pool" and args["stride"] > 1:
                divisor = stride
            depth = args["depth"]
            runs.append(args)
        blocks.append({"scope": f"block{number}", "unit": unit, "args": runs})
    assume(least <= MOST_ROWS)
    # Rates grow by the strides past the target, and have a limit of 64.
    targets = [target for target in reachable if stride // target <= 64]
    fewest = -(-least // divisor)
    sides = st.integers(fewest, max(fewest, 40 // divisor)).map(lambda windows: windows * divisor)
    return parsed(
        {
            "name": draw(st.sampled_from(["net", "outer/net"])),
            "input": {"height": draw(sides), "width": draw(sides), "channels": channels},
            "root": root,
            "blocks": blocks,
            "output_stride": draw(st.sampled_from([None, *targets])),
            "norm": draw(st.sampled_from([{"scale": True}, {"scale": False}, {"kind": "scale_offset"}])),
            "activation": None if _has_own_activation(blocks) else draw(st.sampled_from(ACTIVATIONS)),
            "head": draw(_heads()),
            "initializer": draw(
                st.sampled_from(["slim", "cifar", "torchvision", "timm", "keras", "tf_official", "mlperf_tiny"])
            ),
        }
    )


ACTIVATIONS = (None, {"kind": "relu"}, {"kind": "leaky_relu", "slope": 0.2}, {"kind": "relu6"})
ATTENTIONS = (
    None,
    {"kind": "squeeze_excitation", "reduction": 3, "rounding": 2},
    {"kind": "squeeze_excitation", "biases": False},
    {"kind": "efficient_channel"},
    {"kind": "efficient_channel", "kernel": 5},
)
SHORTCUTS = (
    None,
    {"kind": "projection", "at": "first"},
    {"kind": "projection", "at": "shape", "kernel": 3, "norm": True, "biases": True},
    {"kind": "pooled_projection", "at": "first"},
    {"kind": "pooled_projection", "at": "shape", "norm": False},
    {"kind": "padded_pool"},
    {"kind": "padded_subsample"},
)
STEMS = ({"kind": "7x7"}, {"kind": "3x3"}, {"kind": "deep"}, {"kind": "deep", "widths": [3, 5]})
POOLS = (
    *({"kind": "max", "padding": padding} for padding in ("symmetric", "same", "ceil", "zero")),
    {"kind": "convolution"},
    None,
)


def shortcut_of(unit: dict[str, Any]) -> str | None:
    """The kind of shortcut part that a unit has, or that its kind stands for."""
    part = unit.get("shortcut")
    return part["kind"] if part else "padded_pool" if unit["kind"] == "cifar_plain" else None


def _has_own_activation(blocks: list[dict[str, Any]]) -> bool:
    return any(block["unit"]["kind"].startswith("cifar") for block in blocks)


@st.composite
def _roots(draw: st.DrawFn) -> tuple[dict[str, Any] | None, int]:
    """A root block and its stride."""
    kind = draw(st.sampled_from([*ROOTS, "stem", "stem"]))
    if kind != "stem":
        return {"kind": kind, "depth": draw(st.sampled_from([4, 6]))} if kind else None, ROOTS[kind]
    stem, pool = draw(st.sampled_from(STEMS)), draw(st.sampled_from(POOLS))
    root = {"kind": kind, "stem": stem, "depth": draw(st.sampled_from([4, 6])), "pool": pool}
    root |= {"norm": draw(st.booleans()), "biases": draw(st.booleans())}
    return root, (1 if stem["kind"] == "3x3" else 2) * (2 if pool else 1)


@st.composite
def _unit_args(draw: st.DrawFn, unit: dict[str, Any], source: int, *, may_pool: bool) -> dict[str, Any]:
    """Arguments that the unit takes on a map of `source` channels."""
    kind, shortcut = unit["kind"], shortcut_of(unit)
    padded = shortcut in ("padded_pool", "padded_subsample")
    depth = source + draw(st.sampled_from([0, 2, 4])) if padded else draw(st.sampled_from([4, 6, 8]))
    stride = draw(st.integers(1, 2 if padded else 3))
    # Such units stride only where they change the depth, which a run of equal units does once.
    once = shortcut == "padded_pool" or (kind == "cifar_bottleneck" and shortcut is None)
    if (once and depth == source) or (shortcut == "padded_pool" and not may_pool):
        stride = 1
    repeat = 1 if once and stride > 1 else draw(st.integers(1, 2))
    inner = 1 if kind in PLAIN else 2
    if draw(st.booleans()) and unit.get("groups", 1) == 1:
        widths = {"widths": [draw(st.integers(2, 4)) for _ in range(inner)]}
    else:
        widths = {} if kind in PLAIN else {"depth_bottleneck": draw(st.integers(2, 4))}
    return {"depth": depth, **widths, "stride": stride, "repeat": repeat}


@st.composite
def _unit(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": kind}
    if kind in BOTTLENECKS and draw(st.booleans()):
        fields |= {"groups": draw(st.integers(1, 3)), "base_width": draw(st.sampled_from([32, 64, 100]))}
    if kind.startswith("cifar"):
        fields["relu_leakiness"] = draw(st.sampled_from([0.0, 0.1]))
        fields["first_shortcut"] = draw(st.sampled_from(["activated", "raw"]))
    if draw(st.booleans()):
        fields |= {"attention": draw(st.sampled_from(ATTENTIONS)), "shortcut": draw(st.sampled_from(SHORTCUTS))}
        fields["anti_aliasing"] = draw(st.sampled_from([None, {"kind": "blur"}]))
        fields |= {"biases": draw(st.booleans()), "padding": draw(st.sampled_from([None, "same"]))}
    return fields


@st.composite
def _heads(draw: st.DrawFn) -> dict[str, Any]:
    global_pool = draw(st.booleans())
    squeeze = draw(st.booleans()) if global_pool else False
    classes, logits = (
        draw(st.sampled_from([None, 1, 5])),
        draw(st.sampled_from(["conv", "dense"])) if squeeze else "conv",
    )
    return {
        "num_classes": classes,
        "global_pool": global_pool,
        "spatial_squeeze": squeeze,
        "logits": logits,
        "hidden": draw(st.sampled_from([[], [3], [3, 2]])) if classes and logits == "dense" else [],
        "predictions": draw(st.sampled_from(["softmax", "sigmoid", None])),
        "postnorm": draw(st.sampled_from([None, "none"])),
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
    """The catalogue narrowed, once each: many members only differ in their depth and width."""
    specs = [narrowed(load_spec(name)) for name in catalogue()]
    return list({_function(spec): spec for spec in reversed(specs)}.values())


def _function(spec: NetworkSpec) -> tuple[Any, ...]:
    """What two networks have in common that differ in depth and width alone."""
    root = spec.root and spec.root.replace(depth=8)
    units = tuple(dict.fromkeys(block.unit for block in spec.blocks))
    return root, units, spec.norm, spec.activation, spec.head, spec.output_stride, spec.input

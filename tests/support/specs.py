"""Random networks, for hypothesis."""

import json
from typing import Any

from hypothesis import strategies as st

from resnet_compile import NetworkSpec, parse_spec


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


@st.composite
def networks(draw: st.DrawFn) -> NetworkSpec:
    """Valid specs of every shape: with and without root, pool, head and scale, strides to 3, atrous or not."""
    units = st.fixed_dictionaries(
        {
            "depth": st.sampled_from([4, 6, 8]),
            "depth_bottleneck": st.integers(1, 4),
            "stride": st.integers(1, 3),
            "repeat": st.integers(1, 2),
        }
    )
    blocks = draw(st.lists(st.lists(units, min_size=1, max_size=2), min_size=1, max_size=3))
    root = draw(st.sampled_from([None, {"kind": "imagenet", "depth": 4}, {"kind": "imagenet", "depth": 6}]))
    global_pool = draw(st.booleans())
    strides = [args["stride"] for block in blocks for args in block for _ in range(args["repeat"])]
    reachable = [1]
    for stride in strides:
        reachable.append(reachable[-1] * stride)
    # Rates grow by the strides past the target, and have a limit of 64.
    target = draw(st.sampled_from([None, *(stride for stride in reachable if reachable[-1] // stride <= 64)]))
    return parsed(
        {
            "name": draw(st.sampled_from(["net", "outer/net"])),
            "input": {
                "height": draw(st.integers(1, 40)),
                "width": draw(st.integers(1, 40)),
                "channels": draw(st.integers(1, 4)),
            },
            "root": root,
            "blocks": [
                {"scope": f"block{number}", "unit": {"kind": "bottleneck_v2"}, "args": args}
                for number, args in enumerate(blocks, start=1)
            ],
            "output_stride": target and target * (4 if root else 1),
            "norm": {"scale": draw(st.booleans())},
            "head": {
                "num_classes": draw(st.sampled_from([None, 1, 5])),
                "global_pool": global_pool,
                "spatial_squeeze": draw(st.booleans()) if global_pool else False,
            },
        }
    )

"""The Python API builds what the catalogue holds."""

import pytest

from resnet_compile import Head, Input, NetworkSpec, load_spec, resnet_v2_block

UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


@pytest.mark.parametrize("depth", UNITS)
def test_four_lines_make_a_catalogue_network(depth: int) -> None:
    strides = (2, 2, 2, 1)
    blocks = [
        resnet_v2_block(f"block{i + 1}", base_depth=64 << i, num_units=UNITS[depth][i], stride=strides[i])
        for i in range(4)
    ]
    built = NetworkSpec(
        name=f"resnet_v2_{depth}", input=Input(height=224, width=224), blocks=blocks, head=Head(num_classes=1000)
    )
    kept = load_spec(f"resnet{depth}")
    flat = [
        [(a.depth, a.depth_bottleneck, a.stride) for a in block.args for _ in range(a.repeat)] for block in kept.blocks
    ]
    assert flat == [
        [(a.depth, a.depth_bottleneck, a.stride) for a in block.args for _ in range(a.repeat)] for block in built.blocks
    ]
    assert (built.name, built.root, built.norm, built.output_stride, built.head.squeezes) == (
        kept.name,
        kept.root,
        kept.norm,
        kept.output_stride,
        kept.head.squeezes,
    )

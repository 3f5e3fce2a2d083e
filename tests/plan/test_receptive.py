"""Receptive fields, against published ones and against the pixels that change a network's values."""

import numpy as np
import pytest
from support.specs import families

from resnet_compile import CompileOptions, NetworkSpec, compile, load_spec, plan_network
from resnet_compile.plan import receptive_fields
from resnet_compile.runtime import Session
from resnet_compile.spec import BlurPool

# Araujo, Norris and Sim 2019, table of modern networks: size, stride and padding before, the same for v1 and v2.
PUBLISHED = {50: (483, 32, 239), 101: (1027, 32, 511), 152: (1507, 32, 751)}
SIDE = 72


@pytest.mark.parametrize("depth", PUBLISHED)
@pytest.mark.parametrize("name", ["resnet_v1_{}", "resnet{}"])
def test_the_fields_of_the_originals_are_the_published_ones(name: str, depth: int) -> None:
    planned = plan_network(name.format(depth))
    field = receptive_fields(planned)[planned.blocks[-1].scope]
    assert field is not None
    assert (field.size, field.stride, -field.top) == ((PUBLISHED[depth][0],) * 2, *PUBLISHED[depth][1:])


def test_what_follows_a_mean_over_the_image_sees_all_of_it() -> None:
    planned = plan_network("torchvision_resnet18")
    fields = receptive_fields(planned)
    assert fields[f"{planned.name}/pool5"] is None
    assert fields[f"{planned.name}/logits"] is None
    assert set(fields) == {layer.scope for layer in planned.layers} | {
        scope for block in planned.blocks for scope in (block.scope, *(unit.scope for unit in block.units))
    }


def positive(spec: NetworkSpec) -> dict[str, np.ndarray]:
    """Weights with which a brighter pixel makes all that depends on it greater: means of windows, and idle norms."""
    ones = ("gamma", "moving_variance")
    return {
        each.name: np.full(
            each.shape, 1 / np.prod(each.shape[1:]) if each.role == "weights" else each.role in ones, "f4"
        )
        for each in plan_network(spec).parameters
    }


def without_means(spec: NetworkSpec) -> NetworkSpec:
    """A larger image, and neither channel attention nor a head, which see all of it."""
    blocks = [block.replace(unit=block.unit.replace(attention=None)) for block in spec.blocks]
    size = spec.input.replace(height=SIDE, width=SIDE - 8)
    head = spec.head.replace(num_classes=None, global_pool=False, spatial_squeeze=None, logits="conv", hidden=())
    return spec.replace(blocks=tuple(blocks), input=size, head=head)


def specs() -> list[NetworkSpec]:
    """The catalogue's kinds, and small networks with atrous convolutions and blurs, whose fields the image can hold."""
    tiny = load_spec("tiny")
    blurred = [block.replace(unit=block.unit.replace(anti_aliasing=BlurPool())) for block in tiny.blocks]
    atrous = tiny.replace(name="atrous", output_stride=4)
    return [without_means(each) for each in (*families(), atrous, tiny.replace(name="blurred", blocks=tuple(blurred)))]


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("axis", [2, 3], ids=["rows", "columns"])
def test_a_value_changes_with_the_pixels_of_its_field_and_no_others(spec: NetworkSpec, axis: int) -> None:
    """Every unit at every position: the first and the last line of pixels that changes it, where the image has them."""
    planned = plan_network(spec)
    outputs = [unit.scope for unit in planned.units]
    model = compile(spec, CompileOptions(outputs=tuple(outputs)), weights=positive(spec))
    session = Session.open(model.to_proto().SerializeToString(), "cpu")
    lines = (planned.input.height, planned.input.width)[axis - 2]
    images = np.ones((lines + 1, planned.input.channels, *planned.input.size), np.float32)
    for line in range(lines):
        np.moveaxis(images[line], axis - 1, 0)[line] = 1e6
    fields, checked = receptive_fields(planned), 0
    for name, computed in session.run({"input": images}).items():
        field = fields[name]
        assert field is not None
        first, last = (field.top, field.bottom) if axis == 2 else (field.left, field.right)
        across = tuple(each for each in (1, 2, 3) if each != axis)
        changed = (computed[:-1] > computed[-1]).any(axis=across)
        for position in range(changed.shape[1]):
            seen = np.flatnonzero(changed[:, position])
            for end, found in ((first, seen.min()), (last, seen.max())):
                if 0 <= end + position * field.stride < lines:
                    assert found == end + position * field.stride, (name, position)
                    checked += 1
    assert checked > 10

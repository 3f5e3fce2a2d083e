"""Networks behind nodes that prepare images: made by hand, in the forms in which exporters and people write them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnx.parser
import pytest
from support.commands import command
from support.models import run
from support.specs import narrowed
from support.tolerances import NETWORK, relative_error

from resnet_compile import CompileOptions, compile, load_spec, open_checkpoint, plan_network, proof
from resnet_compile.errors import WeightsError
from resnet_compile.recognise import Recognised, recognise
from resnet_compile.schemes import SCHEMES, Normalise
from resnet_compile.verify import require_agreement
from resnet_compile.weights.structure import structure_of

SPEC = narrowed(load_spec("torchvision_resnet18"))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COLOURS = "<float[3,1,1] mean = {0.485, 0.456, 0.406}, float[1,3,1,1] std = {0.229, 0.224, 0.225}>"
BGR = "<float[3] mean = {103.939, 116.779, 123.68}"
PHOTOGRAPH = "uint8[N,32,32,3] x"


def behind(nodes: str, image: str = "float[N,3,32,32] x") -> onnx.ModelProto:
    """The network behind nodes from `x` to `y`, without metadata."""
    model = compile(SPEC).to_proto()
    del model.metadata_props[:]
    text = f'<ir_version: {model.ir_version}, opset_import: ["": 18]> before ({image}) => (float[N,3,32,32] y) {nodes}'
    merged: onnx.ModelProto = onnx.compose.merge_models(onnx.parser.parse_model(text), model, io_map=[("y", "input")])
    return merged


def saved(model: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def read(path: Path) -> Recognised:
    with open_checkpoint(path) as source:
        return recognise(source)


def torchvision(x: Any) -> Any:
    return (x - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


def caffe(x: Any) -> Any:
    return x[:, ::-1] - np.reshape((103.939, 116.779, 123.68), (3, 1, 1))


def signed(x: Any) -> Any:
    return x / 127.5 - 1


SIGNED = Normalise(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
# The nodes, what they compute of [N, C, H, W], the scheme or its numbers, the largest pixel.
FORMS = {
    "sub, div": (f"{COLOURS} {{ a = Sub(x, mean) y = Div(a, std) }}", torchvision, "torchvision", 1),
    "a factor first": (
        f"{COLOURS} {{ k = Constant<value_float = 255.0>() a = Div(x, k) b = Sub(a, mean) y = Div(b, std) }}",
        lambda x: torchvision(x / 255),
        "torchvision",
        255,
    ),
    "mul, add": (
        "<float[1] k = {0.00784313725}, float l = {-1.0}> { a = Mul(k, x) y = Add(a, l) }",
        signed,
        SIGNED,
        255,
    ),
    "signed from 0 to 1": (
        "<float[1] k = {2.0}, float l = {1.0}> { a = Mul(k, x) y = Sub(a, l) }",
        lambda x: 2 * x - 1,
        SIGNED,
        1,
    ),
    "a batch norm": (
        "<float[3] g = {1, 1, 1}, float[3] b = {0, 0, 0}, float[3] m = {0.485, 0.456, 0.406},"
        " float[3] v = {0.052441, 0.050176, 0.050625}> { y = BatchNormalization<epsilon = 0.0>(x, g, b, m, v) }",
        torchvision,
        "torchvision",
        1,
    ),
    "gather": (
        f"{BGR}, int64[3] i = {{2, 1, 0}}, int64[2] axes = {{1, 2}}>"
        " { a = Gather<axis = 1>(x, i) b = Unsqueeze(mean, axes) y = Sub(a, b) }",
        caffe,
        "caffe",
        255,
    ),
    "slice": (
        "<int64[1] s = {-1}, int64[1] e = {-9223372036854775807}, int64[1] axes = {1}, float k = {255.0}>"
        " { a = Slice(x, s, e, axes, s) y = Div(a, k) }",
        lambda x: x[:, ::-1] / 255,
        Normalise(),
        255,
    ),
    "slice of two axes": (
        "<int64[2] s = {0, -1}, int64[2] e = {1000000000, -1000000000}, int64[2] axes = {0, 1}, int64[2] t = {1, -1},"
        " float k = {255.0}> { a = Slice(x, s, e, axes, t) y = Div(a, k) }",
        lambda x: x[:, ::-1] / 255,
        Normalise(),
        255,
    ),
    "photographs": (
        f"{BGR}, int64[3] i = {{-1, 1, 0}}> {{ a = Cast<to = 1>(x) b = Gather<axis = 3>(a, i) c = Sub(b, mean)"
        " y = Transpose<perm = [0, 3, 1, 2]>(c) }",
        caffe,
        "caffe",
        255,
    ),
    "channels apart": (
        "<float k = {255.0}, float m = {123.68}, float n = {116.779}, float o = {103.939}> {"
        " r, g, b = Split<axis = 1, num_outputs = 3>(x) p = Sub(r, m) q = Sub(g, n) s = Sub(b, o)"
        " y = Concat<axis = 1>(s, q, p) }",
        caffe,
        "caffe",
        255,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_network_begins_behind_what_prepares_its_images(form: str, tmp_path: Path) -> None:
    nodes, prepared, scheme, largest = FORMS[form]
    photographs = form == "photographs"
    path = saved(behind(nodes, PHOTOGRAPH) if photographs else behind(nodes), tmp_path)
    found = read(path)
    took = found.spec.input.preprocess
    assert took == scheme if isinstance(scheme, str) else took.values == scheme  # type: ignore[union-attr]  # a record
    assert found.assumed[-2:] == (
        f"RGB images of 0 to {largest} before these nodes (input.preprocess)",
        "how images are resized (input.preprocess)",
    )
    raw = np.random.default_rng(0).integers(0, largest + 1, (2, 3, 32, 32)).astype(np.float32)
    given = raw.transpose(0, 2, 3, 1).astype(np.uint8) if photographs else raw
    (expected,) = run(str(path), given, exact=True).values()
    actual = next(iter(run(compile(path).to_proto(), prepared(raw).astype(np.float32)).values()))
    assert relative_error(actual, expected) <= NETWORK
    require_agreement(proof.compare_source(found.spec, path))


def test_other_numbers_are_no_named_scheme(tmp_path: Path) -> None:
    nodes = f"{COLOURS.replace('0.406', '0.407')} {{ a = Sub(x, mean) y = Div(a, std) }}"
    scheme: Any = read(saved(behind(nodes), tmp_path)).spec.input.preprocess
    assert scheme.values == Normalise(mean=(*MEAN[:2], 0.407), std=STD)
    assert scheme.channels == "rgb"


@pytest.mark.parametrize(
    "nodes",
    [
        "<int64[3] i = {1, 0, 2}, float k = {255.0}> { a = Gather<axis = 1>(x, i) y = Div(a, k) }",
        "<int64[3] i = {2, 1, 0}> { y = Gather<axis = 1>(x, i) }",
        "<float k = {255.0}> { y = Sub(k, x) }",
    ],
    ids=["two channels change places", "no numbers", "a negative"],
)
def test_what_no_scheme_expresses_is_told_and_proved(nodes: str, tmp_path: Path) -> None:
    found = read(path := saved(behind(nodes), tmp_path))
    assert found.spec.input.preprocess is None
    assert found.told.endswith("; the network takes images as these nodes make them")
    require_agreement(proof.compare_source(found.spec, path))


@pytest.mark.parametrize(
    ("nodes", "image", "node"),
    [
        (f"<float[32] m = {{{', '.join('1' * 32)}}}> {{ y = Sub(x, m) }}", None, "Sub 'y'"),
        ("<int64[3] i = {0, 0, 2}> { y = Gather<axis = 1>(x, i) }", None, "Gather 'y'"),
        (
            "<uint8 k = {9}> { a = Sub(x, k) b = Transpose<perm = [0, 3, 1, 2]>(a) y = Cast<to = 1>(b) }",
            PHOTOGRAPH,
            "Sub 'a'",
        ),
        (
            "<int64[2] s = {1, -1}, int64[2] e = {1000000000, -9}, int64[2] axes = {2, 1}, int64[2] t = {1, -1}>"
            " { y = Slice(x, s, e, axes, t) }",
            None,
            "Slice 'y'",
        ),
        ("<float k = {2.0}> { a = Sub(x, k) y = Elu(a) }", None, "Elu 'y'"),
        ("<float k = {2.0}, float l = {1.0}> { a = Add(x, k) y = Div(l, a) }", None, "Div 'y'"),
    ],
    ids=["a mean of columns", "a channel twice", "integers", "rows cut off", "no affine", "a reciprocal"],
)
def test_anything_else_before_the_network_is_named(nodes: str, image: str | None, node: str, tmp_path: Path) -> None:
    path = saved(behind(nodes, image) if image else behind(nodes), tmp_path)
    with pytest.raises(WeightsError) as refused:
        read(path)
    assert node in str(refused.value)
    with open_checkpoint(path) as source, pytest.raises(WeightsError):
        structure_of(plan_network(SPEC), source)


def test_more_channels_than_an_image_has_are_not_tried(tmp_path: Path) -> None:
    model = compile(SPEC).to_proto()
    del model.metadata_props[:]
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(each for each in conv.attribute if each.name == "group").i = 1 << 31
    with pytest.raises(WeightsError, match="Conv 'torchvision_resnet18/conv1/Conv'"):
        read(saved(model, tmp_path))


def test_a_pad_before_an_offset_is_not_the_convolutions_own(tmp_path: Path) -> None:
    """Behind it, the border of the map is not zero."""
    nodes = "<int64[8] p = {0,0,1,1,0,0,1,1}, float k = {255.0}> { a = Pad(x, p) b = Sub(a, k) y = Identity(b) }"
    with pytest.raises(WeightsError, match="Sub"):
        read(saved(behind(nodes), tmp_path))


def test_a_spec_that_is_given_is_held_to_the_model(tmp_path: Path) -> None:
    path = saved(behind(FORMS["sub, div"][0]), tmp_path)
    model = compile(SPEC, weights=str(path))
    assert model.plan.spec.input.preprocess == "torchvision"
    (note,) = (note for note in model.notes if "preprocessed" in note)
    assert note.startswith(
        "images are preprocessed as the model's beginning (Sub 'a', Div 'y') says: torchvision (assum"
    )
    same = compile(SPEC, CompileOptions(preprocess="torchvision"), weights=str(path))
    assert not [note for note in same.notes if "beginning" in note]
    other = compile(SPEC, CompileOptions(preprocess="mlperf"), weights=str(path))
    (note,) = (note for note in other.notes if "beginning" in note)
    assert note.startswith("the spec preprocesses images as mlperf, but the model's beginning (Sub 'a', Div 'y') says")


def test_a_spec_is_told_of_a_beginning_that_no_scheme_expresses(tmp_path: Path) -> None:
    path = saved(behind("<int64[3] i = {2, 1, 0}> { y = Gather<axis = 1>(x, i) }"), tmp_path)
    for options in (CompileOptions(), CompileOptions(preprocess="torchvision")):
        notes = compile(SPEC, options, weights=str(path)).notes
        assert [note for note in notes if note.startswith("no scheme can express the model's beginning (Gather 'y')")]
    done = command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", cwd=tmp_path)
    assert done.err.count("no scheme can express") == 1


def test_the_command_puts_the_scheme_into_the_model_again(tmp_path: Path) -> None:
    saved(behind(FORMS["a factor first"][0]), tmp_path)
    done = command("resnet-compile", "theirs.onnx", "-o", "ours.onnx", "--preprocess", "model", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "(Div 'a', Sub 'b', Div 'y') says: torchvision" in done.err
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    assert SCHEMES["torchvision"].resize.kind == "short_side"
    assert run(str(tmp_path / "ours.onnx"), image)

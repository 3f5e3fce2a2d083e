"""Preprocessing as a graph: the original systems' own numbers, run, on photographs and on noise."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from support.specs import tiny_document
from support.tolerances import GREY_LEVELS, GREY_LEVELS_OF_TWO_PASSES, relative_error

import resnet_compile as rc
from resnet_compile import images
from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, Type, Value, apply, latest_form
from resnet_compile.lower.network import Layout
from resnet_compile.lower.preprocess import with_preprocessing
from resnet_compile.runtime import Session, SessionOptions
from resnet_compile.schemes import SCHEMES, Normalise, Scheme, ShortSide, Standardise, Stretch
from resnet_compile.serialize import ModelFormat, to_proto

GOLDEN = Path(__file__).parents[1] / "golden"
NOISE = np.load(GOLDEN / "images.npz")
PHOTOS = np.load(GOLDEN / "photos.npz")
ORIGINALS = [
    *(("noise", case) for case in sorted(NOISE.files) if case.partition("/")[0] in SCHEMES),
    *(("photo", case) for case in sorted(PHOTOS.files) if case.partition("/")[0] in SCHEMES),
]
sessions: dict[Any, Session] = {}


def session(
    scheme: Scheme,
    size: tuple[int, int],
    *,
    image_size: tuple[int, int] | None = None,
    layout: Layout = "nchw",
    dtype: Any = "float32",
    opset: int = 18,
) -> Session:
    """The preprocessing alone, before a network that tells what it reads as ``y``."""
    key = (scheme.model_dump_json(), size, image_size, layout, dtype, opset)
    if key not in sessions:
        shape = ("batch", 3, *size) if layout == "nchw" else ("batch", *size, 3)
        numbers = Value("input", Type(dtype, shape))
        network = Graph("g", (numbers,), (apply("Identity", numbers, name="y"),))
        graph = with_preprocessing(network, scheme, size, image_size=image_size, layout=layout)
        model = to_proto(graph, ModelFormat(max(opset, latest_form(graph).since)))
        onnx.checker.check_model(model, full_check=True)
        sessions[key] = Session.open(model.SerializeToString(), "cpu", SessionOptions(spinning=False))
    return sessions[key]


def numbers(scheme: Scheme, size: tuple[int, int], image: np.ndarray, **how: Any) -> np.ndarray:
    """What the network reads of one image, ``[H, W, 3]``."""
    made = session(scheme, size, **how).run({"input": image[None]})["y"][0]
    return made.transpose(1, 2, 0) if how.get("layout") != "nhwc" else made


def levels(scheme: Scheme, difference: np.ndarray) -> float:
    """The largest difference in grey levels, of 255."""
    values = scheme.values
    scale = values.divisor * np.array(values.std) if isinstance(values, Normalise) else 1.0
    return float(np.abs(difference * scale).max())


def bound(scheme: Scheme) -> float:
    return GREY_LEVELS_OF_TWO_PASSES if scheme.resize.filter in ("bilinear", "bicubic") else GREY_LEVELS


def photo(name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(PHOTOS[f"photo/{name}"].tobytes())))


@pytest.mark.parametrize(("kind", "case"), ORIGINALS, ids=[case for _, case in ORIGINALS])
def test_the_graph_computes_what_the_original_does(kind: str, case: str) -> None:
    name, image, size = case.split("/")
    height, width = map(int, size.split("x"))
    stride = int(NOISE[f"stride/{size}"]) if kind == "noise" else int(PHOTOS["stride"])
    source = NOISE[f"source/{image}"] if kind == "noise" else photo(image)
    made = numbers(SCHEMES[name], (height, width), source)[::stride, ::stride]
    expected = (NOISE if kind == "noise" else PHOTOS)[case]
    if isinstance(SCHEMES[name].values, Standardise):
        np.testing.assert_allclose(made, expected, rtol=0, atol=2e-6)
    else:
        assert levels(SCHEMES[name], made - expected) <= bound(SCHEMES[name])


@pytest.mark.parametrize("name", ["keras", "caffe"])
@pytest.mark.parametrize("side", [64, 128, 640, 1024, 2, 32, 333])
def test_nearest_pixels_are_pillows_where_two_are_equally_near(name: str, side: int) -> None:
    """Halfway between two pixels Pillow's own sum of steps decides, which no formula gives."""
    ramp = np.random.default_rng(side).integers(0, 256, (side, side // 2 + 1, 3), dtype=np.uint8)
    expected = images.SCHEMES[name](ramp, 224, 299)
    np.testing.assert_allclose(numbers(SCHEMES[name], (224, 299), ramp), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(77, 1_200), (1_200, 77), (33, 31), (2, 200)])
@pytest.mark.parametrize("name", ["torchvision", "timm", "cifar"])
def test_antialiased_filters_are_pillows_passes_over_columns_then_rows(name: str, shape: tuple[int, int]) -> None:
    """Of noise, which overshoots between the passes: Pillow's newer versions take a tall image's rows first."""
    scheme, size = SCHEMES[name], (40, 24)
    noise = np.random.default_rng(4).integers(0, 256, (*shape, 3), dtype=np.uint8)
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[scheme.resize.filter]
    whole = size
    if isinstance(scheme.resize, ShortSide):
        noise = images.preprocess._without_far_ends(noise)
        short = int(40 / scheme.resize.crop)
        whole = tuple(short * side // min(noise.shape[:2]) for side in noise.shape[:2])
    columns = Image.fromarray(noise).resize((whole[1], noise.shape[0]), resample)
    resized = np.asarray(columns.resize((whole[1], whole[0]), resample))
    top, left = (round((side - count) / 2) for side, count in zip(whole, size, strict=True))
    expected = images.SCHEMES[name].normalise(resized[top : top + 40, left : left + 24])
    scale = 1.0 if name != "cifar" else float(resized.std())
    assert levels(scheme, (numbers(scheme, size, noise) - expected) * scale) <= bound(scheme)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_fixed_photographs_other_layouts_and_half_inputs_are_the_same(scheme: Scheme) -> None:
    image, size = photo("chelsea"), (48, 64)
    expected = numbers(scheme, size, image)
    np.testing.assert_array_equal(numbers(scheme, size, image, image_size=(300, 451)), expected)
    np.testing.assert_array_equal(numbers(scheme, size, image, layout="nhwc"), expected)
    half = numbers(scheme, size, image, dtype="float16")
    np.testing.assert_array_equal(half, expected.astype(np.float16))
    made = session(scheme, size).run({"input": np.stack([image, image[::-1]])})["y"]
    np.testing.assert_allclose(made[0].transpose(1, 2, 0), expected, rtol=0, atol=1e-5)
    assert not np.array_equal(made[0], made[1])


@pytest.mark.parametrize("shape", [(1, 8_000), (8_000, 1)])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_strips_keep_their_middle(scheme: Scheme, shape: tuple[int, int]) -> None:
    """Scaled by the short side whole, this one would have 66 million pixels."""
    strip = np.linspace(0, 255, 8_000).astype(np.uint8).reshape(*shape, 1).repeat(3, axis=2)
    expected = images.choose_scheme(scheme, (None, None))(strip, 224, 224)
    scale = 1.0 if isinstance(scheme.values, Normalise) else 80.0
    assert levels(scheme, (numbers(scheme, (224, 224), strip) - expected) * scale) <= bound(scheme)


CUSTOM = {
    "a middle antialiased": Stretch(filter="bicubic", central=0.7),
    "a middle by nearest pixels": Stretch(filter="nearest", central=0.9),
    "the short side as slim, cropped more": ShortSide(filter="legacy_bilinear", crop=0.6),
    "nothing cropped": ShortSide(filter="bilinear", crop=1.0),
}


@pytest.mark.parametrize("resize", CUSTOM.values(), ids=CUSTOM)
@pytest.mark.parametrize("size", [(31, 57), (96, 96)])
def test_a_custom_scheme_is_the_same_on_arrays_and_in_a_graph(
    resize: Stretch | ShortSide, size: tuple[int, int]
) -> None:
    values = Normalise(divisor=2.0, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    scheme = Scheme(resize=resize, values=values, channels="bgr")
    for name in ("chelsea", "coffee"):
        expected = images.choose_scheme(scheme, size)(photo(name), *size)
        assert levels(scheme, numbers(scheme, size, photo(name)) - expected) <= bound(scheme)


def test_what_cannot_be_said_is_refused() -> None:
    scheme = SCHEMES["keras"].replace(resize=ShortSide(filter="nearest", crop=0.875))
    document = tiny_document()
    document["input"]["preprocess"] = {"resize": scheme.resize.model_dump(), "values": {"kind": "standardise"}}
    with pytest.raises(OptionError, match="short side by nearest pixels cannot be part of the model @ preprocess"):
        rc.compile(rc.spec.build_spec(document), rc.CompileOptions(preprocess="model"))


@pytest.mark.parametrize("name", SCHEMES)
def test_only_antialiasing_needs_opset_18(name: str) -> None:
    spec = rc.spec.build_spec(tiny_document())
    options = rc.CompileOptions(preprocess=name, opset=17)
    if SCHEMES[name].resize.filter in ("bilinear", "bicubic"):
        words = r"opset 17 cannot express 'preprocess/Resize', a Resize with antialias @ opset \(opset 18 can\)"
        with pytest.raises(OptionError, match=words):
            rc.compile(spec, options)
        options = options.replace(opset=18)
    onnx.checker.check_model(rc.compile(spec, options).to_proto(), full_check=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"preprocess": "model"},
            r"preprocess must be named, since the spec names no scheme @ preprocess \(one of inception,",
        ),
        ({"preprocess": "vgg16"}, r"preprocess must be one of inception, .*, got 'vgg16' @ preprocess"),
        ({"image_size": (8, 8)}, "is only for models with preprocess"),
        ({"preprocess": "vgg", "size": "dynamic"}, "size must be fixed with preprocess, got dynamic"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        rc.compile(rc.spec.build_spec(tiny_document()), rc.CompileOptions(**options))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("scheme", ["inception", "torchvision", "cifar"])
def test_a_network_of_photographs_gives_the_logits_of_the_numpy_road(scheme: str, layout: Layout, dtype: str) -> None:
    """They differ by no more than one grey level more or less in every pixel makes of them, rounding apart."""
    document = tiny_document()
    document["input"] |= {"height": 64, "width": 48, "preprocess": scheme}
    spec = rc.spec.build_spec(document)
    image = photo("coffee")
    options = rc.CompileOptions(seed=5, layout=layout)
    of_photographs = options.replace(preprocess="model", dtype=dtype)
    model = rc.compile(spec, of_photographs)
    assert model.graph.inputs[0].type == Type("uint8", ("batch", "height", "width", 3))
    made = run(model, image[None])
    source = images.SCHEMES[scheme](image, 64, 48)[None]
    step = np.random.default_rng(1).choice([-1.0, 1.0], source.shape) / 127.5
    plain = rc.compile(spec, options)
    lay = (0, 1, 2, 3) if layout == "nhwc" else (0, 3, 1, 2)
    expected = run(plain, source.transpose(lay))
    moved = run(plain, (source + step).astype(np.float32).transpose(lay))
    allowed = relative_error(moved, expected) + (2e-3 if dtype == "float16" else 1e-5)
    assert relative_error(made, expected) <= allowed


def run(model: Any, x: np.ndarray) -> np.ndarray:
    opened = Session.open(model.to_proto().SerializeToString(), "cpu", SessionOptions(spinning=False))
    return opened.run({"input": np.ascontiguousarray(x)}, ["tiny/logits"])["tiny/logits"]

"""Preprocessing: the numbers of the original systems, and of the definitions."""

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tolerances import GREY_LEVELS, PIXEL

from resnet_compile.errors import OptionError
from resnet_compile.images import SCHEMES, choose_scheme, decode_image, find_scheme, standardise
from resnet_compile.images.resize import Crop, area_resize, legacy_bilinear

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN, PHOTOS = np.load(FOLDER / "images.npz"), np.load(FOLDER / "photos.npz")
CASES = sorted(key for key in GOLDEN.files if key.partition("/")[0] in SCHEMES)
IMAGES = sorted(key.removeprefix("source/") for key in GOLDEN.files if key.startswith("source/"))


def test_golden_data_covers_every_scheme_image_and_size() -> None:
    assert len(IMAGES) == 9
    for scheme in SCHEMES:
        sizes = 1 if scheme == "cifar" else 4
        assert sum(case.startswith(f"{scheme}/") for case in CASES) == len(IMAGES) * sizes


@pytest.mark.parametrize("case", CASES)
def test_scheme_equals_the_original(case: str) -> None:
    scheme, image, size = case.split("/")
    height, width = map(int, size.split("x"))
    source = GOLDEN[f"source/{image}"]
    untouched = source.copy()
    result = find_scheme(scheme)(source, height, width)
    assert result.shape == (height, width, 3)
    assert result.dtype == np.float32
    stride = int(GOLDEN[f"stride/{size}"])
    expected = GOLDEN[case]
    # Half a unit in the last place of the largest values, for processors that fuse multiply and add; standardisation
    # also differs in the order of a sum over all pixels.
    tolerance = 2e-6 if scheme == "cifar" else 1.2e-7 * max(1.0, float(np.abs(expected).max()))
    if scheme == "mlperf":  # OpenCV's weights are of 11 bits where it enlarges, as all of these images have to be
        tolerance = GREY_LEVELS
    np.testing.assert_allclose(result[::stride, ::stride], expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(source, untouched)


@pytest.mark.parametrize(
    ("source", "new"),
    [((1, 1), (3, 4)), ((5, 7), (5, 7)), ((5, 7), (3, 3)), ((4, 9), (11, 5)), ((7, 3), (8, 13)), ((2, 31), (6, 1))],
)
def test_legacy_bilinear_is_its_definition(source: tuple[int, int], new: tuple[int, int]) -> None:
    image = np.random.default_rng(5).integers(0, 256, (*source, 3), dtype=np.uint8)
    expected = np.empty((*new, 3))
    for y in range(new[0]):
        for x in range(new[1]):
            row, column = y * source[0] / new[0], x * source[1] / new[1]
            top, left = int(row), int(column)
            bottom, right = min(top + 1, source[0] - 1), min(left + 1, source[1] - 1)
            down, across = row - top, column - left
            for channel in range(3):
                corner = {(r, c): float(image[r, c, channel]) for r in (top, bottom) for c in (left, right)}
                expected[y, x, channel] = (
                    corner[top, left] * (1 - down) * (1 - across)
                    + corner[top, right] * (1 - down) * across
                    + corner[bottom, left] * down * (1 - across)
                    + corner[bottom, right] * down * across
                )
    result = legacy_bilinear(image, *new)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-4)
    np.testing.assert_allclose(legacy_bilinear(image, *new, scale=1 / 255), expected / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "new"), [((37, 50), (24, 31)), ((9, 7), (30, 22)), ((1, 5), (4, 4)), ((20, 20), (20, 20))]
)
@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_legacy_bilinear_has_the_bits_of_its_formula(
    source: tuple[int, int], new: tuple[int, int], scale: float
) -> None:
    """Pixel by pixel in float32, as TensorFlow goes about it; the image may be a part of a larger one."""
    image = np.random.default_rng(7).integers(0, 256, (source[0] + 3, source[1] + 2, 3), np.uint8)[2:-1, 1:-1]
    single = np.float32
    expected = np.empty((*new, 3), single)
    for place in np.ndindex(*new):
        sides = [single(at) * (single(size) / single(made)) for at, size, made in zip(place, source, new, strict=True)]
        (top, left), (bottom, right) = ([int(edge(side)) for side in sides] for edge in (np.floor, np.ceil))
        bottom, right = min(bottom, source[0] - 1), min(right, source[1] - 1)
        down, across = (side - np.floor(side) for side in sides)
        a, b, c, d = (image[y, x].astype(single) * single(scale) for y in (top, bottom) for x in (left, right))
        upper, lower = a + (b - a) * across, c + (d - c) * across
        expected[place] = upper + (lower - upper) * down
    np.testing.assert_array_equal(legacy_bilinear(image, *new, scale=scale), expected)


@pytest.mark.parametrize(("scheme", "least"), [("inception", 256), ("vgg", 256), ("cifar", 224), ("torchvision", 256)])
def test_large_jpegs_are_decoded_no_smaller_than_the_scheme_needs(scheme: str, least: int, tmp_path: Path) -> None:
    fast = dataclasses.replace(find_scheme(scheme), fast=True)
    assert fast.least_side(224, 224) == least
    smooth = np.linspace(0, 255, 1100 * 2100 * 3).reshape(1100, 2100, 3).astype(np.uint8)
    for size, shape in (((1100, 2100), (275, 525)), ((400, 2100), (400, 2100)), ((600, 600), (300, 300))):
        Image.fromarray(smooth[: size[0], : size[1]]).save(tmp_path / "image.jpg", quality=95)
        image = decode_image(tmp_path / "image.jpg", least_side=fast.least_side(224, 224))
        assert image.shape == (*shape, 3)
        assert decode_image(tmp_path / "image.jpg").shape == (*size, 3)
    Image.fromarray(smooth[:600, :600]).save(tmp_path / "image.png")
    assert decode_image(tmp_path / "image.png", least_side=least).shape == (600, 600, 3)
    assert find_scheme(scheme).least_side(224, 224) is None


def test_legacy_bilinear_window_is_a_crop_of_the_whole() -> None:
    image = np.random.default_rng(6).integers(0, 256, (19, 23, 3), dtype=np.uint8)
    whole = legacy_bilinear(image, 31, 50)
    np.testing.assert_array_equal(legacy_bilinear(image, 31, 50, window=Crop(4, 9, 20, 30)), whole[4:24, 9:39])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1), (2, 9_001)])
def test_strips_are_preprocessed_without_their_millions_of_scaled_pixels(
    scheme: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    resize = Image.Image.resize

    def counted(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        made.append(size[0] * size[1])
        return resize(image, size, resample)

    monkeypatch.setattr(Image.Image, "resize", counted)
    ramp = np.linspace(0, 255, shape[0] * shape[1]).astype(np.uint8).reshape(*shape, 1)
    result = find_scheme(scheme)(np.repeat(ramp, 3, axis=2), 32, 32)
    assert result.shape == (32, 32, 3)
    assert np.isfinite(result).all()
    assert max(made, default=0) <= 64 * 40 * 40


def test_cifar_resizes_images_of_another_size() -> None:
    source = GOLDEN["source/portrait"]
    resized = np.asarray(Image.fromarray(source).resize((24, 32), Image.Resampling.BILINEAR))
    cifar = find_scheme("cifar")
    np.testing.assert_array_equal(cifar(source, 32, 24), cifar(resized, 32, 24))


@pytest.mark.parametrize("scheme", ["torchvision", "timm"])
def test_ends_that_no_crop_shows_do_not_matter(scheme: str) -> None:
    strip = np.random.default_rng(8).integers(0, 256, (2, 1_001, 3), dtype=np.uint8)
    middle = strip[:, 436:565]  # 129 columns about the same centre, just past 64 times the height
    np.testing.assert_array_equal(find_scheme(scheme)(strip, 16, 16), find_scheme(scheme)(middle, 16, 16))


def test_channel_order_and_range_of_pure_colours() -> None:
    red = np.full((40, 40, 3), (255, 0, 0), np.uint8)
    expected = {
        "inception": (1, -1, -1),
        "vgg": (255 - 123.68, -116.78, -103.94),
        "torchvision": ((1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225),
        "timm": (1, -1, -1),
        "keras": (1, -1, -1),
        "caffe": (-103.939, -116.779, 255 - 123.68),
        "cifar": (math.sqrt(2), -math.sqrt(0.5), -math.sqrt(0.5)),
        "mlperf": (255 - 123.68, -116.78, -103.94),
    }
    assert set(expected) == set(SCHEMES)
    for name, colour in expected.items():
        np.testing.assert_allclose(SCHEMES[name](red, 24, 24)[12, 12], colour, rtol=1e-5, err_msg=name)


NORMALISED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inception": lambda x: 2 * (x / 255 - 0.5),
    "vgg": lambda x: x - (123.68, 116.78, 103.94),
    "torchvision": lambda x: (x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225),
    "timm": lambda x: (x / 255 - 0.5) / 0.5,
    "keras": lambda x: x / 127.5 - 1,
    "caffe": lambda x: x[:, :, ::-1] - (103.939, 116.779, 123.68),
    "cifar": lambda x: (x - x.mean()) / x.std(),
    "mlperf": lambda x: x - (123.68, 116.78, 103.94),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_normalising_alone_is_its_definition(scheme: str) -> None:
    image = np.random.default_rng(9).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    expected = NORMALISED[scheme](image.astype(np.float64))
    result = SCHEMES[scheme].normalise(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=PIXEL * max(1.0, np.abs(expected).max()))


def test_standardising_many_images_is_standardising_each() -> None:
    images = np.random.default_rng(10).integers(0, 256, (5, 7, 6, 3), dtype=np.uint8)
    images[2] = 17  # constant
    images[3] = 0
    images[3, 0, 0, 0] = 1  # a deviation below 1 / sqrt(count)
    result = standardise(images)
    for image, standard in zip(images, result, strict=True):
        values = [float(value) for value in image.ravel()]
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        expected = (image - mean) / max(deviation, 1 / math.sqrt(len(values)))
        np.testing.assert_allclose(standard, expected, rtol=0, atol=PIXEL * max(1.0, np.abs(expected).max()))
        np.testing.assert_array_equal(standardise(image), standard)
    assert not result[2].any()


def test_table_is_consistent_and_cannot_be_changed() -> None:
    for name, scheme in SCHEMES.items():
        assert scheme.name == name
        assert scheme.default_size in (32, 224, 299)
        with pytest.raises(dataclasses.FrozenInstanceError):
            scheme.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        SCHEMES["other"] = SCHEMES["vgg"]  # type: ignore[index]


def test_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(OptionError, match=r"preprocess must be one of inception, vgg.*, got 'vgg16'"):
        find_scheme("vgg16")


@pytest.mark.parametrize(
    ("size", "name"),
    [((64, 64), "cifar"), ((64, 65), "inception"), ((65, 64), "inception"), ((None, 32), "inception")],
)
def test_the_default_goes_by_the_size(size: tuple[int | None, int | None], name: str) -> None:
    assert choose_scheme(None, size) is SCHEMES[name]
    assert choose_scheme("vgg", size) is SCHEMES["vgg"]


@pytest.mark.parametrize("case", ["chelsea/224x224", "chelsea/97x161", "coffee/224x224", "coffee/299x299"])
def test_opencvs_area_filter_shrinks_photographs_to_the_same_levels(case: str) -> None:
    name, size = case.split("/")
    height, width = map(int, size.split("x"))
    source = np.asarray(Image.open(io.BytesIO(PHOTOS[f"photo/{name}"].tobytes())))
    stride = int(PHOTOS["stride"])
    result = find_scheme("mlperf")(source, height, width)[::stride, ::stride]
    np.testing.assert_allclose(result, PHOTOS[f"mlperf/{case}"], rtol=0, atol=255 * PIXEL)


def test_area_resize_window_is_a_crop_of_the_whole() -> None:
    image = np.random.default_rng(6).integers(0, 256, (39, 53, 3), dtype=np.uint8)
    whole = area_resize(image, 31, 50)
    np.testing.assert_array_equal(area_resize(image, 31, 50, window=Crop(4, 9, 20, 30)), whole[4:24, 9:39])


def test_area_resize_rounds_halves_up() -> None:
    """As OpenCV's sum of four, of which a quarter is taken after 2 is added; to even they would be 0, 2 and 2."""
    image = np.array([[[0, 1, 2], [1, 2, 3]], [[0, 1, 2], [1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(area_resize(image, 1, 1), [[[1, 2, 3]]])

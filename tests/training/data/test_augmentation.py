"""Augmented images, against the original's numbers and against definitions that take one pixel at a time."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from support.image_data import array_dataset
from support.tolerances import PIXEL

from resnet_compile.errors import OptionError
from resnet_compile.images import SCHEMES, standardise
from resnet_compile.training.data.augmentation import BOX_NUMBERS, padding, random_box, shifted
from resnet_compile.training.data.recipes import ResizedCrop, ShiftedCrop, training_recipe

LAST = math.nextafter(1.0, 0.0)


def numbers_for(top: int, left: int, mirrored: bool) -> list[float]:
    """Numbers that place the crop of a 32x32 image there."""
    return [(top + 0.5) / 5, (left + 0.5) / 5, 0.25 if mirrored else 0.75]


# Of the image with (7 y + 13 x + 50 c + x y) mod 256 at row y, column x, channel c: pixels of TensorFlow 2.15's
# resize_with_crop_or_pad(36, 36), crop_to_bounding_box(top, left, 32, 32), flip_left_right, per_image_standardization.
PIXELS = ((0, 0, 0), (0, 31, 1), (5, 9, 2), (16, 16, 0), (31, 0, 2), (31, 31, 1))
TENSORFLOW = {
    (0, 3, True): (-1.4659363, -1.4659363, 1.467141, -1.2393466, -1.4659363, -0.97499204),
    (4, 0, False): (-1.393414, 1.609834, -0.9855655, -0.80017984, -1.393414, -1.393414),
    (2, 2, False): (-1.7356312, 0.9373540, -1.1793246, -0.86725025, -0.9079556, -0.4466282),
}


def test_pixels_of_the_original() -> None:
    y, x, c = np.indices((32, 32, 3))
    image = ((7 * y + 13 * x + 50 * c + x * y) % 256).astype(np.uint8)
    numbers = np.array([numbers_for(*place) for place in TENSORFLOW])
    result = standardise(shifted(np.stack([image] * len(TENSORFLOW)), numbers, flip=True))
    found = [[float(row[c, y, x]) for y, x, c in PIXELS] for row in result]
    np.testing.assert_allclose(found, list(TENSORFLOW.values()), rtol=0, atol=PIXEL)


def shifted_by_hand(image: np.ndarray, top: int, left: int, mirrored: bool, pads: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: what lies outside the image is zero."""
    height, width, _ = image.shape
    out = np.zeros((3, height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            y = row + top - pads[0]
            x = (width - 1 - column if mirrored else column) + left - pads[1]
            if 0 <= y < height and 0 <= x < width:
                out[:, row, column] = image[y, x]
    return out


@pytest.mark.parametrize(("height", "width", "pads"), [(32, 32, (2, 2)), (48, 20, (3, 1)), (8, 15, (1, 1))])
@pytest.mark.parametrize("flip", [True, False])
def test_crop_then_mirror_pixel_by_pixel(height: int, width: int, pads: tuple[int, int], flip: bool) -> None:
    assert padding(height, width) == pads
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (20, height, width, 3)).astype(np.uint8)
    numbers = rng.random((20, 3))
    numbers[0], numbers[1] = 0, LAST  # the outermost places
    result = shifted(images, numbers, flip=flip)
    for image, (u, v, w), row in zip(images, numbers, result, strict=True):
        top, left = math.floor(u * (2 * pads[0] + 1)), math.floor(v * (2 * pads[1] + 1))
        np.testing.assert_array_equal(row, shifted_by_hand(image, top, left, flip and w < 0.5, pads))


def test_borders_count_in_the_standardisation() -> None:
    """A white image that was moved has black pixels in its mean; standardised before, they would be grey."""
    dataset = array_dataset(1)
    dataset.source.parts[0][:] = 255  # type: ignore[union-attr]
    rows = np.empty((1, 3, 32, 32), np.float32)
    ShiftedCrop(flip=True).fill(dataset, np.array([0]), np.array([numbers_for(0, 2, False)]), rows)
    black = 2 / 32
    deviation = math.sqrt(black * (1 - black))
    np.testing.assert_allclose(rows[0, :, :2], -(1 - black) / deviation, rtol=PIXEL)
    np.testing.assert_allclose(rows[0, :, 2:], black / deviation, rtol=PIXEL)


def box_by_hand(height: int, width: int, numbers: list[float]) -> tuple[int, int, int, int]:
    """Top, left, height and width, as torchvision's RandomResizedCrop finds them, from given numbers."""
    for attempt in range(10):
        area = height * width * (0.08 + numbers[2 * attempt] * (1 - 0.08))
        log_ratio = math.log(3 / 4) + numbers[2 * attempt + 1] * (math.log(4 / 3) - math.log(3 / 4))
        w = round(math.sqrt(area * math.exp(log_ratio)))
        h = round(math.sqrt(area / math.exp(log_ratio)))
        if 0 < w <= width and 0 < h <= height:
            return math.floor(numbers[20] * (height - h + 1)), math.floor(numbers[21] * (width - w + 1)), h, w
    ratio = width / height
    if ratio < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif ratio > 4 / 3:
        w, h = round(height * (4 / 3)), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


units = st.floats(0, LAST)


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    numbers=st.lists(units, min_size=BOX_NUMBERS, max_size=BOX_NUMBERS),
)
@example(height=1, width=30_000, numbers=[LAST] * 22)
@example(height=30_000, width=1, numbers=[LAST] * 22)
@example(height=1, width=1, numbers=[0.0] * 22)
@example(height=224, width=224, numbers=[LAST] * 22)
@example(height=224, width=224, numbers=[LAST] * 20 + [LAST, 0.0])
@example(height=200, width=300, numbers=[0.0, 0.5] + [0.1] * 18 + [LAST, LAST])
def test_box_is_within_the_image_and_of_the_definition(height: int, width: int, numbers: list[float]) -> None:
    top, left, box_height, box_width = random_box(height, width, np.array(numbers))
    assert top >= 0
    assert left >= 0
    assert box_height > 0
    assert box_width > 0
    assert top + box_height <= height
    assert left + box_width <= width
    # The two ways to write the ratio differ in their last bits, which a half may hang on.
    expected = box_by_hand(height, width, numbers)
    assert (top, left, box_height, box_width) == pytest.approx(expected, abs=1)


def test_box_equals_the_definition_over_many_draws() -> None:
    rng = np.random.default_rng(2)
    boxes = []
    for numbers in rng.random((2000, BOX_NUMBERS)):
        box = random_box(300, 400, numbers)
        assert box == box_by_hand(300, 400, list(numbers))
        boxes.append(box)
    heights, widths = np.array(boxes)[:, 2:].T
    share = heights * widths / (300 * 400)
    assert share.min() == pytest.approx(0.08, rel=0.05)
    assert share.max() > 0.95
    ratios = widths / heights
    assert ratios.min() == pytest.approx(3 / 4, rel=0.02)
    assert ratios.max() == pytest.approx(4 / 3, rel=0.02)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("flip", [True, False])
def test_resized_crop_is_a_part_resized_mirrored_and_normalised(scheme: str, flip: bool) -> None:
    dataset = array_dataset(6, 50, 70)
    numbers = np.random.default_rng(3).random((6, BOX_NUMBERS + 1))
    assert {value < 0.5 for value in numbers[:, -1]} == {True, False}
    recipe = ResizedCrop(SCHEMES[scheme], flip)
    assert recipe.numbers == BOX_NUMBERS + 1
    rows = np.empty((6, 3, 24, 20), np.float32)
    recipe.fill(dataset, np.arange(6), numbers, rows)
    for index, drawn in enumerate(numbers):
        top, left, height, width = box_by_hand(50, 70, list(drawn[:-1]))
        part = Image.fromarray(dataset.image(index)).crop((left, top, left + width, top + height))
        part = part.resize((20, 24), Image.Resampling.BILINEAR)
        if flip and drawn[-1] < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        expected = SCHEMES[scheme].normalise(np.asarray(part))
        np.testing.assert_array_equal(rows[index], expected.transpose(2, 0, 1))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_augmentation_is_evaluation(scheme: str) -> None:
    dataset = array_dataset(3, 40, 36)
    recipe, rows = training_recipe(scheme, (32, 32), "none"), np.empty((3, 3, 32, 32), np.float32)
    recipe.fill(dataset, np.arange(3), np.empty((3, recipe.numbers)), rows)
    for index in range(3):
        expected = SCHEMES[scheme](dataset.image(index), 32, 32).transpose(2, 0, 1)
        np.testing.assert_array_equal(rows[index], expected)


def test_recipes_go_with_schemes() -> None:
    assert training_recipe("cifar", (224, 224), "crop-flip") == ShiftedCrop(flip=True)
    assert training_recipe("cifar", (32, 32), "crop") == ShiftedCrop(flip=False)
    assert training_recipe("torchvision", (32, 32), "crop") == ResizedCrop(SCHEMES["torchvision"], flip=False)
    assert training_recipe(None, (32, 64), "crop-flip") == ShiftedCrop(flip=True)
    assert training_recipe(None, (32, 65), "crop-flip") == ResizedCrop(SCHEMES["inception"], flip=True)
    with pytest.raises(OptionError, match="preprocess must be one of"):
        training_recipe("vgg16", (32, 32), "none")


def test_small_images_of_another_size_are_resized_before_they_are_moved() -> None:
    dataset = array_dataset(2, 28, 20)
    rows = np.empty((2, 3, 32, 32), np.float32)
    numbers = np.array([numbers_for(1, 4, True), numbers_for(3, 0, False)])
    ShiftedCrop(flip=True).fill(dataset, np.array([1, 0]), numbers, rows)
    resized = [Image.fromarray(dataset.image(i)).resize((32, 32), Image.Resampling.BILINEAR) for i in (1, 0)]
    expected = standardise(shifted(np.stack([np.asarray(image) for image in resized]), numbers, flip=True))
    np.testing.assert_array_equal(rows, expected)

"""Slices: which boxes they are, whether they cover a tensor, and the keys of their records."""

import itertools
import random

import numpy as np
import pytest
from support.tensorflow_files import CHECKPOINTS, field, number, shape_proto, slice_proto, table_records

from resnet_compile.checkpoints.base import StoredInfo, type_name
from resnet_compile.checkpoints.tensorflow import types as tensorflow_types
from resnet_compile.checkpoints.tensorflow.types import (
    DATA_TYPES,
    Extent,
    box,
    box_shape,
    check_cover,
    data_type,
    read_shape,
    read_slice,
    read_text,
    slice_key,
)
from resnet_compile.errors import CheckpointError
from resnet_compile.wire import Message

FLOAT = DATA_TYPES[1]


def boxes(*extents: tuple[tuple[int, int], ...]) -> list[tuple[slice, ...]]:
    """Boxes from a start and a stop per axis."""
    return [tuple(slice(*axis) for axis in axes) for axes in extents]


def test_every_type_is_one_that_stored_info_knows() -> None:
    for row in DATA_TYPES.values():
        expected = None if row.hasobject else 6 * row.itemsize
        assert StoredInfo(type_name(row), (2, 3)).nbytes == expected


@pytest.mark.parametrize("unknown", [-1, 0, 20, 21, 26, 31, 101, 1 << 40])
def test_type_that_is_no_array(unknown: int) -> None:
    with pytest.raises(CheckpointError, match="data type"):
        data_type(unknown, CheckpointError)


def test_shape_is_read() -> None:
    assert read_shape(Message(shape_proto([3, 0, 1 << 40]), CheckpointError), CheckpointError) == (3, 0, 1 << 40)
    assert read_shape(Message(b"", CheckpointError), CheckpointError) == ()


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (number(3, 1), "rank is unknown"),
        (b"\xff" * 20, "never ends"),
    ],
)
def test_impossible_shape(shape: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read_shape(Message(shape, CheckpointError), CheckpointError)


@pytest.mark.parametrize("name", [None, b"", b"\xff\xfe", b"n" * 5000])
def test_impossible_name(name: bytes | None) -> None:
    with pytest.raises(CheckpointError, match="name"):
        read_text(name, CheckpointError)


def test_slice_is_read_as_a_box() -> None:
    part = read_slice(Message(slice_proto([(0, -1), (2, 3), (0, 7)]), CheckpointError))
    assert part == ((0, -1), (2, 3), (0, 7))
    index = box(part, (4, 5, 7), CheckpointError)
    assert index == (slice(0, 4), slice(2, 5), slice(0, 7))
    assert box_shape(index) == (4, 3, 7)


@pytest.mark.parametrize(
    "part",
    [
        [(0, 1)],
        [(0, 1), (0, 1), (0, 1)],
        [(0, -1), (0, 6)],
        [(0, -1), (5, 1)],
        [(0, -1), (3, 3)],
        [(0, -1), (-1, 2)],
        [(0, -1), (0, 0)],
        [(0, -1), (0, -2)],
        [(1, -1), (0, -1)],
        [(0, -1), (1 << 62, 1 << 62)],
    ],
)
def test_slice_outside_its_tensor(part: list[tuple[int, int]]) -> None:
    with pytest.raises(CheckpointError, match="slice"):
        box(tuple(Extent(*extent) for extent in part), (4, 5), CheckpointError)


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((), [()]),
        ((0, 5), [((0, 0), (0, 5))]),
        ((4,), [((0, 4),)]),
        ((4,), [((2, 4),), ((0, 2),)]),
        ((4, 4), [((0, 2), (0, 4)), ((2, 4), (0, 1)), ((2, 4), (1, 4))]),
        # A pinwheel, which no straight cut divides.
        (
            (3, 3),
            [((0, 1), (0, 2)), ((0, 2), (2, 3)), ((2, 3), (1, 3)), ((1, 3), (0, 1)), ((1, 2), (1, 2))],
        ),
    ],
)
def test_cover(shape: tuple[int, ...], parts: list) -> None:
    check_cover(boxes(*parts), shape, CheckpointError)


@pytest.mark.parametrize(
    ("shape", "parts", "reason"),
    [
        ((), [], "missing"),
        ((), [(), ()], "overlap"),
        ((4,), [], "missing"),
        ((0, 5), [], "missing"),
        ((0, 5), [((0, 0), (0, 5))] * 2, "overlap"),
        ((4,), [((0, 2),)], "missing"),
        ((4,), [((0, 2),), ((3, 4),)], "missing"),
        ((4,), [((0, 2),), ((0, 2),)], "overlap"),
        ((4,), [((0, 3),), ((2, 4),)], "overlap"),
        ((4, 4), [((0, 4), (0, 2)), ((0, 4), (1, 3))], "overlap"),
        ((4, 4), [((0, 1), (0, 4)), ((3, 4), (0, 4))], "missing"),
        ((1 << 31, 1 << 30), [((0, 1 << 31), (0, 1))], "missing"),
    ],
)
def test_no_cover(shape: tuple[int, ...], parts: list, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        check_cover(boxes(*parts), shape, CheckpointError)


def test_cover_agrees_with_counting_every_element() -> None:
    """Random boxes over small tensors against the definition: every element in exactly one of them."""
    rng = random.Random(1)
    verdicts = {True: 0, False: 0}
    for _ in range(600):
        shape = tuple(rng.randint(1, 3) for _ in range(rng.randint(1, 3)))
        cuts = [sorted({0, axis, *(rng.randint(0, axis) for _ in range(2))}) for axis in shape]
        grid = [tuple(itertools.pairwise(cut)) for cut in cuts]
        parts = list(itertools.product(*grid))
        rng.shuffle(parts)
        if rng.random() < 0.5:
            parts[rng.randrange(len(parts))] = tuple(rng.choice(axis) for axis in grid)
        if rng.random() < 0.1:
            parts.pop()
        counts = np.zeros(shape, int)
        for index in boxes(*parts):
            counts[index] += 1
        covers = bool(np.all(counts == 1))
        verdicts[covers] += 1
        if covers:
            check_cover(boxes(*parts), shape, CheckpointError)
        else:
            with pytest.raises(CheckpointError):
                check_cover(boxes(*parts), shape, CheckpointError)
    assert min(verdicts.values()) > 100


def test_number_of_slices_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow_types, "MAX_SLICES", 4)
    parts = boxes(*(((at, at + 1),) for at in range(5)))
    check_cover(parts[:4], (4,), CheckpointError)
    with pytest.raises(CheckpointError, match="more than 4"):
        check_cover(parts, (5,), CheckpointError)


def test_keys_are_those_that_tensorflow_wrote() -> None:
    """Every record of a V1 fixture says its name and slice, which must give its key."""
    count = 0
    for fixture in ("dt1", "part1", "extra1", "cross1-00001-of-00002", "shard1-00002-of-00003"):
        for key, value in table_records((CHECKPOINTS / fixture).read_bytes()):
            if key:
                saved = Message(value, CheckpointError).message(2)
                assert slice_key(read_text(saved.bytes(1), CheckpointError), read_slice(saved.message(2))) == key
                count += 1
    assert count == 17 + 6 + 19 + 2 + 4


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0, "80"),
        (63, "bf"),
        (64, "c040"),
        (257, "c101"),
        (8191, "dfff"),
        (8192, "e02000"),
        (1_048_575, "efffff"),
        (1_048_576, "f0100000"),
        (-1, "7f"),
        (-64, "40"),
        (-65, "3fbf"),
        ((1 << 62) - 1, "ffbfffffffffffffff"),
        (1 << 62, "ffc04000000000000000"),
    ],
)
def test_code_of_a_number(number: int, code: str) -> None:
    """As TensorFlow 2.15 wrote them for slices that start there; the negative ones follow from -1."""
    assert slice_key("n", (Extent(number, 0),)).hex() == f"006e00010101{code}80"


def test_code_keeps_the_order_of_numbers() -> None:
    numbers = sorted({sign * (1 << power) + shift for power in range(63) for shift in (-1, 0, 1) for sign in (1, -1)})
    keys = [slice_key("n", (Extent(number, 0),)) for number in numbers]
    assert keys == sorted(keys)


def test_zero_in_a_name_is_escaped() -> None:
    assert slice_key("a\0b", ()) == b"\0a\0\xffb\0\1\0"


def test_extent_without_length_is_the_whole_axis() -> None:
    assert read_slice(Message(field(1, b"") + field(1, number(2, 4)), CheckpointError)) == ((0, -1), (0, 4))

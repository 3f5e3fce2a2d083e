"""The stream of batches: which images, whatever the threads, wherever it begins, and what ends it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.image_data import array_dataset, write_image
from support.tolerances import PIXEL

from resnet_compile.errors import DataError, OptionError
from resnet_compile.training.data import Batch, Dataset, open_dataset, training_batches
from resnet_compile.training.data.dataset import ImageFiles


def take(dataset: Dataset, count: int, *, batch: int = 4, size: tuple[int, int] = (32, 32), **options) -> list[Batch]:
    given: dict = {"scheme": "cifar", "augmentation": "crop-flip", "seed": 7, **options}
    with training_batches(dataset, batch=batch, size=size, **given) as batches:
        return list(islice(batches, count))


def assert_equal(batch: Batch, other: Batch) -> None:
    np.testing.assert_array_equal(batch.images, other.images)
    np.testing.assert_array_equal(batch.labels, other.labels)
    assert (batch.step, batch.epoch) == (other.step, other.epoch)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 9), batch=st.integers(1, 21), seed=st.integers(0, 2**64), data=st.data())
def test_every_epoch_has_each_image_once(count: int, batch: int, seed: int, data: st.DataObject) -> None:
    dataset = array_dataset(count, 4, 4)
    steps = -(-3 * count // batch) + 1
    batches = take(dataset, steps, batch=batch, size=(4, 4), seed=seed, workers=1)
    for step, made in enumerate(batches):
        assert made.images.shape == (batch, 3, 4, 4)
        assert made.images.dtype == np.float32
        assert made.labels.dtype == np.int64
        assert made.step == step
        assert made.epoch == step * batch // count
    stream = np.concatenate([made.labels for made in batches])
    for epoch in range(3):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))
    # Wherever it is taken up, it goes on the same way.
    first = data.draw(st.integers(0, steps - 1))
    again = take(dataset, steps - first, batch=batch, size=(4, 4), seed=seed, first_step=first, workers=2)
    for made, other in zip(again, batches[first:], strict=True):
        assert_equal(made, other)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    dataset = array_dataset(30, 4, 4)
    orders = [tuple(made.labels) for seed in (1, 2, -1) for made in take(dataset, 3, batch=30, size=(4, 4), seed=seed)]
    assert len(set(orders)) == 9
    assert tuple(range(30)) not in orders


@pytest.mark.parametrize("scheme", ["cifar", "torchvision"])
@pytest.mark.parametrize("augmentation", ["crop-flip", "crop", "none"])
def test_batches_do_not_depend_on_the_threads(scheme: str, augmentation: str) -> None:
    dataset = array_dataset(11, 20, 24)
    options = {"scheme": scheme, "augmentation": augmentation, "size": (16, 16)}
    alone = take(dataset, 6, workers=1, **options)
    for workers in (2, 3, 7, None):
        for made, other in zip(take(dataset, 6, workers=workers, **options), alone, strict=True):
            assert_equal(made, other)


def test_rows_are_the_images_of_their_labels_moved_and_mirrored_at_random() -> None:
    """Every row has to be one of the fifty images that the original could have made, and all fifty have to come."""
    dataset = array_dataset(6)
    variants = []
    for index in range(6):
        padded = np.zeros((36, 36, 3))
        padded[2:34, 2:34] = dataset.image(index)
        crops = [padded[top : top + 32, left : left + 32] for top in range(5) for left in range(5)]
        crops += [crop[:, ::-1] for crop in crops]
        variants.append([((crop - crop.mean()) / crop.std()).transpose(2, 0, 1) for crop in crops])
    seen: Counter[int] = Counter()
    for made in take(dataset, 250, batch=8):
        for label, image in zip(made.labels, made.images, strict=True):
            distance = [np.abs(image - variant).max() for variant in variants[label]]
            assert min(distance) < PIXEL * 10
            seen[int(np.argmin(distance))] += 1
    assert set(seen) == set(range(50))
    # 2,000 draws: 40 of each, give or take 6; 1,000 mirrored, give or take 22.
    assert max(seen.values()) < 40 + 6 * 6
    assert abs(sum(number for variant, number in seen.items() if variant >= 25) - 1000) < 6 * 22


def test_crop_alone_mirrors_nothing_and_crops_the_same() -> None:
    dataset = array_dataset(5)
    both, crop = (take(dataset, 8, augmentation=augmentation) for augmentation in ("crop-flip", "crop"))
    same = [
        np.array_equal(a, b) for x, y in zip(both, crop, strict=True) for a, b in zip(x.images, y.images, strict=True)
    ]
    mirrored = [
        np.array_equal(a, b[:, :, ::-1])
        for x, y in zip(both, crop, strict=True)
        for a, b in zip(x.images, y.images, strict=True)
    ]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 0 < sum(mirrored) < len(mirrored)


def test_batches_have_memory_of_their_own() -> None:
    first, second = take(array_dataset(4), 2)
    assert first.images.flags.owndata
    assert not np.shares_memory(first.images, second.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"first_step": -1}, "first_step must be at least 0, got -1"),
        ({"scheme": "cifar10"}, "preprocess must be one of .*, got 'cifar10'"),
    ],
)
def test_arguments_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        take(array_dataset(2), 1, **options)


def test_image_tree_of_mixed_sizes_whatever_the_threads(tmp_path: Path) -> None:
    for number in range(9):
        write_image(tmp_path / "train" / str(number) / "1.png", 9 + 7 * number, 60 - 5 * number, number)
    dataset = open_dataset(tmp_path, "train", num_classes=9)
    for scheme in ("cifar", "inception"):
        alone = take(dataset, 5, scheme=scheme, workers=1)
        assert alone[0].images.shape == (4, 3, 32, 32)
        for made, other in zip(take(dataset, 5, scheme=scheme, workers=4), alone, strict=True):
            assert_equal(made, other)


def test_error_comes_out_at_the_step_of_its_image(tmp_path: Path) -> None:
    for number in range(20):
        write_image(tmp_path / "train" / f"{number:02}" / "1.png", 8, 8, number)
    dataset = open_dataset(tmp_path, "train", num_classes=20)
    right = take(dataset, 10, batch=2, size=(8, 8))
    bad = int(right[6].labels[1])
    (tmp_path / "train" / f"{bad:02}" / "1.png").write_bytes(b"")
    with training_batches(
        dataset, batch=2, size=(8, 8), scheme="cifar", augmentation="crop-flip", seed=7, workers=3
    ) as batches:
        for made, other in zip(islice(batches, 6), right, strict=False):
            assert_equal(made, other)
        with pytest.raises(DataError, match=rf"not an image of a known format @ .*/{bad:02}/1\.png"):
            next(batches)
    assert not data_threads()


def data_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("data")]


@dataclass(frozen=True, eq=False)
class Counted(ImageFiles):
    """Counts what is decoded, and waits before each image but the first `free` until it is let go."""

    free: int
    go: threading.Event = field(default_factory=threading.Event)
    begun: list[int] = field(default_factory=list)

    def image(self, index: int) -> np.ndarray:
        self.begun.append(index)
        if len(self.begun) > self.free:
            self.go.wait(60)
        return np.zeros((4, 4, 3), np.uint8)


def counted(count: int, free: int) -> tuple[Dataset, Counted]:
    source = Counted((Path(),) * count, free)
    return Dataset("counted", (), np.arange(count), tuple(map(str, range(count))), source), source


def prepared(dataset: Dataset, *, batch: int, workers: int) -> AbstractContextManager[Iterator[Batch]]:
    options: dict = {"scheme": "cifar", "augmentation": "none", "seed": 0}
    return training_batches(dataset, batch=batch, size=(4, 4), workers=workers, **options)


def test_a_few_batches_are_made_ahead_and_no_more() -> None:
    dataset, source = counted(1000, free=1000)
    with prepared(dataset, batch=5, workers=3) as batches:
        for step in range(20):
            next(batches)
            assert 5 * (step + 1) <= len(source.begun) <= 5 * (step + 3)
    assert not data_threads()


def wait_until_begun(source: Counted, count: int) -> None:
    """Fails instead of waiting for ever."""
    give_up = time.monotonic() + 60
    while len(source.begun) < count:
        assert time.monotonic() < give_up
        time.sleep(0.001)


def test_leaving_starts_no_other_image_and_waits_for_those_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, source = counted(1000, free=5)
    shutdown = ThreadPoolExecutor.shutdown

    def let_go_once_cancelled(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        source.go.set()
        shutdown(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", let_go_once_cancelled)

    def consume_and_fail() -> None:
        with prepared(dataset, batch=5, workers=2) as batches:
            next(batches)
            wait_until_begun(source, 7)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume_and_fail()
    assert len(source.begun) == 7
    assert not data_threads()


def test_two_more_batches_are_made_while_one_is_in_use() -> None:
    dataset, source = counted(100, free=100)
    with prepared(dataset, batch=4, workers=2) as batches:
        next(batches)
        wait_until_begun(source, 12)
    assert len({*source.begun}) == len(source.begun) == 12


def test_iterator_ends_with_its_threads() -> None:
    with training_batches(
        array_dataset(3), batch=2, size=(32, 32), scheme=None, augmentation="crop", seed=0
    ) as batches:
        next(batches)
    assert next(batches, None) is None
    assert not data_threads()

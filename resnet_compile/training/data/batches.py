"""Batches: which images, with which random numbers, prepared on threads ahead of the step that wants them.

The training stream is a sequence of epochs. Each epoch is a permutation of all images, drawn from the seed and the
epoch's number. Batches are cut from the stream and may span two epochs. The random numbers of a batch are drawn from
the seed and the step's number, so a batch does not depend on earlier ones. numpy guarantees a generator's stream only
within one of its versions.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from os import cpu_count

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import OptionError
from resnet_compile.schemes import Scheme
from resnet_compile.training.data.augmentation import Numbers
from resnet_compile.training.data.dataset import Dataset, ImageFiles
from resnet_compile.training.data.recipes import Recipe, training_recipe
from resnet_compile.training.options import Augmentation

# Batches in the making besides the one that is in use.
_AHEAD = 2


@dataclass(frozen=True, eq=False)
class Batch:
    """Images and their classes.

    Attributes:
        images: float32 ``[N, 3, H, W]``, the batch's own memory.
        labels: int64 ``[N]``.
        step: The batch's number, from 0.
        epoch: The epoch of its first image, from 0.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    step: int
    epoch: int


@dataclass(frozen=True, eq=False)
class _Order:
    """A batch whose images are not prepared yet."""

    step: int
    epoch: int
    indices: NDArray[np.int64]
    numbers: Numbers


def training_batches(
    dataset: Dataset,
    *,
    batch: int,
    size: tuple[int, int],
    scheme: str | Scheme | None,
    augmentation: Augmentation,
    seed: int,
    first_step: int = 0,
    workers: int | None = None,
) -> AbstractContextManager[Iterator[Batch]]:
    """Batches without end; batch `t` is the same whatever came before it and however many threads make it.

    Args:
        dataset: The training images.
        batch: Images in a batch; may be more than there are.
        size: Height and width of the network's input.
        scheme: Preprocessing scheme; None as in `images.choose_scheme`. Its augmentation is `training_recipe`'s.
        augmentation: The random changes of an image.
        seed: Seed of the order and of the augmentation.
        first_step: Number of the first batch.
        workers: Threads; one a core by default.

    Returns:
        A context manager that gives the iterator; leaving it ends the threads, and the iterator with them.

    Raises:
        OptionError: An argument is out of range or there is no such scheme.
        DataError: From the iterator, at the step whose image cannot be decoded.
    """
    recipe = training_recipe(scheme, size, augmentation)
    _at_least("batch", batch, 1)
    _at_least("first_step", first_step, 0)
    permutation = lru_cache(maxsize=2)(lambda epoch: _generator(seed, "order", epoch).permutation(len(dataset)))

    def order(step: int) -> _Order:
        epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), len(dataset))
        indices = np.empty(batch, np.int64)
        for epoch in np.unique(epochs):
            indices[epochs == epoch] = permutation(int(epoch))[places[epochs == epoch]]
        numbers = _generator(seed, "augmentation", step).random((batch, recipe.numbers))
        return _Order(step, int(epochs[0]), indices, numbers)

    return _batches(dataset, recipe, size, _threads(workers), map(order, count(first_step)))


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise OptionError(f"{name} must be at least {least}, got {value}")


def _threads(workers: int | None) -> int:
    if workers is None:
        return cpu_count() or 1
    _at_least("workers", workers, 1)
    return workers


def _generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{number}".encode()).digest()
    return np.random.Generator(np.random.SFC64(np.frombuffer(digest, "<u4")))


@contextmanager
def _batches(
    dataset: Dataset, recipe: Recipe, size: tuple[int, int], threads: int, orders: Iterator[_Order]
) -> Iterator[Iterator[Batch]]:
    """Prepares the ordered batches on threads, a few ahead, and yields them in order."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="data")

    def begun(order: _Order) -> tuple[Batch, list[Future[None]]]:
        """A batch, and the work that fills it."""
        count = len(order.indices)
        images = np.empty((count, 3, *size), np.float32)
        # Decoding a file takes milliseconds, an image that lies in memory some microseconds.
        share = 1 if isinstance(dataset.source, ImageFiles) else -(-count // threads)
        parts = []
        for start in range(0, count, share):
            rows = slice(start, start + share)
            parts.append(pool.submit(recipe.fill, dataset, order.indices[rows], order.numbers[rows], images[rows]))
        return Batch(images, dataset.labels[order.indices], order.step, order.epoch), parts

    def in_turn() -> Generator[Batch, None, None]:
        """Each batch when it is ready, with the next ones begun; an image's error comes out in its batch's turn."""
        pending = deque(map(begun, islice(orders, _AHEAD)))
        while pending:
            batch, parts = pending.popleft()
            for part in parts:
                part.result()
            pending.extend(map(begun, islice(orders, 1)))
            yield batch

    made = in_turn()
    try:
        yield made
    finally:
        made.close()
        # What has not begun never does; what has is an image, or a share of a batch of small ones, a thread.
        pool.shutdown(cancel_futures=True)

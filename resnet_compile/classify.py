"""Runs image files through a network in batches and returns its outputs or class probabilities."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ImageError, OptionError, ResnetCompileError
from resnet_compile.images import Preprocessing, decode_image
from resnet_compile.metadata import Metadata
from resnet_compile.plan import plan_network
from resnet_compile.plan.names import resolve_model_outputs
from resnet_compile.runtime import ImageInput, Session, TensorInfo, image_input
from resnet_compile.spec import parse_spec

DEFAULT_BATCH = 8
# How far the sum of a thousand probabilities in float16 or 8 bits may be from 1.
_SUM_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Computed:
    """The network's outputs for some images.

    Attributes:
        positions: The position of each image in the caller's list.
        paths: The path of each image.
        outputs: An array for each output, with one row per image.
    """

    positions: tuple[int, ...]
    paths: tuple[str, ...]
    outputs: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be read, and its position in the caller's list."""

    position: int
    path: str
    error: ImageError


def resolve_names(session: Session, words: Sequence[str]) -> tuple[str, ...]:
    """The model's outputs that the words select. The words are those of ``resnet-compile --outputs``.

    Raises:
        OptionError: The model has no such output.
    """
    if all(word in session.outputs for word in words):
        return tuple(words)
    spec = Metadata.from_entries(session.metadata).spec
    return resolve_model_outputs(session.outputs, words, plan_network(parse_spec(spec)) if spec else None)


def run_images(
    session: Session,
    images: Iterable[str | os.PathLike[str] | NDArray[np.uint8]],
    preprocessing: Preprocessing,
    *,
    outputs: Sequence[str] | None = None,
    batch: int | None = None,
    workers: int | None = None,
) -> Iterator[Computed | Skipped]:
    """Runs images through the network, in order.

    A model that preprocesses by itself gets the photographs as they are; an image of another size starts a new batch.

    Threads decode and preprocess the next two batches while the network computes. If the model's height and width are
    dynamic, images get the preprocessing scheme's default size. If its batch size is fixed, copies fill the last batch,
    and their results are dropped.

    Args:
        session: The network.
        images: Image files, or pixels ``[H, W, 3]``. An array's name is its position.
        preprocessing: The scheme that the network was trained with; unused for a model that preprocesses by itself.
        outputs: Names of the outputs to compute; all by default.
        batch: Images at a time; by default the model's batch size, or 8 if that is dynamic.
        workers: Threads that decode; by default one per core, but at most four.

    Yields:
        A `Computed` for each run of the network, and a `Skipped` for each image that cannot be read.

    Raises:
        ModelFileError: The model does not take RGB images.
        OptionError: The model has another batch size, or no such output.
        ResnetCompileError: A run failed.
    """
    source = image_input(session, channels=3)
    size = source.batch_size(batch, DEFAULT_BATCH)
    workers = workers or min(4, os.cpu_count() or 1)
    prepared = _ahead(Preparation(source, preprocessing), _named(images), workers, 2 * size)
    yield from run_prepared(session, source, ((at, *each) for at, each in enumerate(prepared)), size, outputs)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Makes a model's input from an image.

    Attributes:
        source: The model's image input.
        preprocessing: The scheme that the network was trained with; unused for a model that preprocesses by itself.
    """

    source: ImageInput
    preprocessing: Preprocessing

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of a prepared image, unless the model takes photographs."""
        return self.source.size((self.preprocessing.default_size,) * 2)

    def __call__(self, name: str, image: str | bytes | NDArray[np.uint8]) -> NDArray[Any] | ImageError:
        """Prepares a file, a file's bytes or pixels ``[H, W, 3]``; returns the error of what cannot be read."""
        try:
            if self.source.takes_photographs:
                return self.source.photograph(_pixels(image), name)
            return self.preprocessing(_pixels(image, self.preprocessing.least_side(*self.size)), *self.size)
        except ImageError as error:
            return error


def _pixels(image: str | bytes | NDArray[np.uint8], least_side: int | None = None) -> NDArray[np.uint8]:
    return image if isinstance(image, np.ndarray) else decode_image(image, least_side=least_side)


def run_prepared(
    session: Session,
    source: ImageInput,
    images: Iterable[tuple[int, str, NDArray[Any] | ImageError]],
    size: int,
    outputs: Sequence[str] | None,
) -> Iterator[Computed | Skipped]:
    """Runs images that a `Preparation` has made, each with its position and name; the rest is as for `run_images`."""
    ready: list[tuple[int, str, NDArray[Any]]] = []
    for position, path, prepared in images:
        if isinstance(prepared, ImageError):
            yield Skipped(position, path, prepared)
            continue
        if ready and ready[0][2].shape != prepared.shape:
            yield _run(session, source, ready, outputs)
            ready = []
        ready.append((position, path, prepared))
        if len(ready) == size:
            yield _run(session, source, ready, outputs)
            ready = []
    if ready:
        yield _run(session, source, ready, outputs)


_Named = tuple[str, str | NDArray[np.uint8]]


def _named(images: Iterable[str | os.PathLike[str] | NDArray[np.uint8]]) -> Iterator[_Named]:
    """The name of each image, and its pixels or its file."""
    for position, image in enumerate(images):
        yield (f"image {position}", image) if isinstance(image, np.ndarray) else (os.fspath(image),) * 2


def _ahead(
    prepare: Preparation,
    images: Iterator[_Named],
    workers: int,
    count: int,
) -> Iterator[tuple[str, NDArray[Any] | ImageError]]:
    """Prepares images on threads, at most `count` ahead of the consumer, and gives them in order."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        pending: deque[tuple[str, Future[NDArray[Any] | ImageError]]] = deque()
        pending.extend((each[0], pool.submit(prepare, *each)) for each in islice(images, count))
        while pending:
            path, future = pending.popleft()
            prepared = future.result()
            pending.extend((each[0], pool.submit(prepare, *each)) for each in islice(images, 1))
            yield path, prepared
    finally:
        pool.shutdown(cancel_futures=True)


def _run(
    session: Session, source: ImageInput, ready: list[tuple[int, str, NDArray[Any]]], outputs: Sequence[str] | None
) -> Computed:
    positions, paths, rows = zip(*ready, strict=True)
    computed = session.run(source.feed(source.laid_out(np.stack(rows))), outputs)
    for name, array in computed.items():
        if array.ndim == 0 or len(array) != (source.batch or len(rows)):
            raise OptionError(f"output {name!r} has no row for each image: its shape is {array.shape}")
    return Computed(positions, paths, {name: array[: len(rows)] for name, array in computed.items()})


def classification_output(session: Session) -> str:
    """The output that classifies: ``predictions``, else ``logits``, else the model's only output.

    The first two are found with or without the network's name before them.

    Raises:
        OptionError: The model has none of these.
    """
    for wanted in ("predictions", "logits"):
        for name in session.outputs:
            if name.rpartition("/")[2] == wanted:
                return name
    if len(session.outputs) == 1:
        return next(iter(session.outputs))
    raise OptionError("the model has no output 'predictions' or 'logits'", hint="name outputs to save with --outputs")


def probabilities(name: str, values: NDArray[Any], *, softmax: bool = False) -> NDArray[np.float64]:
    """Class probabilities from the classification output's values.

    Args:
        name: The output's name, for errors.
        values: ``[N, C]``; further axes of size 1 are dropped.
        softmax: Whether the values are known to come from a softmax (`ModelInterface.softmaxes`). If they are not, they
            still count as probabilities if none is negative and each row sums to 1; otherwise a softmax is applied.

    Returns:
        float64 ``[N, C]``.

    Raises:
        OptionError: The output has rows and columns.
        ResnetCompileError: A value is not finite.
    """
    if values.size != len(values) * max(values.shape[1:], default=1):
        info = TensorInfo(name, values.dtype.name, values.shape)
        raise OptionError(f"{info} is a map, not one row of classes an image", hint="save it with --outputs and -o")
    scores = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(scores).all():
        raise ResnetCompileError(f"output {name!r} is not finite")
    sums = scores.sum(axis=1)
    if softmax or (scores.min(initial=0) >= 0 and np.allclose(sums, 1, rtol=0, atol=_SUM_TOLERANCE)):
        return scores
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float64)


def top_classes(row: NDArray[np.float64], count: int) -> list[tuple[int, float]]:
    """The most probable classes of one image as (index, probability), best first; ties in order of index."""
    best = np.argsort(-row, kind="stable")[:count]
    return [(int(index), float(row[index])) for index in best]

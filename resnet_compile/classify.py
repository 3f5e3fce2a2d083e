"""Image files through a network: decoding beside inference, in batches, to named outputs and to classes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.errors import ImageError, ModelFileError, OptionError, ResnetCompileError
from resnet_compile.images import Preprocessing, decode_image
from resnet_compile.runtime import Session, TensorInfo

LAYOUT_KEY = "resnet_compile.layout"
PREPROCESS_KEY = "resnet_compile.preprocess"
_DEFAULT_BATCH = 8


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The one input of an image network.

    Attributes:
        name: Its name in the graph.
        dtype: As NumPy calls it.
        batch: Images at a time; None where the model leaves it open.
        height: Rows; None where the model leaves them open.
        width: Columns; None where the model leaves them open.
        channels_last: NHWC rather than NCHW.
    """

    name: str
    dtype: str
    batch: int | None
    height: int | None
    width: int | None
    channels_last: bool


@dataclass(frozen=True, slots=True)
class Computed:
    """What the network computed for some images: for each output an array with a row for each of `paths`.

    `positions` tells where each of them stood among the paths asked for.
    """

    positions: tuple[int, ...]
    paths: tuple[str, ...]
    outputs: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that could not be read, and where it stood among the paths asked for."""

    position: int
    path: str
    error: ImageError


def image_input(session: Session) -> ImageInput:
    """How the model takes images: by its metadata where this package wrote it, else by where the axis of 3 stands.

    Raises:
        ModelFileError: It does not take RGB images.
    """
    infos = list(session.inputs.values())
    if len(infos) != 1:
        raise ModelFileError(f"not an image network: it has {len(infos)} inputs, not one")
    info = infos[0]
    shape = info.shape
    if len(shape) != 4 or not info.dtype.startswith("float"):
        raise ModelFileError(f"not an image network: its input is {info}")
    layout = session.metadata.get(LAYOUT_KEY, "nhwc" if shape[3] == 3 and shape[1] != 3 else "nchw")
    channels_last = layout == "nhwc"
    channels = shape[3 if channels_last else 1]
    if channels != 3:
        raise ModelFileError(f"the network takes {channels} channels and images have 3: its input is {info}")
    rows, columns = shape[1:3] if channels_last else shape[2:]
    return ImageInput(info.name, info.dtype, _fixed(shape[0]), _fixed(rows), _fixed(columns), channels_last)


def _fixed(axis: int | str | None) -> int | None:
    return axis if isinstance(axis, int) else None


def resolve_names(session: Session, names: Sequence[str]) -> list[str]:
    """The model's outputs of these names, each with or without the network's name before its first slash.

    Raises:
        OptionError: The model has no such output, or several.
    """
    resolved = []
    for name in names:
        matches = [name] if name in session.outputs else [full for full in session.outputs if full.endswith(f"/{name}")]
        if len(matches) != 1:
            fault = "has no output" if not matches else "has several outputs"
            raise OptionError(f"the model {fault} {name!r}", hint=f"it has {', '.join(session.outputs)}")
        resolved.append(matches[0])
    return resolved


def run_images(
    session: Session,
    paths: Iterable[str | os.PathLike[str]],
    preprocessing: Preprocessing,
    *,
    outputs: Sequence[str] | None = None,
    batch: int | None = None,
    workers: int | None = None,
) -> Iterator[Computed | Skipped]:
    """Runs images through the network, in order; what cannot be read is told as soon as that is known.

    Threads decode and preprocess the next two batches while the network computes. Where the model leaves the height and
    width open, the preprocessing scheme's default size is used. A last batch that is too small for a model of fixed
    batch size is filled up with zeros, of which nothing comes back.

    Args:
        session: The network.
        paths: Image files.
        preprocessing: The scheme that the network was trained with.
        outputs: Names of the outputs to compute; all by default.
        batch: Images at a time; by default the model's own number, or 8 where it leaves that open.
        workers: Threads that decode; one a core, four at most, by default.

    Yields:
        A `Computed` for each run of the network, and a `Skipped` for each image that cannot be read.

    Raises:
        ModelFileError: The model does not take RGB images.
        OptionError: The model has another batch size, or no such output.
        ResnetCompileError: A run failed.
    """
    source = image_input(session)
    size = batch or source.batch or _DEFAULT_BATCH
    if source.batch not in (None, size):
        raise OptionError(f"the model takes {source.batch} images at a time, not {size}")
    height, width = (side or preprocessing.default_size for side in (source.height, source.width))

    def prepare(path: str) -> NDArray[Any] | ImageError:
        try:
            pixels = preprocessing(decode_image(path), height, width)
        except ImageError as error:
            return error
        return pixels.astype(source.dtype, copy=False)

    ready: list[tuple[int, str, NDArray[Any]]] = []
    workers = workers or min(4, os.cpu_count() or 1)
    for position, (path, prepared) in enumerate(
        _ahead(prepare, (os.fspath(path) for path in paths), workers, 2 * size)
    ):
        if isinstance(prepared, ImageError):
            yield Skipped(position, path, prepared)
            continue
        ready.append((position, path, prepared))
        if len(ready) == size:
            yield _run(session, source, ready, outputs)
            ready = []
    if ready:
        yield _run(session, source, ready, outputs)


def _ahead(
    prepare: Callable[[str], NDArray[Any] | ImageError], paths: Iterator[str], workers: int, count: int
) -> Iterator[tuple[str, NDArray[Any] | ImageError]]:
    """Prepares images on threads, at most `count` of them before they are wanted; they come in order."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        pending: deque[tuple[str, Future[NDArray[Any] | ImageError]]] = deque()
        pending.extend((path, pool.submit(prepare, path)) for path in islice(paths, count))
        while pending:
            path, future = pending.popleft()
            prepared = future.result()
            pending.extend((path, pool.submit(prepare, path)) for path in islice(paths, 1))
            yield path, prepared
    finally:
        pool.shutdown(cancel_futures=True)


def _run(
    session: Session, source: ImageInput, ready: list[tuple[int, str, NDArray[Any]]], outputs: Sequence[str] | None
) -> Computed:
    positions, paths, rows = zip(*ready, strict=True)
    images = np.stack(rows)
    if source.batch is not None:
        images = np.pad(images, [(0, source.batch - len(rows)), (0, 0), (0, 0), (0, 0)])
    if not source.channels_last:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    computed = session.run({source.name: images}, outputs)
    for name, array in computed.items():
        if array.ndim == 0 or len(array) != len(images):
            raise OptionError(f"output {name!r} has no row for each image: its shape is {array.shape}")
    return Computed(positions, paths, {name: array[: len(rows)] for name, array in computed.items()})


def classification_output(session: Session) -> str:
    """The output that tells classes: ``predictions``, else ``logits``, with or without a network's name; else the
    only one.

    Raises:
        OptionError: The model has neither.
    """
    for wanted in ("predictions", "logits"):
        for name in session.outputs:
            if name.rpartition("/")[2] == wanted:
                return name
    if len(session.outputs) == 1:
        return next(iter(session.outputs))
    raise OptionError("the model has no output 'predictions' or 'logits'", hint="name outputs to save with --outputs")


def probabilities(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """Class probabilities from the classification output's values.

    Args:
        name: The output's name. Those of ``predictions`` are probabilities already, all others go through a softmax.
        values: ``[N, C]``; axes of size 1 besides are dropped.

    Returns:
        float64 ``[N, C]``.

    Raises:
        OptionError: The output is a map of classes over rows and columns.
        ResnetCompileError: A value is not finite.
    """
    if values.size != len(values) * max(values.shape[1:], default=1):
        info = TensorInfo(name, values.dtype.name, values.shape)
        raise OptionError(f"{info} is a map, not one row of classes an image", hint="save it with --outputs and -o")
    scores = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(scores).all():
        raise ResnetCompileError(f"output {name!r} is not finite")
    if name.rpartition("/")[2] == "predictions":
        return scores
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float64)


def top_classes(row: NDArray[np.float64], count: int) -> list[tuple[int, float]]:
    """The most probable classes of one image, best first, as (index, probability); equal ones in order of index."""
    best = np.argsort(-row, kind="stable")[:count]
    return [(int(index), float(row[index])) for index in best]

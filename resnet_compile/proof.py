"""Checks that a network read from an ONNX model computes what the model does, by running both on the same images.

The model runs unchanged, without onnxruntime's rewrites, on images of its own layout, type, size and batch. The outputs
of its units are added to the model's outputs so that they can be compared. The network runs without rewrites in
float32, on what the model's first nodes make of the images. Neither runs until every node between the images and these
outputs is recognised.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_compile.checkpoints.onnx_file import OnnxCheckpoint
from resnet_compile.compiler import CHOICE, compile, planned_for  # noqa: A004  # the verb of this package
from resnet_compile.errors import ResnetCompileError, VerificationError, WeightsError
from resnet_compile.files import as_path
from resnet_compile.lower.network import INPUT
from resnet_compile.options import CompileOptions
from resnet_compile.precision import PRECISIONS
from resnet_compile.quantize.calibration import opened
from resnet_compile.runtime import Session, SessionOptions
from resnet_compile.spec import NetworkSpec
from resnet_compile.verify import Difference, Judge, OutputComparison
from resnet_compile.weights.structure import Structure, structure_of
from resnet_compile.weights.structure.model import Place
from resnet_compile.wire import length_prefix

_BATCH = 2
_MOST = 1 << 28  # numbers in the images of a run: 1 GiB
# Field numbers of onnx.proto.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1


def compare_source(
    spec: NetworkSpec, source: str | os.PathLike[str], options: CompileOptions | None = None, *, seed: int = 0
) -> tuple[OutputComparison, ...]:
    """Compares an ONNX model with the network that was given its weights: both run on the CPU on random images.

    Args:
        spec: The network.
        source: The model's file.
        options: The options with which the network took the weights; only those about weights are used.
        seed: The seed of the images. There are two images if the batch size is free.

    Returns:
        A comparison for each unit, the logits and the predictions. Empty if the model's graph was not recognised as the
        network, for example if only the names of its weights fit.

    Raises:
        VerificationError: onnxruntime cannot run the model.
    """
    chosen = CompileOptions.given(options).model_dump(include={*CHOICE, "num_classes"})
    path = as_path(source)
    with OnnxCheckpoint(path) as checkpoint:
        planned, _ = planned_for(spec, CompileOptions(**chosen), checkpoint)
        try:
            found = structure_of(planned, checkpoint)
        except WeightsError:
            return ()
        outputs = CompileOptions(**chosen, outputs=tuple(found.places))
        model = compile(found.plan.spec, outputs, weights=checkpoint)
        images, theirs = _run(found, checkpoint, seed)
        with opened(model.graph, model.format, graph_optimization="disabled") as session:
            ours = session.run({INPUT: images})
        halves = any(checkpoint.info(name).dtype == "float16" for name in checkpoint)
    logits = found.plan.head.logits
    of = {"predictions": logits.scope} if logits and "predictions" in found.places else {}
    judge = Judge(PRECISIONS["float16" if halves else "float32"].bound, of, untrained=False)
    told = []
    for name, place in found.places.items():
        difference = Difference()
        difference.add(ours[name], _laid_out(theirs[place.value], place).reshape(ours[name].shape))
        if name in of:
            difference.greatest_logit = float(np.abs(ours[of[name]]).max())
        told.append(judge.comparison(name, "random", difference))
    return tuple(told)


def _run(found: Structure, source: OnnxCheckpoint, seed: int) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Random images in our network's layout, and the model's outputs for them.

    Raises:
        VerificationError: onnxruntime cannot run the model.
    """
    values = list(dict.fromkeys(place.value for place in found.places.values()))
    try:
        with _with_outputs(source, values) as session:
            begun = found.prologue
            info = session.inputs[begun.image.value]
            batch = source.input_shape[0] if source.input_shape else None
            shape = batch or _BATCH, found.plan.input.channels, *found.plan.input.size
            if math.prod(shape) > _MOST:
                raise VerificationError(f"it takes {batch:,} images at a time, too many to try")
            generator = np.random.default_rng(seed)
            noise: NDArray[Any] = begun.undone(generator.standard_normal(shape, np.float32))
            if not info.dtype.startswith("float"):
                noise = generator.integers(0, 128, shape)
            images = noise.astype(info.dtype)
            order = ["NCHW".index(axis) for axis in begun.image.axes]
            made = session.run({info.name: np.ascontiguousarray(images.transpose(order))}, values)
            return begun.applied(images).astype(np.float32), made
    except ResnetCompileError as error:
        message = f"onnxruntime cannot run the model: {error.message}"
        hint = "--no-verify takes it without proof"
        raise VerificationError(message, where=str(source.files[0]), hint=hint) from None


@contextmanager
def _with_outputs(source: OnnxCheckpoint, values: Sequence[str]) -> Iterator[Session]:
    """A session of a model with some of its inner values as further outputs.

    Protobuf merges a message that occurs twice, so the further outputs are simply appended to the file's bytes.
    """
    more = b""
    for value in values:
        if value not in source.outputs:
            name = length_prefix(_NAME, len(value.encode())) + value.encode()
            more += length_prefix(_OUTPUT, len(name)) + name
    path, *external = source.files
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes() + length_prefix(_GRAPH, len(more)) + more)
        for file in external:
            place = copy.parent / file.relative_to(path.resolve().parent)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        yield Session.open(copy, "cpu", SessionOptions(spinning=False, graph_optimization="disabled"))


def _laid_out(values: NDArray[Any], place: Place) -> NDArray[Any]:
    """A model's value transposed to our layout: images first, then channels."""
    order = sorted(range(len(place.axes)), key=lambda axis: "NCHW1".index(place.axes[axis]))
    return values.transpose(order).astype(np.float64)

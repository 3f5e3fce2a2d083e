"""Evaluates a network on held-out images as it would be used: in inference, with its moving averages."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile.classify import Skipped, run_images
from resnet_compile.compiler import compile as compile_network
from resnet_compile.errors import DataError, OptionError, TrainingError
from resnet_compile.images import choose_scheme
from resnet_compile.options import CompileOptions
from resnet_compile.plan import Plan
from resnet_compile.runtime import Session, SessionOptions
from resnet_compile.spec import BatchNorm, NetworkSpec, SpecSource
from resnet_compile.training.data import Dataset


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of an evaluation on a whole set.

    Attributes:
        images: The number of images.
        accuracy: The share of images whose greatest logit is the label's; the CIFAR system calls it precision.
        loss: Mean cross-entropy of the softmax, without weight decay.
    """

    images: int
    accuracy: float
    loss: float


def evaluate(
    spec: SpecSource,
    weights: Mapping[str, ArrayLike] | str | os.PathLike[str],
    dataset: Dataset,
    *,
    batch: int,
    device: str = "auto",
    session: SessionOptions | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Runs the inference graph over a whole set.

    Args:
        spec: The network; images are resized to its input size.
        weights: The weights, as for `resnet_compile.compile`.
        dataset: The images.
        batch: Images at a time.
        device: The device, as for `resnet_compile.runtime.Session.open`.
        session: Settings of the session.
        interrupted: Called before every batch; True stops the evaluation.

    Returns:
        The result; None if it was interrupted.

    Raises:
        OptionError: The logits are a map.
        DataError: An image cannot be read.
        DeviceError: The device is not usable.
        TrainingError: The loss is not finite.
    """
    if not isinstance(dataset, Dataset):
        raise OptionError(f"dataset must come from open_dataset, got {type(dataset).__name__}", where="dataset")
    model = compile_network(spec, CompileOptions(outputs=("logits",)), weights=weights)
    require_one_label(model.plan)
    opened = Session.open(model.to_proto().SerializeToString(), device, session)
    images = right = 0
    loss = 0.0
    source = model.plan.spec.input
    scheme = choose_scheme(source.preprocess, (source.height, source.width))
    for event in run_images(opened, dataset.images(), scheme, batch=batch):
        if interrupted():
            return None
        if isinstance(event, Skipped):
            raise DataError(event.error.message, where=event.error.where, hint=event.error.hint)
        (logits,) = event.outputs.values()
        scores, labels = logits.reshape(len(logits), -1).astype(np.float64), dataset.labels[list(event.positions)]
        right += int((scores.argmax(1) == labels).sum())
        loss += float(_cross_entropy(scores, labels).sum())
        images += len(labels)
    if not math.isfinite(loss):
        raise TrainingError(f"the loss on the test set is {loss}", where=model.outputs[0])
    return Evaluation(images, right / images, loss / images)


def unsettled(spec: NetworkSpec, steps: int) -> float:
    """The weight that the initial values still have in the moving averages: decay^steps.

    0 for zero-debiased averages, and for networks without averages.
    """
    norm = spec.norm
    return norm.decay**steps if isinstance(norm, BatchNorm) and norm.averages == "corrected" else 0.0


def require_one_label(plan: Plan) -> None:
    """Refuses networks that classify every position of an image.

    Raises:
        OptionError: The logits are a map.
    """
    logits = next((point for point in plan.end_points if point.name == f"{plan.name}/logits"), None)
    if logits and math.prod(logits.shape[1:]) > 1:
        raise OptionError("the logits must be one row per image, got a map", where="$.head.global_pool")


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[Any]:
    """-log softmax(logits)[label] of each row."""
    with np.errstate(invalid="ignore"):  # infinite logits make the loss NaN, which is reported
        shifted = logits - logits.max(1, keepdims=True)
        own = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
        return np.log(np.exp(shifted).sum(1)) - own  # type: ignore[no-any-return]  # numpy says Any

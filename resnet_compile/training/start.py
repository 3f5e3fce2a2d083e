"""The state that a training begins with: initial values, or those of a checkpoint, with a new head where it must be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike, NDArray

from resnet_compile.checkpoints.base import Checkpoint
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import Plan, plan_network
from resnet_compile.training.step import TrainingStep
from resnet_compile.weights.binding import bind, bind_initial
from resnet_compile.weights.matching import classes_of


def starting_state(
    step: TrainingStep, weights: str | os.PathLike[str] | None, seed: int
) -> tuple[dict[str, NDArray[Any]], int | None]:
    """The state before the first step.

    Args:
        step: The step that will take it.
        weights: A checkpoint of any format; None for initial values.
        seed: Of the initial values.

    Returns:
        The state; and where the checkpoint has another number of classes, so that the head was drawn anew and only the
        rest is the checkpoint's, that number.

    Raises:
        WeightsError: The checkpoint does not fill the network.
    """
    if weights is None:
        return step.initial_state(seed=seed), None
    with open_checkpoint(weights) as checkpoint:
        try:
            found: Mapping[str, ArrayLike] = _values(step.plan, checkpoint)
            return step.initial_state(found), None
        except WeightsError:
            shapes = {name: checkpoint.info(name).shape for name in checkpoint}
            classes = classes_of(step.plan.name, step.plan.parameters, shapes)
            if classes is None:
                raise
        # The source's own network, so that all else has to fit.
        spec = step.plan.spec
        theirs = _values(plan_network(spec.replace(head=spec.head.replace(num_classes=classes))), checkpoint)
        drawn = bind_initial(step.plan.parameters, seed).tensors
        logits = f"{step.plan.name}/logits/"
        mixed = {name: tensor.array() if name.startswith(logits) else theirs[name] for name, tensor in drawn.items()}
        return step.initial_state(mixed), classes


def _values(plan: Plan, checkpoint: Checkpoint) -> dict[str, NDArray[Any]]:
    return {name: tensor.array() for name, tensor in bind(plan, checkpoint).tensors.items()}

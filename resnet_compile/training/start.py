"""The state at the start of training: initial values, or a checkpoint's, with a new head if its classes differ."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.errors import WeightsError
from resnet_compile.plan import plan_network
from resnet_compile.spec import NetworkSpec
from resnet_compile.training.step import TrainingStep
from resnet_compile.weights.binding import bind
from resnet_compile.weights.initial import bind_initial
from resnet_compile.weights.matching import classes_of
from resnet_compile.weights.source import tensors_of
from resnet_compile.weights.tensor import Bound


def starting_state(
    step: TrainingStep, weights: str | os.PathLike[str] | None, seed: int
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The state before the first step.

    Args:
        step: The training step that takes the state.
        weights: A checkpoint of any format; None for initial values.
        seed: The seed of the initial values.

    Returns:
        The state, and notes for the user: that the head has new initial values, because the checkpoint has no head or
        one for other classes; and which parts of the checkpoint were not used.

    Raises:
        WeightsError: The checkpoint does not fill the network, even apart from the head.
    """
    if weights is None:
        return step.initial_state(seed=seed), ()
    with open_checkpoint(weights) as checkpoint:
        try:
            whole = bind(step.plan, checkpoint)
            return step.initial_state(_values(whole)), whole.notes
        except WeightsError as error:
            spec = step.plan.spec
            headless = plan_network(spec.replace(head=spec.head.replace(num_classes=None)))
            try:
                body = bind(headless, checkpoint)
            except WeightsError:
                raise error from None
            classes = classes_of(step.plan, tensors_of(checkpoint))
        drawn = _values(bind_initial(step.plan.parameters, seed))
        has = f"has {classes} classes, not {spec.head.num_classes}" if classes else "has no head"
        note = f"{os.fspath(weights)} {has}: the head gets initial values"
        return step.initial_state({**drawn, **_values(body)}), (note, *body.notes)


def classes_in(spec: NetworkSpec, weights: str | os.PathLike[str]) -> int | None:
    """The number of classes of a checkpoint that fills the network apart from the head; otherwise the spec's.

    Raises:
        CheckpointError: The checkpoint cannot be read.
    """
    with open_checkpoint(weights) as checkpoint:
        return classes_of(plan_network(spec), tensors_of(checkpoint)) or spec.head.num_classes


def _values(bound: Bound) -> dict[str, NDArray[Any]]:
    return {name: tensor.array() for name, tensor in bound.tensors.items()}

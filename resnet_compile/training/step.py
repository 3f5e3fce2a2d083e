"""The training step of a network as one graph: forward pass, loss, backward pass, update.

The graph holds no state. Its inputs are a batch, a learning rate and the old state, each variable under its name. Its
outputs are the batch's loss, predictions and accuracy, and the new state, each variable under its name and ``:next``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_compile._version import __version__
from resnet_compile.compiler import CompiledModel
from resnet_compile.compiler import compile as compile_network
from resnet_compile.errors import OptionError
from resnet_compile.graph import Graph, Type, Value, apply
from resnet_compile.lower import lower
from resnet_compile.metadata import Metadata
from resnet_compile.options import CompileOptions, sized
from resnet_compile.passes import in_older_forms
from resnet_compile.plan import Plan, plan_network
from resnet_compile.plan.names import frozen_parameters
from resnet_compile.serialize import ModelFormat
from resnet_compile.spec import BatchNorm, SpecSource, spec_text
from resnet_compile.training.gradients import Emitter, Trace, backward, trace
from resnet_compile.training.loss import classification, decay_penalty, label_shape
from resnet_compile.training.options import StepOptions
from resnet_compile.training.update import (
    Descent,
    State,
    count_step,
    next_name,
    update_corrected,
    update_zero_debiased,
)

IMAGES, LABELS, LEARNING_RATE = "images", "labels", "learning_rate"
LOSS, PREDICTIONS, ACCURACY = "loss", "predictions", "accuracy"


@dataclass(frozen=True)
class TrainingStep(CompiledModel):
    """A training step: a graph without weights.

    Attributes:
        options: The options that it was compiled with.
    """

    options: StepOptions = field(kw_only=True)

    @property
    def state(self) -> tuple[Value, ...]:
        """The state variables, in the order of the graph's inputs: parameters first, in the plan's order."""
        return tuple(value for value in self.graph.inputs if value.name not in (IMAGES, LABELS, LEARNING_RATE))

    @property
    def next_names(self) -> dict[str, str]:
        """For each state variable that a step changes, the output that is its new value."""
        made = set(self.outputs)
        return {value.name: name for value in self.state if (name := next_name(value.name)) in made}

    def initial_state(
        self, weights: Mapping[str, ArrayLike] | str | os.PathLike[str] | None = None, *, seed: int = 0
    ) -> dict[str, NDArray[np.generic]]:
        """The state before the first step: parameters, and zeros for all other variables.

        Args:
            weights: The weights, as for `resnet_compile.compile`; None for the original's initial values.
            seed: The seed of the initial values.

        Raises:
            WeightsError: The weights do not fill the network.
        """
        network = compile_network(self.plan.spec, CompileOptions(seed=seed), weights=weights)
        parameters = {value.name: value.tensor for value in network.graph.initializers()}
        return {
            value.name: parameters[value.name].array()
            if value.name in parameters
            else np.zeros(value.static_shape, value.type.dtype)
            for value in self.state
        }


def compile_step(spec: SpecSource, options: StepOptions) -> TrainingStep:
    """Compiles the training step of a network.

    Inputs: `images` (float32, NCHW), `labels` (int64, [N], or [N, H, W] if the logits are a map), `learning_rate`
    (float32, a scalar) and the state. The state is every parameter under its name, and a slot `NAME/Momentum` for each
    parameter trained with momentum. If moving averages are zero-debiased, it also has an average `NAME/biased` for each
    and the number of steps taken, `step` (int64, a scalar).

    Outputs: `loss` (with the L2 penalty), `predictions` and `accuracy`, all before the update, and `NAME:next` for each
    state variable that is not frozen. Frozen parameters have no slot and no part in the penalty.

    Raises:
        SpecError: The spec describes no network.
        OptionError: The network has no logits to train; a frozen scope does not exist or leaves nothing to train; or
            the opset is unknown or lacks an operator of the step.
    """
    options = StepOptions.model_validate(options)
    spec = sized(spec, options.size)
    planned = plan_network(spec)
    if not planned.head.logits:
        raise OptionError("the network must have logits to be trained", where="$.head.num_classes")
    if planned.head.predictions == "sigmoid":
        raise OptionError(
            "a network of sigmoid predictions cannot be trained: the loss takes one class an image",
            where="$.head.predictions",
        )
    graph = in_older_forms(_step(planned, options), options.opset)
    metadata = Metadata(
        kind="training_step",
        spec=spec_text(spec),
        version=__version__,
        target=options.target,
        optimizer=options.optimizer,
    )
    return TrainingStep(planned, graph, ModelFormat(options.opset, metadata), options=options)


def _step(planned: Plan, options: StepOptions) -> Graph:
    emit = Emitter("", options.target)
    parameters = {p.name: Value(p.name, Type("float32", p.shape)) for p in planned.parameters}
    frozen = {parameters[name] for name in frozen_parameters(planned, options.freeze)}
    images, logits, predictions, traced = _forward(planned, parameters, frozen, options.batch, emit)
    labels = Value(LABELS, Type("int64", label_shape(logits)))
    judged = classification(logits, predictions, labels, emit.within("loss"))
    trained = [parameters[p.name] for p in planned.parameters if p.trainable and parameters[p.name] not in frozen]
    # TF-slim's `weights`, and what the CIFAR system calls `DW`: both times convolutions and the logits' matrix.
    weights = {parameters[p.name] for p in planned.parameters if p.role == "weights"}
    decayed = [value for value in trained if value in weights]
    penalty = decay_penalty(decayed, planned.spec.weight_decay, emit.within("decay"))
    loss = apply("Add", judged.cost, penalty, name=LOSS) if penalty else apply("Identity", judged.cost, name=LOSS)

    gradients = backward(traced, {logits: judged.adjoint}, trained, emit)
    learning_rate = Value(LEARNING_RATE, Type("float32", ()))
    descent = Descent(options.optimizer, learning_rate, planned.spec.weight_decay)
    state = State()
    for value in trained:
        scope = emit.within(f"update/{value.name}")
        descent.update(value, gradients[value], state, scope, decayed=value in weights)
    _update_averages(planned, traced, state, emit)
    return Graph(
        planned.name,
        (images, labels, learning_rate, *parameters.values(), *state.inputs.values()),
        (loss, predictions, judged.accuracy, *state.outputs),
    )


def _forward(
    planned: Plan, parameters: Mapping[str, Value], frozen: Collection[Value], batch: int, emit: Emitter
) -> tuple[Value, Value, Value, Trace]:
    """The images, their logits and predictions, and the forward pass in between."""
    assert planned.head.logits, "the caller has seen to it that there are logits"
    outputs = (planned.head.logits.scope, *((PREDICTIONS,) if planned.head.predictions else ()))
    network = lower(planned, outputs=outputs, batch=batch)
    images = Value(IMAGES, network.inputs[0].type)
    read = {value: parameters[value.name] for value in network.initializers() if value.name in parameters}
    traced = trace(network, {network.inputs[0]: images, **read}, emit, frozen=frozen)
    logits, *rest = (traced.values[output] for output in network.outputs)
    predictions = rest[0] if rest else apply("Softmax", logits, name=PREDICTIONS, axis=1)
    return images, logits, predictions, traced


def _update_averages(planned: Plan, traced: Trace, state: State, emit: Emitter) -> None:
    norm = planned.spec.norm
    if not traced.averages or not isinstance(norm, BatchNorm):
        return
    decay = norm.decay
    variances = {p.name for p in planned.parameters if p.role == "moving_variance"}
    debiased = norm.averages == "zero_debiased"
    weight = count_step(decay, traced.averages[0].batch, state, emit.within("step")) if debiased else None
    for average in traced.averages:
        scope = emit.within(f"update/{average.moving.name}")
        if weight:
            update_zero_debiased(average, decay, weight, state, scope)
        else:
            update_corrected(average, decay, state, scope, variance=average.moving.name in variances)

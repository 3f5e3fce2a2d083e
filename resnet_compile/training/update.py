"""New values from old ones: optimizers in TensorFlow's form, and moving averages."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnet_compile.graph import Type, Value, apply
from resnet_compile.training.gradients import Average, Emitter
from resnet_compile.training.options import Optimizer

MOMENTUM = 0.9


def next_name(name: str) -> str:
    """What the new value of a state variable is called."""
    return f"{name}:next"


@dataclass(frozen=True, slots=True)
class State:
    """The state variables of a step, and their new values.

    Attributes:
        inputs: The old values apart from parameters, by name: slots, biased averages, the step.
        outputs: The new values, in the order in which they were made.
    """

    inputs: dict[str, Value] = field(default_factory=dict)
    outputs: list[Value] = field(default_factory=list)

    def old(self, name: str, type_: Type) -> Value:
        """The old value of a state variable that is not a parameter."""
        return self.inputs.setdefault(name, Value(name, type_))

    def new(self, name: str, operator: str, *inputs: Value) -> Value:
        """The new value of a state variable, as an operator's output."""
        self.outputs.append(apply(operator, *inputs, name=next_name(name)))
        return self.outputs[-1]


@dataclass(frozen=True, slots=True)
class Descent:
    """Gradient descent.

    Attributes:
        optimizer: `sgd`: w' = w - lr g; `momentum`: v' = 0.9 v + g, w' = w - lr v', with v in the slot `NAME/Momentum`.
        learning_rate: A scalar.
        decay: Factor of the L2 penalty.
    """

    optimizer: Optimizer
    learning_rate: Value
    decay: float

    def update(self, weights: Value, gradient: Value, state: State, emit: Emitter, *, decayed: bool) -> None:
        """Writes the weights' new value, and the slot's.

        Args:
            weights: Their old value.
            gradient: The cost's derivative by them.
            state: Takes the new values.
            emit: Where to write.
            decayed: Whether the L2 penalty includes them, which adds decay * w to their gradient.
        """
        name = weights.name
        if decayed and self.decay:
            gradient = emit.apply("Add", gradient, emit.scaled(weights, self.decay))
        if self.optimizer == "momentum":
            slot = f"{name}/Momentum"
            old = emit.scaled(state.old(slot, weights.type), MOMENTUM)
            gradient = state.new(slot, "Add", old, gradient)
        # Of the weights' rank: see `Emitter.scalar`.
        rate = emit.within("learning_rate").reshape(self.learning_rate, (1,) * len(weights.shape))
        state.new(name, "Sub", weights, emit.apply("Mul", gradient, rate))


def update_corrected(average: Average, decay: float, state: State, emit: Emitter, *, variance: bool) -> None:
    """Writes m' = decay m + (1 - decay) b, where a batch's variance b is corrected to n / (n - 1) of the biased one.

    TensorFlow's fused batch normalisation and PyTorch do the same.
    """
    correction = average.count / max(average.count - 1, 1) if variance else 1.0
    kept = emit.scaled(average.moving, decay)
    added = emit.scaled(average.batch, (1 - decay) * correction)
    state.new(average.moving.name, "Add", kept, added)


def update_zero_debiased(average: Average, decay: float, weight: Value, state: State, emit: Emitter) -> None:
    """Writes m' = a' / (1 - decay^t) with a' = decay a + (1 - decay) b: a starts at 0, t counts the batches.

    `assign_moving_average` of TensorFlow 0.12 and later does the same; a batch's variance b is the biased one.

    Args:
        average: The moving average, and the batch statistic that it follows.
        decay: The average's decay.
        weight: 1 - decay^t, of shape [1].
        state: Takes the new values.
        emit: Where to write.
    """
    name = f"{average.moving.name}/biased"
    kept = emit.scaled(state.old(name, average.moving.type), decay)
    biased = state.new(name, "Add", kept, emit.scaled(average.batch, 1 - decay))
    state.new(average.moving.name, "Div", biased, weight)


def count_step(decay: float, like: Value, state: State, emit: Emitter) -> Value:
    """Writes the number of steps taken, and returns 1 - decay^t for the current step t, of shape [1]."""
    old = state.old("step", Type("int64", ()))
    taken = state.new("step", "Add", old, emit.scalar(1, old))
    power = emit.apply("Pow", emit.scalar(decay, like, rank=0), emit.to_float(taken))
    return emit.reshape(emit.apply("Sub", emit.scalar(1.0, like, rank=0), power), (1,))

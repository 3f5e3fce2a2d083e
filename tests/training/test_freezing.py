import numpy as np
import pytest
from support.models import run, runner
from support.reference import evaluator
from support.tolerances import NETWORK, STEP_GRADIENT, relative_error
from support.training_run import narrow_spec

from resnet_compile import CompileOptions, NetworkSpec
from resnet_compile import compile as compile_network
from resnet_compile.training import TrainingStep, compile_step, next_name
from resnet_compile.training.options import StepOptions

# The evaluator takes its time for every pixel.
SMALL = {"height": 8, "width": 8}
FROZEN = ("conv1", "narrow/block1")


def step_of(*freeze: str, spec: NetworkSpec | None = None) -> TrainingStep:
    return compile_step(spec or narrow_spec(), StepOptions(batch=4, freeze=freeze))


def filled(step: TrainingStep, seed: int = 0) -> dict[str, np.ndarray]:
    """A state with moving statistics as if it had been trained."""
    rng = np.random.default_rng(seed)
    roles = {parameter.name: parameter.role for parameter in step.plan.parameters}
    drawn = {
        "moving_mean": lambda shape: 0.3 * rng.standard_normal(shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 2.0, shape),
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "beta": lambda shape: 0.3 * rng.standard_normal(shape),
    }
    return {
        name: drawn[roles[name]](values.shape).astype(np.float32) if roles.get(name) in drawn else values
        for name, values in step.initial_state().items()
    }


def batch(seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "images": rng.standard_normal((4, 3, 32, 32), np.float32),
        "labels": rng.integers(0, 10, 4),
        "learning_rate": np.array(0.1, np.float32),
    }


def is_frozen(name: str) -> bool:
    return name.startswith(("narrow/conv1/", "narrow/block1/"))


def test_frozen_variables_have_no_next_value_and_no_slot() -> None:
    step, whole = step_of(*FROZEN), step_of()
    left = {value.name for value in whole.state} - {value.name for value in step.state}
    assert left == {
        value.name for value in whole.state if is_frozen(value.name) and value.name.endswith(("/Momentum", "/biased"))
    }
    assert {name for name in step.next_names if is_frozen(name)} == set()
    assert set(step.next_names) == {value.name for value in step.state if not is_frozen(value.name)}


def test_all_else_is_trained() -> None:
    step = step_of(*FROZEN)
    state = filled(step)
    made = runner(step.to_proto())({**batch(), **state})
    changed = {name for name in step.next_names if not np.array_equal(made[next_name(name)], state[name])}
    assert changed == set(step.next_names)


def test_a_frozen_network_is_the_inference_network() -> None:
    """All but the logits frozen: the predictions are those by the moving statistics."""
    step = step_of("conv1", "block1", "block2", "postnorm")
    state = filled(step)
    made = runner(step.to_proto())({**batch(), **state})
    parameters = {parameter.name: state[parameter.name] for parameter in step.plan.parameters}
    model = compile_network(narrow_spec(), CompileOptions(outputs=("predictions",)), weights=parameters)
    (expected,) = run(model.to_proto(), batch()["images"]).values()
    assert relative_error(made["predictions"], expected) <= NETWORK
    assert "step" not in state


@pytest.mark.parametrize("freeze", [FROZEN, ("block2",), ("block2/unit_1", "postnorm")])
@pytest.mark.parametrize("spec", [narrow_spec(input=SMALL), narrow_spec(input=SMALL, norm={"scale": False})])
def test_the_rest_goes_down_its_gradient(freeze: tuple[str, ...], spec: NetworkSpec) -> None:
    """In float64, through frozen norms too: at a learning rate of 1 a step is the gradient."""
    step = compile_step(spec, StepOptions(batch=4, freeze=freeze, optimizer="sgd"))
    exact, rng = evaluator(step.to_proto()), np.random.default_rng(2)
    state = {name: v.astype(np.float64) for name, v in filled(step).items() if name != "step"}
    images = batch()["images"][:, :, :8, :8].astype(np.float64)
    given = {**batch(), **state, "images": images, "learning_rate": np.array(1.0)}
    if any(value.name == "step" for value in step.state):
        given["step"] = np.array(0)
    trainable = {parameter.name for parameter in step.plan.parameters if parameter.trainable}
    trained = [name for name in step.next_names if name in trainable]
    direction = {name: rng.standard_normal(state[name].shape) for name in trained}

    def loss(distance: float) -> float:
        moved = {name: state[name] + distance * direction[name] for name in trained}
        return float(exact.run(["loss"], {**given, **moved})[0])

    expected = (loss(1e-7) - loss(-1e-7)) / 2e-7
    made = exact.run([next_name(name) for name in trained], given)
    gradients = [state[name] - value for name, value in zip(trained, made, strict=True)]
    actual = sum(np.sum(g * direction[name]) for name, g in zip(trained, gradients, strict=True))
    assert abs(actual - expected) <= STEP_GRADIENT * np.sqrt(sum(np.sum(g**2) for g in gradients))


def test_nothing_is_differentiated_below_what_is_trained() -> None:
    step = step_of(*FROZEN)
    names = {value.name for value in step.graph.values()}
    assert not [name for name in names if name.startswith(("gradient/narrow/conv1", "gradient/narrow/block1"))]
    assert [name for name in names if name.startswith("gradient/narrow/block2")]
    assert not [name for name in names if name.startswith("decay/") and "conv1/weights" in name]


def test_the_penalty_is_of_what_is_trained() -> None:
    spec = narrow_spec(weight_decay=1.0)
    frozen, free = step_of("conv1", spec=spec), step_of("conv1", spec=spec.replace(weight_decay=0.0))
    state = filled(frozen)
    losses = [float(runner(step.to_proto())({**batch(), **state})["loss"]) for step in (frozen, free)]
    trained = [values for name, values in state.items() if name.endswith("/weights") and "/conv1/" not in name[:13]]
    squares = sum(np.sum(values.astype(np.float64) ** 2) for values in trained)
    assert losses[0] - losses[1] == pytest.approx(squares / 2, rel=NETWORK)

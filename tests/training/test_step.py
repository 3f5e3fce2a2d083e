"""Whole training steps against the original systems' own, and what holds for a step of any network."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from support.models import in_float64, runner
from support.specs import families, networks, parsed, tiny_document
from support.tolerances import COST, ILL_CONDITIONED_STATE, NETWORK, ROUNDING, STATE, STEP_GRADIENT, relative_error
from support.training_data import cifar_training, slim_training

from resnet_compile import NetworkSpec, load_spec
from resnet_compile.errors import OptionError
from resnet_compile.graph import verify
from resnet_compile.spec import MaxRootPool, StemRoot
from resnet_compile.spec.roots import KerasV2Root
from resnet_compile.training import TrainingStep, compile_step, next_name
from resnet_compile.training.options import StepOptions

CIFAR = {("plain", "momentum"): {1: STATE, 3: STATE}, ("bottleneck", "sgd"): ILL_CONDITIONED_STATE}


@pytest.mark.parametrize("how", [{"target": "cpu"}, {"target": "cuda"}, {"here": True}], ids=str)
@pytest.mark.parametrize(("kind", "optimizer"), CIFAR)
def test_three_steps_equal_the_cifar_systems(kind: str, optimizer: Any, how: dict[str, Any]) -> None:
    golden = cifar_training(kind, optimizer)
    outputs, states = golden.run(3, **how)
    tolerances = CIFAR[kind, optimizer]
    for number, made in enumerate(outputs, 1):
        loose = tolerances[3] if number > 1 and kind == "bottleneck" else NETWORK
        assert float(made["loss"]) == pytest.approx(float(golden.file[f"cost{number}"]), rel=max(COST, loose / 10))
        assert relative_error(made["predictions"], golden.file[f"predictions{number}"]) <= loose
    for number in (1, 3):
        expected = golden.variables(number)
        errors = {name: relative_error(states[number][name], value) for name, value in expected.items()}
        assert max(errors.values()) <= tolerances[number], errors


# A batch norm takes back what a bias before it adds, so that these gradients are zero, and in float32 rounding alone.
CANCELLED = {
    f"resnet_v2_narrow/{layer}/biases/Momentum"
    for layer in (
        "conv1",
        *(f"block{block}/unit_1/bottleneck_v2/shortcut" for block in (1, 2)),
        *(f"block{block}/unit_{unit}/bottleneck_v2/conv3" for block in (1, 2) for unit in (1, 2)),
    )
}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_two_steps_equal_slims(target: Any) -> None:
    golden = slim_training()
    outputs, states = golden.run(2, target=target)
    for number, made in enumerate(outputs, 1):
        assert float(made["loss"]) == pytest.approx(float(golden.file[f"cost{number}"]), rel=COST)
        assert relative_error(made["predictions"], golden.file[f"predictions{number}"]) <= NETWORK
        expected = golden.variables(number)
        assert expected.keys() == states[number].keys()
        errors = {name: relative_error(states[number][name], expected[name]) for name in expected.keys() - CANCELLED}
        assert max(errors.values()) <= STATE, errors
        assert max(np.abs(states[number][name]).max() for name in CANCELLED) <= ROUNDING
        assert max(np.abs(expected[name]).max() for name in CANCELLED) <= ROUNDING


def feeds(step: TrainingStep, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random batch, and a learning rate."""
    given = {value.name: value for value in step.graph.inputs}
    classes = step.plan.head.logits.output.channels  # type: ignore[union-attr]
    return {
        "images": rng.standard_normal(given["images"].shape, np.float32),  # type: ignore[arg-type]
        "labels": rng.integers(0, classes, given["labels"].shape),  # type: ignore[arg-type]
        "learning_rate": np.array(0.05, np.float32),
    }


def steps(step: TrainingStep, count: int, seed: int = 0) -> tuple[list[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Steps on one batch from the initial state: what each put out, and the last state."""
    run, batch = runner(step.to_proto()), feeds(step, np.random.default_rng(seed))
    state, outputs = step.initial_state(), []
    for _ in range(count):
        outputs.append(run({**batch, **state}))
        state = {name: outputs[-1][next_name(name)] for name in state}
    return outputs, state


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(["momentum", "sgd"]), st.sampled_from(["cpu", "cuda"]), st.integers(1, 3))
def test_a_step_of_any_network_runs(spec: NetworkSpec, optimizer: Any, target: Any, batch: int) -> None:
    assume(spec.head.num_classes and spec.head.predictions != "sigmoid")
    step = compile_step(spec, StepOptions(batch=batch, optimizer=optimizer, target=target))
    verify(step.graph, bound=True)
    (made,), _ = steps(step, 1)
    assert [*made] == ["loss", "predictions", "accuracy", *(output.name for output in step.graph.outputs[3:])]
    assert all(np.isfinite(value).all() for value in made.values())


def has_groups(spec: NetworkSpec) -> bool:
    """Whether a convolution is grouped: ConvTranspose in groups fails in onnx's reference evaluator."""
    zero_padded = isinstance(spec.root, StemRoot) and spec.root.pool == MaxRootPool(padding="zero")
    grouped = any(getattr(block.unit, "groups", 1) > 1 for block in spec.blocks)
    return grouped or zero_padded or isinstance(spec.root, KerasV2Root)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(networks(), st.sampled_from(["cpu", "cuda"]), st.integers(2, 3), st.integers(0, 2**32 - 1))
def test_a_step_of_any_network_goes_down_its_gradient(spec: NetworkSpec, target: Any, batch: int, seed: int) -> None:
    """In float64: at a learning rate of 1 a step is the gradient, and along any direction the loss falls as it says."""
    assume(spec.head.num_classes and spec.head.predictions != "sigmoid" and not has_groups(spec))
    step = compile_step(spec, StepOptions(batch=batch, optimizer="sgd", target=target))
    evaluator, rng = ReferenceEvaluator(in_float64(step.to_proto())), np.random.default_rng(seed)
    state = {name: value.astype(np.float64) for name, value in step.initial_state().items() if name != "step"}
    trained = [parameter.name for parameter in step.plan.parameters if parameter.trainable]
    # Away from the start, where a batch of one pixel makes zeros, on which ReLU has no slope.
    state |= {name: state[name] + 0.3 * rng.standard_normal(state[name].shape) for name in trained}
    given = {name: value.astype(np.float64) for name, value in feeds(step, rng).items() if name != "labels"}
    given |= {**state, "labels": feeds(step, rng)["labels"], "learning_rate": np.array(1.0)}
    if any(value.name == "step" for value in step.state):
        given["step"] = np.array(0)
    direction = {name: rng.standard_normal(state[name].shape) for name in trained}

    def loss(distance: float) -> float:
        moved = {name: state[name] + distance * direction[name] for name in trained}
        return float(evaluator.run(["loss"], {**given, **moved})[0])

    # A step so small that next to no ReLU changes sides.
    expected = (loss(1e-8) - loss(-1e-8)) / 2e-8
    made = evaluator.run([next_name(name) for name in trained], given)
    gradients = [state[name] - value for name, value in zip(trained, made, strict=True)]
    actual = sum(np.sum(g * direction[name]) for name, g in zip(trained, gradients, strict=True))
    size = np.sqrt(sum(np.sum(g**2) for g in gradients))
    assert abs(actual - expected) <= STEP_GRADIENT * size


def test_sigmoid_predictions_have_no_step() -> None:
    spec = load_spec("tiny")
    with pytest.raises(OptionError, match="sigmoid predictions cannot be trained"):
        compile_step(spec.replace(head=spec.head.replace(predictions="sigmoid")), StepOptions(batch=2))


DEEPEST = tuple(load_spec(name) for name in ("resnet200", "cifar_resnet1001", "akamaster_resnet1202"))


@pytest.mark.parametrize("spec", [*families(), *DEEPEST], ids=lambda spec: spec.name)
def test_every_family_of_the_catalogue_has_a_step(spec: NetworkSpec) -> None:
    step = compile_step(spec.replace(head=spec.head.replace(num_classes=10)), StepOptions(batch=2))
    verify(step.graph, bound=True)
    outputs = {output.name: output.type for output in step.graph.outputs}
    assert {next_name(value.name): value.type for value in step.state} == {
        name: type_ for name, type_ in outputs.items() if name not in ("loss", "predictions", "accuracy")
    }


@pytest.mark.parametrize("opset", [17, 18, 21, 24])
def test_a_step_is_valid_onnx_in_every_opset(opset: int) -> None:
    model = compile_step(load_spec("tiny"), StepOptions(batch=3, opset=opset)).to_proto()
    onnx.checker.check_model(model, full_check=True)


def test_names_of_inputs_and_outputs() -> None:
    document = {**tiny_document(), "norm": {"kind": "batch", "averages": "zero_debiased"}}
    step = compile_step(parsed(document), StepOptions(batch=2, size=(24, 40)))
    types = {value.name: str(value.type) for value in step.graph.inputs}
    assert list(types)[:3] == ["images", "labels", "learning_rate"]
    assert types["images"] == "float32[2, 3, 24, 40]"
    assert types["labels"] == "int64[2]"
    assert types["learning_rate"] == "float32[]"
    assert types["tiny/conv1/weights/Momentum"] == types["tiny/conv1/weights"] == "float32[8, 3, 7, 7]"
    assert types["tiny/postnorm/moving_mean/biased"] == types["tiny/postnorm/moving_mean"] == "float32[24]"
    assert types["step"] == "int64[]"
    assert "tiny/postnorm/moving_mean/Momentum" not in types
    assert {"tiny/conv1/weights:next", "tiny/conv1/weights/Momentum:next", "step:next"} < set(step.outputs)
    assert not [value.name for value in step.graph.initializers() if value.name in types]


def test_only_what_is_used_is_state() -> None:
    step = compile_step(load_spec("tiny"), StepOptions(batch=2, optimizer="sgd"))
    assert {value.name for value in step.state} == {parameter.name for parameter in step.plan.parameters}


def test_logits_that_are_a_map_take_a_label_a_pixel() -> None:
    document = tiny_document()
    document["head"] = {"num_classes": 4, "global_pool": False}
    step = compile_step(parsed(document), StepOptions(batch=2, size=(64, 96)))
    assert str(step.graph.inputs[1].type) == "int64[2, 8, 12]"
    (made,), _ = steps(step, 1)
    labels = feeds(step, np.random.default_rng(0))["labels"]
    likelihood = np.take_along_axis(made["predictions"], labels[:, None], axis=1)
    penalty = (
        1e-4
        / 2
        * sum(
            np.sum(v.astype(np.float64) ** 2)
            for n, v in step.initial_state().items()
            if "weights" in n and "Mom" not in n
        )
    )
    assert float(made["loss"]) == pytest.approx(-np.log(likelihood).mean() + penalty, rel=COST)
    assert float(made["accuracy"]) == pytest.approx((made["predictions"].argmax(1) == labels).mean())


def test_moving_averages_of_slim_follow_the_corrected_variance() -> None:
    """m' = d m + (1 - d) b, with n / (n - 1) of the biased variance; here of an input that is known."""
    document = tiny_document() | {"root": None, "norm": {"decay": 0.75}}
    step = compile_step(parsed(document), StepOptions(batch=2, size=(5, 3)))
    _, state = steps(step, 1)
    images = feeds(step, np.random.default_rng(0))["images"].astype(np.float64)
    scope = "tiny/block1/unit_1/bottleneck_v2/preact"
    mean, variance = images.mean((0, 2, 3)), images.var((0, 2, 3), ddof=1)
    assert relative_error(state[f"{scope}/moving_mean"], 0.25 * mean) <= NETWORK
    assert relative_error(state[f"{scope}/moving_variance"], 0.75 + 0.25 * variance) <= NETWORK


def test_decay_is_of_weights_alone() -> None:
    document = tiny_document()
    decayed, free = (
        steps(compile_step(parsed({**document, "weight_decay": decay}), StepOptions(batch=2)), 1)
        for decay in (0.5, 0.0)
    )
    initial = compile_step(parsed(document), StepOptions(batch=2)).initial_state()
    for name in (name for name in initial if name.endswith("/Momentum")):
        variable = name.removesuffix("/Momentum")
        expected = 0.5 * initial[variable] if variable.endswith("/weights") else 0
        difference = decayed[1][name].astype(np.float64) - free[1][name]
        assert np.abs(difference - expected).max() <= NETWORK * max(1.0, np.abs(free[1][name]).max())
    squares = sum(np.sum(value.astype(np.float64) ** 2) for name, value in initial.items() if name.endswith("weights"))
    assert float(decayed[0][0]["loss"]) - float(free[0][0]["loss"]) == pytest.approx(0.25 * squares, rel=NETWORK)


def test_a_network_learns_a_batch_by_heart() -> None:
    outputs, _ = steps(compile_step(load_spec("tiny"), StepOptions(batch=8)), 25)
    losses = [float(made["loss"]) for made in outputs]
    assert losses[-1] < 0.2 < 2 < losses[0]
    assert float(outputs[-1]["accuracy"]) == 1


def test_a_network_without_logits_is_refused() -> None:
    document = {**tiny_document(), "head": {"num_classes": None}}
    with pytest.raises(OptionError, match=r"must have logits to be trained @ \$\.head\.num_classes"):
        compile_step(parsed(document), StepOptions(batch=2))


def test_initial_values_come_from_weights_where_they_are_given() -> None:
    step = compile_step(load_spec("tiny"), StepOptions(batch=2))
    given = {p.name: np.full(p.shape, 0.5, np.float32) for p in step.plan.parameters}
    state = step.initial_state(given)
    assert all((state[name] == 0.5).all() for name in given)
    assert not any(value.any() for name, value in state.items() if name not in given)
    assert (step.initial_state(seed=1)["tiny/conv1/weights"] != step.initial_state()["tiny/conv1/weights"]).any()

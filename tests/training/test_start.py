from pathlib import Path

import numpy as np
import pytest
from support.training_run import narrow_spec, with_classes

from resnet_compile.errors import WeightsError
from resnet_compile.training import compile_step
from resnet_compile.training.checkpoints import Progress, save_checkpoint
from resnet_compile.training.options import StepOptions
from resnet_compile.training.start import starting_state

STEP = compile_step(with_classes(7), StepOptions(batch=2))
HEAD = {"narrow/logits/weights", "narrow/logits/biases"}


def checkpoint(folder: Path, classes: int) -> tuple[Path, dict[str, np.ndarray]]:
    """A checkpoint of random values in every variable of the network with so many classes."""
    rng = np.random.default_rng(classes)
    state = compile_step(with_classes(classes), StepOptions(batch=2)).initial_state()
    state = {name: rng.uniform(0.5, 1, values.shape).astype(values.dtype) for name, values in state.items()}
    return save_checkpoint(folder, state, Progress(1, 1, {}), 1), state


def test_without_weights_the_values_are_initial() -> None:
    state, notes = starting_state(STEP, None, 5)
    assert notes == ()
    assert all(np.array_equal(state[name], values) for name, values in STEP.initial_state(seed=5).items())


def test_weights_fill_the_parameters_and_nothing_else(tmp_path: Path) -> None:
    path, given = checkpoint(tmp_path, 7)
    for source in (path, tmp_path):
        state, notes = starting_state(STEP, source, 5)
        assert notes == ()
        parameters = {parameter.name for parameter in STEP.plan.parameters}
        assert all(np.array_equal(state[name], given[name]) for name in parameters)
        assert not any(values.any() for name, values in state.items() if name not in parameters)


def test_a_head_of_other_classes_is_drawn(tmp_path: Path) -> None:
    path, given = checkpoint(tmp_path, 12)
    state, notes = starting_state(STEP, path, 5)
    assert notes[0] == f"{path} has 12 classes, not 7: the head gets initial values"
    drawn = STEP.initial_state(seed=5)
    for parameter in STEP.plan.parameters:
        expected = drawn if parameter.name in HEAD else given
        assert np.array_equal(state[parameter.name], expected[parameter.name]), parameter.name
    assert not any(values.any() for name, values in state.items() if name.endswith("/Momentum"))


def test_a_checkpoint_without_a_head_gets_one(tmp_path: Path) -> None:
    _, given = checkpoint(tmp_path, 7)
    body = {name: given[name] for name in (p.name for p in STEP.plan.parameters) if name not in HEAD}
    np.savez(tmp_path / "body.npz", **body)
    state, notes = starting_state(STEP, tmp_path / "body.npz", 5)
    assert notes == (f"{tmp_path / 'body.npz'} has no head: the head gets initial values",)
    assert all(np.array_equal(state[name], values) for name, values in body.items())
    assert all(np.array_equal(state[name], STEP.initial_state(seed=5)[name]) for name in HEAD)


def test_all_but_the_head_has_to_fit(tmp_path: Path) -> None:
    path, _ = checkpoint(tmp_path, 12)
    other = narrow_spec(head={"num_classes": 7, "logits": "dense"}, root={"kind": "cifar", "depth": 2})
    with pytest.raises(WeightsError, match=r"conv1/weights has shape \[4, 3, 3, 3\], not \[2, 3, 3, 3\]"):
        starting_state(compile_step(other, StepOptions(batch=2)), path, 5)

"""A model that runs on its own last state."""

import numpy as np
import pytest
from support.machine import FakeMachine
from support.tolerances import COST, NETWORK, STATE, relative_error
from support.training_data import GoldenTraining, cifar_training

from resnet_compile.errors import OptionError
from resnet_compile.runtime import Recurrence, Session, choose_device
from resnet_compile.training import TrainingStep, compile_step
from resnet_compile.training.options import StepOptions


def begun(golden: GoldenTraining, session: Session, step: TrainingStep) -> Recurrence:
    state = {**step.initial_state(), **golden.variables(0)}
    return session.recur(state, step.next_names, ["loss", "predictions"])


def golden_feeds(golden: GoldenTraining, number: int) -> dict[str, np.ndarray]:
    return {
        "images": golden.file[f"x{number}"].transpose(0, 3, 1, 2),
        "labels": golden.file[f"y{number}"].astype(np.int64),
        "learning_rate": np.array(golden.file[f"lr{number}"], np.float32),
    }


def step_of(golden: GoldenTraining) -> TrainingStep:
    return compile_step(golden.spec, StepOptions(batch=len(golden.file["x1"]), optimizer=golden.optimizer))


def test_three_steps_equal_the_originals() -> None:
    golden = cifar_training("plain", "momentum")
    step = step_of(golden)
    recurrence = begun(golden, Session.open(step.to_proto().SerializeToString(), "cpu"), step)
    for number in (1, 2, 3):
        told = recurrence.run(golden_feeds(golden, number))
        assert [*told] == ["loss", "predictions"]
        assert float(told["loss"]) == pytest.approx(float(golden.file[f"cost{number}"]), rel=COST)
        assert relative_error(told["predictions"], golden.file[f"predictions{number}"]) <= NETWORK
        if number in (1, 3):
            state, expected = recurrence.state(), golden.variables(number)
            assert max(relative_error(state[name], expected[name]) for name in expected) <= STATE
    assert int(recurrence.state()["step"]) == 3


def test_what_was_given_and_what_was_told_stays() -> None:
    golden = cifar_training("plain", "momentum")
    step = step_of(golden)
    session = Session.open(step.to_proto().SerializeToString(), "cpu")
    given = {**step.initial_state(), **golden.variables(0)}
    copies = {name: values.copy() for name, values in given.items()}
    recurrence = session.recur(given, step.next_names, ["loss"])
    told = recurrence.run(golden_feeds(golden, 1))
    first, loss = recurrence.state(), float(told["loss"])
    assert all(np.array_equal(given[name], copies[name]) for name in given)
    before = {name: values.copy() for name, values in first.items()}
    for number in (2, 3):
        recurrence.run(golden_feeds(golden, number))
    assert float(told["loss"]) == loss
    assert all(np.array_equal(first[name], before[name]) for name in first)


def test_on_cuda_the_state_stays_on_the_device() -> None:
    golden = cifar_training("plain", "momentum")
    step = step_of(golden)
    machine = FakeMachine()
    session = Session.open(step.to_proto().SerializeToString(), "cuda", backend=machine.backend())
    recurrence = begun(golden, session, step)
    machine.events.clear()
    for number in (1, 2):
        recurrence.run(golden_feeds(golden, number))
    once = ["to cuda:0"] * 3 + ["run", "synchronize"] + ["from cuda:0"] * 2
    assert machine.events == once * 2
    state, expected = recurrence.state(), golden.run(2)[1][2]
    assert max(relative_error(state[name], expected[name]) for name in expected) <= STATE


def test_a_state_that_is_not_whole_is_refused() -> None:
    golden = cifar_training("plain", "momentum")
    step = step_of(golden)
    session = Session.open(step.to_proto().SerializeToString(), "cpu")
    with pytest.raises(OptionError, match="input 'cifar_plain/conv1/weights' is missing"):
        session.recur({}, step.next_names, ["loss"])


def test_a_run_without_all_inputs_is_refused() -> None:
    golden = cifar_training("plain", "momentum")
    step = step_of(golden)
    recurrence = begun(golden, Session.open(step.to_proto().SerializeToString(), "cpu"), step)
    feeds = golden_feeds(golden, 1)
    with pytest.raises(OptionError, match="input 'labels' is missing"):
        recurrence.run({"images": feeds["images"], "learning_rate": feeds["learning_rate"]})
    with pytest.raises(OptionError, match="the input must be labels int64"):
        recurrence.run({**feeds, "labels": feeds["labels"].astype(np.int32)})


def test_auto_is_cuda_where_nothing_keeps_it_from_working() -> None:
    machine = FakeMachine()
    assert str(choose_device("auto", machine.backend())) == "cuda:0"
    assert str(choose_device("cuda:1", machine.backend())) == "cuda:1"
    assert str(choose_device("cpu", machine.backend())) == "cpu"
    machine.devices = 0
    assert str(choose_device("auto", machine.backend())) == "cpu"

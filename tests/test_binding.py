"""Bound runs: what they compute, and where their data go; and what the machine says of itself."""

import subprocess
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support.machine import FakeMachine, tiny_model

from resnet_compile.errors import OptionError, ResnetCompileError
from resnet_compile.runtime import (
    Backend,
    Binding,
    Session,
    SessionOptions,
    describe_cpu,
    describe_gpu,
    installed_packages,
    onnxruntime_wheels,
)

INPUTS = [{"x": np.full((2, 3), value, np.float32)} for value in (1, -2, 3)]


def bound(session: Session, *, transfer: bool = False) -> Binding:
    return session.bind(INPUTS, session.run(INPUTS[0]), transfer=transfer)


def check_rotation(binding: Binding) -> None:
    for index in (0, 1, 2, 3, -1):
        binding.run(index)
        value = (1, -2, 3)[index % 3]
        results = binding.results()
        np.testing.assert_array_equal(results["double"], np.full((2, 3), 2 * value))
        np.testing.assert_array_equal(results["positive"], np.full((2, 3), max(value, 0)))


def test_bound_runs_rotate_among_their_inputs() -> None:
    binding = bound(Session.open(tiny_model(), "cpu"))
    assert binding.buffers == 3
    check_rotation(binding)


@pytest.mark.parametrize("transfer", [False, True])
def test_bound_runs_on_cuda(transfer: bool) -> None:
    machine = FakeMachine()
    binding = bound(Session.open(tiny_model(), "cuda", backend=machine.backend()), transfer=transfer)
    assert binding.buffers == 3
    check_rotation(binding)


def test_a_cuda_graph_with_transfer_sees_every_input() -> None:
    machine = FakeMachine()
    session = Session.open(tiny_model(), "cuda", SessionOptions(cuda_graph=True), backend=machine.backend())
    check_rotation(bound(session, transfer=True))
    assert machine.events.count("record") == 1
    assert machine.events.count("replay") == 5


def test_a_cuda_graph_on_the_device_has_one_buffer() -> None:
    machine = FakeMachine()
    session = Session.open(tiny_model(), "cuda", SessionOptions(cuda_graph=True), backend=machine.backend())
    binding = bound(session)
    assert binding.buffers == 1
    binding.run(1)
    np.testing.assert_array_equal(binding.results()["double"], np.full((2, 3), 2))


def test_wrong_inputs_are_described() -> None:
    session = Session.open(tiny_model(), "cpu")
    with pytest.raises(OptionError, match=r"the input must be x float32\[batch, 3\], got x float32\[2, 4\]"):
        session.bind([{"x": np.ones((2, 4), np.float32)}], {}, transfer=False)


def test_a_bound_run_that_fails_is_one_line() -> None:
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[7, 7])
    session = Session.open(tiny_model(shape, helper.make_node("Reshape", ["x", "shape"], ["y"])), "cpu")
    binding = session.bind(INPUTS, {"y": np.zeros((7, 7), np.float32)}, transfer=False)
    with pytest.raises(ResnetCompileError, match=r"^the model failed: .* @ cpu$"):
        binding.run(0)


def test_the_processor_describes_itself() -> None:
    cpu = describe_cpu()
    assert cpu.cores >= 1
    assert cpu.model


@pytest.mark.parametrize(
    ("said", "memory", "clock"),
    [
        ("NVIDIA H100, 580.65.06, 81559, 1024, 345, 1980", 81559, 345),
        ("NVIDIA H100, 580.65.06, [N/A], 1024, [Not Supported], 1980", None, None),
    ],
)
def test_the_gpu_is_described_as_far_as_it_can_be(said: str, memory: int | None, clock: int | None) -> None:
    machine = FakeMachine()
    machine.gpu = said
    gpu = describe_gpu(1, machine.backend())
    assert gpu is not None
    assert (gpu.name, gpu.driver, gpu.cuda, gpu.max_clock_mhz) == ("NVIDIA H100", "580.65.06", "13.0", 1980)
    assert (gpu.memory_mb, gpu.clock_mhz) == (memory, clock)


def test_no_gpu_no_driver_no_tool_no_description() -> None:
    machine = FakeMachine()
    assert describe_gpu(2, machine.backend()) is None
    machine.init_status = 100
    assert describe_gpu(0, machine.backend()) is None
    for missing in ("libcuda.so.1", "nvidia-smi"):
        machine = FakeMachine()
        machine.missing_libraries = {missing}
        assert describe_gpu(0, machine.backend()) is None


@pytest.mark.parametrize(
    "failure", [subprocess.CalledProcessError(9, "nvidia-smi"), subprocess.TimeoutExpired("x", 20)]
)
def test_a_tool_that_fails_is_no_description(failure: Exception) -> None:
    backend = FakeMachine().backend()

    def fail(command: Sequence[str]) -> Any:
        raise failure

    assert describe_gpu(0, Backend(backend.onnxruntime, backend.load_library, backend.platform, fail)) is None


def test_a_real_tool_is_run() -> None:
    assert Backend(None).output_of([sys.executable, "-c", "print('said')"]) == "said\n"


def test_wheels_of_onnxruntime_are_found_among_the_packages() -> None:
    packages = installed_packages()
    assert packages["numpy"] == np.__version__
    assert len(onnxruntime_wheels(packages)) == 1
    assert onnxruntime_wheels({"onnx": "1", "onnxruntime": "1", "onnxruntime-gpu": "1", "onnxruntime_x_y": "1"}) == [
        "onnxruntime",
        "onnxruntime-gpu",
    ]


def test_a_session_that_nobody_holds_is_closed_at_once() -> None:
    session = Session.open(tiny_model(), "cpu")
    binding, held = bound(session), weakref.ref(session)
    del session, binding
    assert held() is None


def test_bindings_of_one_session_have_graphs_of_their_own() -> None:
    machine = FakeMachine()
    session = Session.open(tiny_model(), "cuda", SessionOptions(cuda_graph=True), backend=machine.backend())
    first, second = bound(session), bound(session, transfer=True)
    for index in range(3):
        first.run(index)
        second.run(index)
        np.testing.assert_array_equal(first.results()["double"], np.full((2, 3), 2))
        np.testing.assert_array_equal(second.results()["double"], 2 * INPUTS[index]["x"])
    assert machine.events.count("record") == 2

"""``resnet-doctor`` on this machine, on machines with a GPU, and on broken ones."""

import os
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from support.commands import Ran as CommandRan
from support.machine import FakeMachine

from resnet_compile.cli.doctor import main
from resnet_compile.errors import DeviceError


class Ran(CommandRan):
    """One run of the command."""

    def line(self, name: str) -> str:
        """The line of that name."""
        (found,) = re.findall(rf"^{name} +(.+)$", self.out, re.MULTILINE)
        assert isinstance(found, str)
        return found


@pytest.fixture
def doctor(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    return lambda *arguments: Ran(main, arguments, capfd)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine with a GPU, in place of this one."""
    machine = FakeMachine()
    machine.nodes = {"CUDAExecutionProvider": ["Conv"]}
    backend = machine.backend()
    monkeypatch.setattr("resnet_compile.runtime.installed_backend", lambda: backend)
    return machine


def test_this_machine(doctor: Callable[..., Ran]) -> None:
    ran = doctor()
    assert (ran.code, ran.err) == (0, "")
    assert ran.line("cpu") == "ok: runs a network"
    assert ran.line("telemetry") == "off"
    assert ran.line("onnxruntime").startswith(onnxruntime.__version__)
    assert "CPUExecutionProvider" in ran.line("onnxruntime")
    assert f"numpy {np.__version__}" in ran.line("packages")
    assert ran.line("opsets").startswith("11 to 26 (IR 6 to 13), ")
    assert ran.line("cuda:0").startswith(("ok: ", "not usable: "))


def test_document(doctor: Callable[..., Ran]) -> None:
    ran = doctor("--json")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    devices = ["cpu", "openvino", "openvino-bf16", "cuda:0", "tensorrt:0"]
    assert [device["device"] for device in document["devices"]] == devices
    assert document["devices"][0]["usable"] is True
    assert document["opsets"][0] == {"opset": 11, "ir_version": 6, "runs": True}
    assert document["faults"] == []
    assert document["onnxruntime"]["telemetry"] == "off"


def test_a_gpu_that_works(machine: FakeMachine, doctor: Callable[..., Ran]) -> None:
    ran = doctor()
    assert ran.code == 0
    assert ran.line("gpu") == "NVIDIA H100, 81559 MiB, driver 580.65.06, CUDA to 13.0"
    assert ran.line("cuda:0") == "ok: runs a network; its result is the CPU's to 0e+00"
    assert "built with CUDA 13.0" in ran.line("onnxruntime")


def test_a_gpu_that_computes_something_else(machine: FakeMachine, doctor: Callable[..., Ran]) -> None:
    machine.error = 0.01
    ran = doctor()
    assert ran.code == 0
    assert ran.line("cuda:0").startswith("not usable: runs a network, but its result differs from the CPU's by ")


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("libcuda.so.1", "no NVIDIA driver (libcuda.so.1 does not load) (install the NVIDIA driver)"),
        ("libcudnn.so.9", 'cuDNN 9 is missing (libcudnn.so.9) (pip install ".[cuda]")'),
    ],
)
def test_what_cuda_lacks_is_said_and_the_cpu_suffices(
    machine: FakeMachine, doctor: Callable[..., Ran], library: str, words: str
) -> None:
    machine.missing_libraries = {library}
    ran = doctor()
    assert ran.code == 0
    assert ran.line("cuda:0") == f"not usable: CUDA is not usable: {words}"


def test_a_driver_too_old_for_the_wheel(machine: FakeMachine, doctor: Callable[..., Ran]) -> None:
    machine.driver_version = 12080
    ran = doctor()
    assert "the NVIDIA driver supports CUDA 12.8 and onnxruntime needs 13" in ran.line("cuda:0")
    assert ran.line("gpu").endswith("CUDA to 12.8")


def test_opsets_that_this_onnxruntime_does_not_take(machine: FakeMachine, doctor: Callable[..., Ran]) -> None:
    machine.newest_opset = 20
    ran = doctor()
    assert ran.line("opsets") == "11 to 26 (IR 6 to 13), not run here: 21, 22, 23, 24, 25, 26"
    assert [each["opset"] for each in doctor("--json").document["opsets"] if not each["runs"]] == [
        21,
        22,
        23,
        24,
        25,
        26,
    ]


def test_two_wheels_of_onnxruntime(monkeypatch: pytest.MonkeyPatch, doctor: Callable[..., Ran]) -> None:
    packages = {"numpy": "2.4.6", "onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.0", "onnx": "1.23.2"}
    monkeypatch.setattr("resnet_compile.runtime.installed_packages", lambda: packages)
    ran = doctor()
    assert ran.line("fault") == (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files "
        "(pip uninstall onnxruntime onnxruntime-gpu, then pip install . again)"
    )
    assert len(doctor("--json").document["faults"]) == 1


def test_telemetry_that_someone_turned_on(monkeypatch: pytest.MonkeyPatch, doctor: Callable[..., Ran]) -> None:
    import resnet_compile.runtime  # sets the variable, once

    assert resnet_compile.runtime.__name__ in sys.modules
    monkeypatch.setitem(os.environ, "ORT_DISABLE_TELEMETRY", "0")
    assert doctor().line("telemetry") == "on"


def test_no_onnxruntime_at_all(monkeypatch: pytest.MonkeyPatch, doctor: Callable[..., Ran]) -> None:
    def absent() -> Any:
        raise DeviceError("onnxruntime does not load: no such module", hint="pip install .")

    monkeypatch.setattr("resnet_compile.runtime.installed_backend", absent)
    for arguments in ((), ("--json",)):
        ran = doctor(*arguments)
        assert ran.code == 4
        assert ran.err == "resnet-doctor: error: the CPU does not run a network @ cpu\n"
    assert ran.document["devices"] == [
        {
            "device": "cpu",
            "usable": False,
            "finding": "onnxruntime does not load: no such module",
            "hint": "pip install .",
        }
    ]


def test_a_cpu_that_runs_nothing(machine: FakeMachine, doctor: Callable[..., Ran]) -> None:
    machine.newest_opset = 1
    ran = doctor()
    assert ran.code == 4
    assert ran.line("cpu").startswith("not usable: onnxruntime cannot load the model: ")
    assert ran.line("opsets").endswith("not run here: 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26")

"""Sessions: the models they take, the devices they run on, and what they say when they cannot."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from support.machine import CPU, CUDA, FakeMachine, tiny_model

import resnet_compile
from resnet_compile.errors import DeviceError, ModelFileError, OptionError, ResnetCompileError
from resnet_compile.runtime import (
    AUTO,
    PROVIDERS,
    Device,
    Session,
    SessionOptions,
    choose_device,
    installed_backend,
    parse_device,
)
from resnet_compile.runtime.cuda import CUDA as CUDA_ROW
from resnet_compile.targets import Target

PACKAGE = Path(resnet_compile.__file__).parent

CUDA_DEFAULTS = {
    "device_id": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    "fuse_conv_bias": "0",
    "use_tf32": "0",
    "prefer_nhwc": "0",
    "enable_cuda_graph": "0",
}


# Older versions of onnxruntime than 1.24 cannot tell.
TELLS_ASSIGNMENT = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
X = np.array([[1, -2, 3]], np.float32)


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


# --- telemetry and the one place --------------------------------------------------------------------------------------


def test_importing_the_runtime_turns_telemetry_off_and_loads_no_onnxruntime() -> None:
    code = (
        "import os, sys, resnet_compile.runtime as _;"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["1", "False"]


def test_telemetry_is_also_off_where_onnxruntime_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: calls.append("off"))
    assert installed_backend().onnxruntime is onnxruntime
    assert calls == ["off"]


def sources_with(pattern: str) -> set[str]:
    sources = PACKAGE.rglob("*.py")
    return {path.relative_to(PACKAGE).as_posix() for path in sources if re.search(pattern, path.read_text("utf-8"))}


def test_telemetry_and_sessions_have_one_place() -> None:
    assert sources_with("ORT_DISABLE_TELEMETRY") == {"runtime/__init__.py"}
    assert sources_with(r"InferenceSession\(") == {"runtime/session.py"}


def test_missing_onnxruntime_is_a_device_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match=r"onnxruntime does not load: .*\(pip install \.\)"):
        Session.open(tiny_model(), "cpu")


# --- sessions on the CPU ----------------------------------------------------------------------------------------------


def test_session_tells_its_model_and_runs_it(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model(**{"resnet_compile.preprocess": "cifar"}))
    for model in (path, str(path), path.read_bytes()):
        session = Session.open(model, "cpu")
        assert [str(info) for info in session.inputs.values()] == ["x float32[batch, 3]"]
        assert list(session.outputs) == ["double", "positive"]
        assert session.metadata == {"resnet_compile.preprocess": "cifar"}
        assert (str(session.device), session.reason) == ("cpu", "asked for")
        assert session.assignment == ({CPU: {"Add": 1, "Relu": 1}} if TELLS_ASSIGNMENT else None)
        results = session.run({"x": X})
        np.testing.assert_array_equal(results["double"], [[2, -4, 6]])
        np.testing.assert_array_equal(results["positive"], [[1, 0, 3]])
        assert list(session.run({"x": X}, ["positive"])) == ["positive"]
        assert list(session.run({"x": X}, ["positive", "double"])) == ["positive", "double"]


def test_types_are_named_as_numpy_names_them() -> None:
    kinds = {
        TensorProto.FLOAT16: "float16",
        TensorProto.DOUBLE: "float64",
        TensorProto.INT64: "int64",
        TensorProto.BOOL: "bool",
    }
    names = [f"x{kind}" for kind in kinds]
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names],
        "types",
        [helper.make_tensor_value_info(name, kind, [2, None]) for name, kind in zip(names, kinds, strict=True)],
        [helper.make_tensor_value_info(f"{name}_out", kind, None) for name, kind in zip(names, kinds, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = Session.open(model.SerializeToString(), "cpu")
    assert [str(info) for info in session.inputs.values()] == [
        f"{name} {dtype}[2, ?]" for name, dtype in zip(names, kinds.values(), strict=True)
    ]
    arrays = {name: np.ones((2, 1), dtype) for name, dtype in zip(names, kinds.values(), strict=True)}
    for name, array in session.run(arrays).items():
        assert array.dtype.name == kinds[int(name[1:].removesuffix("_out"))]


def test_options_reach_onnxruntime_and_are_recorded(tmp_path: Path) -> None:
    options = SessionOptions(
        threads=1,
        spinning=False,
        memory_arena=False,
        memory_pattern=False,
        graph_optimization="basic",
        profile=str(tmp_path / "profile"),
        log_severity="error",
    )
    session = Session.open(tiny_model(), "cpu", options)
    native = session.native.get_session_options()
    assert native.intra_op_num_threads == 1
    assert native.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert native.enable_cpu_mem_arena is False
    assert native.enable_mem_pattern is False
    assert native.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert native.log_severity_level == 3
    assert Path(session.native.end_profiling()).parent == tmp_path
    record = json.loads(json.dumps(session.record()))
    assert record["options"]["spinning"] is False
    assert record["options"]["threads"] == 1
    assert record["device"] == "cpu"
    assert record["onnxruntime"] == onnxruntime.__version__
    assert record["providers"] == {CPU: {}}
    assert record["nodes"] == ({CPU: {"Add": 1, "Relu": 1}} if TELLS_ASSIGNMENT else None)


@pytest.mark.parametrize("change", [{"threads": -1}, {"graph_optimization": "most"}, {"log_severity": "loud"}])
def test_impossible_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(change))):
        SessionOptions(**change)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": X, "y": X}, "the model has no input 'y' (it has x)"),
        ({"x": X.astype(np.float64)}, "the input must be x float32[batch, 3], got x float64[1, 3]"),
        ({"x": X[:, :2]}, "the input must be x float32[batch, 3], got x float32[1, 2]"),
        ({"x": X[0]}, "the input must be x float32[batch, 3], got x float32[3]"),
    ],
)
def test_wrong_inputs_are_described(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Session.open(tiny_model(), "cpu").run(inputs)
    assert str(caught.value) == message


def test_unknown_output_is_described() -> None:
    with pytest.raises(OptionError, match=r"the model has no output 'triple' \(it has double, positive\)"):
        Session.open(tiny_model(), "cpu").run({"x": X}, ["triple"])


def test_a_run_that_fails_is_one_line() -> None:
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[7, 7])
    session = Session.open(tiny_model(shape, helper.make_node("Reshape", ["x", "shape"], ["y"])), "cpu")
    with pytest.raises(ResnetCompileError, match=r"^the model failed: .* @ cpu$") as caught:
        session.run({"x": X}, ["y"])
    assert caught.value.exit_code == 1


# --- files that are no models -----------------------------------------------------------------------------------------


def external_data_model(folder: Path) -> bytes:
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="absent.bin")
    model = onnx.load_from_string(tiny_model(helper.make_node("Add", ["x", "w"], ["y"])))
    model.graph.initializer.append(weight)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"no model", "not a model that onnxruntime takes: "),
        (tiny_model()[:-30], "not a model that onnxruntime takes: "),
        (tiny_model(helper.make_node("Frobnicate", ["x"], ["y"])), "(not a model that|onnxruntime cannot load)"),
        (tiny_model(helper.make_node("Relu", ["nowhere"], ["y"])), "(not a model that|onnxruntime cannot load)"),
        (external_data_model(Path()), "(not a model that|onnxruntime cannot load).*absent"),
    ],
)
def test_broken_model_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for device in ("cpu", "auto"):
        with pytest.raises(ModelFileError, match=f"^{message}") as caught:
            Session.open(path, device)
        assert caught.value.where == str(path)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        assert "ONNXRuntimeError" not in str(caught.value)


def test_missing_model_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model: No such file or directory @ .*absent\.onnx"):
        Session.open(tmp_path / "absent.onnx", "cpu")
    with pytest.raises(ModelFileError, match=r"cannot read the model: .* @ "):
        Session.open(tmp_path, "cpu")
    with pytest.raises(ModelFileError, match=r"not a model that onnxruntime takes: .* @ <bytes>"):
        Session.open(b"no model", "cpu")


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "device"),
    [("auto", "None"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:12", "cuda:12")],
)
def test_device_names(name: str, device: str) -> None:
    assert str(parse_device(name)) == device


@pytest.mark.parametrize(
    "name", ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:٣", "cuda:1234", "cpu:0", "cuda:0 "]
)
def test_other_device_names_are_refused(name: str) -> None:
    known = "auto, cpu, openvino, openvino-bf16, cuda, cuda:N, tensorrt, tensorrt:N"
    with pytest.raises(OptionError, match=re.escape(f"device must be one of {known}, got {name!r}")):
        parse_device(name)


def test_every_provider_is_one_that_onnxruntime_knows(machine: FakeMachine) -> None:
    assert len({each.kind for each in PROVIDERS}) == len(PROVIDERS)
    for provider in PROVIDERS:
        assert provider.target in get_args(Target)
        if provider.engine is None:
            assert provider.name in onnxruntime.get_all_providers()
            assert (provider, *provider.rest)[-1].name == CPU, "the CPU takes the nodes that no other provider does"
        assert str(parse_device(provider.kind)) == str(Device(provider))
    assert set(AUTO) <= set(PROVIDERS)
    machine.available, machine.missing_libraries = [CPU], {"libcuda.so.1", "libcudnn.so.9"}
    assert str(choose_device("auto", machine.backend())) == str(Device(AUTO[-1]))


def test_cuda_session_runs_on_the_device_asked_for(machine: FakeMachine) -> None:
    options = SessionOptions(threads=3, tf32=True, nhwc=True, cuda_graph=True)
    session = Session.open(tiny_model(), "cuda:1", options, backend=machine.backend())
    cuda = {**CUDA_DEFAULTS, "device_id": "1", "use_tf32": "1", "prefer_nhwc": "1", "enable_cuda_graph": "1"}
    assert machine.opened == [([(CUDA, cuda), CPU], {"threads": 3})]
    assert (str(session.device), session.reason) == ("cuda:1", "asked for")
    assert session.assignment == {CUDA: {"Add": 1, "Relu": 1}, CPU: {"Shape": 1}}
    np.testing.assert_array_equal(session.run({"x": X})["double"], [[2, -4, 6]])
    record = json.loads(json.dumps(session.record()))
    assert record["providers"] == {CUDA: cuda, CPU: {}}
    assert record["nodes"] == {CUDA: {"Add": 1, "Relu": 1}, CPU: {"Shape": 1}}
    assert machine.log_severity == 4


def test_float32_products_are_not_rounded_unless_asked(machine: FakeMachine) -> None:
    Session.open(tiny_model(), "cuda", backend=machine.backend())
    cuda = CUDA_DEFAULTS
    assert machine.opened[0][0][0] == (CUDA, cuda)


def take_away(machine: FakeMachine, what: str) -> None:
    match what:
        case "wheel":
            machine.available = [CPU]
        case "driver":
            machine.missing_libraries.add("libcuda.so.1")
        case "gpu":
            machine.init_status = 100
        case "new driver":
            machine.driver_version = 12080
        case "all devices":
            machine.devices = 0
        case "second device":
            machine.devices = 1
        case "cuda":
            machine.printed = (
                "Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open shared object file\n"
                "Failed to load /site/nvidia/cu13/lib/libcurand.so.10: bad ELF\n"
                "Please follow https://onnxruntime.ai/docs/install/#cuda-and-cudnn to install CUDA.\n"
            )
        case "cudnn":
            machine.missing_libraries.add("libcudnn.so.9")


MISSING = {
    "wheel": ("the installed onnxruntime 1.31.1 is built without it", 'pip install ".[cuda]"'),
    "driver": ("no NVIDIA driver (libcuda.so.1 does not load)", "install the NVIDIA driver"),
    "gpu": ("the NVIDIA driver finds no usable GPU (cuInit gives 100)", "check with nvidia-smi"),
    "new driver": ("the NVIDIA driver supports CUDA 12.8 and onnxruntime needs 13", "update the NVIDIA driver"),
    "all devices": ("the NVIDIA driver knows no GPU", "check with nvidia-smi"),
    "second device": ("the NVIDIA driver knows only cuda:0", "check with nvidia-smi"),
    "cuda": ("CUDA 13 libraries are missing (libcublasLt.so.13, libcurand.so.10)", 'pip install ".[cuda]"'),
    "cudnn": ("cuDNN 9 is missing (libcudnn.so.9)", 'pip install ".[cuda]"'),
}


@pytest.mark.parametrize("what", MISSING)
def test_cuda_that_cannot_be_had_says_what_is_missing(
    machine: FakeMachine, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    take_away(machine, what)
    message, hint = MISSING[what]
    with pytest.raises(DeviceError) as caught:
        Session.open(tiny_model(), "cuda:1", backend=machine.backend())
    assert caught.value.exit_code == 4
    assert caught.value.message == f"CUDA is not usable: {message}"
    assert caught.value.where == "cuda:1"
    assert hint in str(caught.value.hint)
    assert machine.opened == []  # not even a CPU session
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("what", MISSING)
def test_auto_takes_the_cpu_and_says_why(machine: FakeMachine, what: str) -> None:
    take_away(machine, what)
    session = Session.open(tiny_model(), "auto", backend=machine.backend())
    if what == "second device":  # auto wants only the first
        assert (str(session.device), session.reason) == ("cuda:0", "auto: CUDA works")
    else:
        assert (str(session.device), session.reason) == ("cpu", f"auto: CUDA is not usable: {MISSING[what][0]}")
        assert machine.opened == [([CPU], {"threads": 0})]


def test_everything_missing_is_said_at_once(machine: FakeMachine) -> None:
    for what in ("driver", "cuda", "cudnn"):
        take_away(machine, what)
    faults = CUDA_ROW.faults(0, machine.backend())
    assert [fault.message for fault in faults] == [MISSING[what][0] for what in ("driver", "cuda", "cudnn")]
    with pytest.raises(DeviceError) as caught:
        Session.open(tiny_model(), "cuda", backend=machine.backend())
    assert caught.value.hint == 'install the NVIDIA driver; pip install ".[cuda]"'


@pytest.mark.parametrize(("devices", "known"), [(2, "only cuda:0 to cuda:1"), (1, "only cuda:0"), (0, "no GPU")])
def test_device_out_of_range(machine: FakeMachine, devices: int, known: str) -> None:
    machine.devices = devices
    with pytest.raises(DeviceError, match=f"the NVIDIA driver knows {known} @ cuda:2"):
        Session.open(tiny_model(), "cuda:2", backend=machine.backend())


def test_windows_has_its_own_library_names(machine: FakeMachine) -> None:
    machine.missing_libraries = {"nvcuda.dll", "cudnn64_9.dll"}
    machine.printed = "Failed to load C:\\site\\nvidia\\cu13\\bin\\x86_64\\cublas64_13.dll: not found\n"
    assert [fault.message for fault in CUDA_ROW.faults(0, machine.backend("win32"))] == [
        "no NVIDIA driver (nvcuda.dll does not load)",
        "CUDA 13 libraries are missing (cublas64_13.dll)",
        "cuDNN 9 is missing (cudnn64_9.dll)",
    ]
    assert CUDA_ROW.faults(0, machine.backend("linux")) != ()  # its printed fault stays; the .dll names do not matter
    machine.printed = ""
    assert CUDA_ROW.faults(0, machine.backend("linux")) == ()


def test_a_session_that_left_cuda_out_is_an_error(machine: FakeMachine) -> None:
    machine.session_providers = [CPU]
    with pytest.raises(DeviceError, match="onnxruntime left the CUDA provider out"):
        Session.open(tiny_model(), "cuda", backend=machine.backend())
    session = Session.open(tiny_model(), "auto", backend=machine.backend())
    assert str(session.device) == "cpu"
    assert session.reason.startswith("auto: onnxruntime left the CUDA provider out")


def test_a_session_with_no_node_on_cuda_is_an_error(machine: FakeMachine) -> None:
    machine.nodes = {CPU: ["Add", "Relu"]}
    with pytest.raises(DeviceError, match="onnxruntime gave no node of the model to CUDA @ cuda:0"):
        Session.open(tiny_model(), "cuda", backend=machine.backend())


def native_error(name: str, text: str) -> Exception:
    error = getattr(onnxruntime.capi.onnxruntime_pybind11_state, name)(text)
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize("name", ["Fail", "RuntimeException", "EPFail"])
def test_cuda_that_fails_while_loading_is_a_device_error(machine: FakeMachine, name: str) -> None:
    machine.session_error = native_error(name, "[ONNXRuntimeError] : 6 : FAIL : CUDA failure 2: out of\nmemory")
    with pytest.raises(DeviceError, match=r"^CUDA failed: CUDA failure 2: out of memory @ cuda:0$"):
        Session.open(tiny_model(), "cuda", backend=machine.backend())
    assert Session.open(tiny_model(), "auto", backend=machine.backend()).reason.startswith("auto: CUDA failed")


def test_a_model_at_fault_is_not_blamed_on_the_device(machine: FakeMachine) -> None:
    machine.session_error = native_error("Fail", "[ONNXRuntimeError] : 1 : FAIL : opset 99 is not supported.")
    for device in ("cuda", "auto"):
        with pytest.raises(
            ModelFileError, match="onnxruntime cannot load the model: opset 99 is not supported @ <bytes>"
        ):
            Session.open(tiny_model(), device, backend=machine.backend())


def test_failing_run_on_cuda_says_where_and_what_helps(machine: FakeMachine) -> None:
    session = Session.open(tiny_model(), "cuda", backend=machine.backend())

    def run(names: Iterable[str], inputs: dict[str, Any]) -> Any:
        raise native_error("RuntimeException", "Failed to allocate memory for requested buffer of size 9")

    session.native.run = run
    with pytest.raises(ResnetCompileError, match=r"the model failed: Failed to allocate.* @ cuda:0 \(a smaller batch"):
        session.run({"x": X})


def test_older_onnxruntime_cannot_tell_the_assignment(machine: FakeMachine) -> None:
    backend = machine.backend()
    opened = backend.onnxruntime.InferenceSession

    def older(*args: Any, **kwargs: Any) -> Any:
        session = opened(*args, **kwargs)
        del session.get_provider_graph_assignment_info
        return session

    backend.onnxruntime.InferenceSession = older
    session = Session.open(tiny_model(), "cuda", backend=backend)
    assert session.assignment is None
    assert session.record()["nodes"] is None


def test_this_machine_gives_cuda_or_says_why_not(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(DeviceError):
        session = Session.open(tiny_model(), "cuda")
        assert session.native.get_providers()[0] == CUDA
        assert session.assignment is None or CUDA in session.assignment
    assert capfd.readouterr() == ("", "")

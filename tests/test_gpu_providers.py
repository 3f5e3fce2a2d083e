"""What onnxruntime's providers for NVIDIA GPUs are asked for, and what of their answers is an error."""

from typing import Any

import numpy as np
import pytest
from support.machine import CPU, CUDA, TENSORRT, FakeMachine, tiny_model

from resnet_compile.bench import VARIANTS, BenchOptions, Protocol, Subject, bench
from resnet_compile.errors import DeviceError, OptionError
from resnet_compile.report.bench_text import bench_text
from resnet_compile.runtime import Session, SessionOptions

X = {"x": np.ones((2, 3), np.float32)}
FALLBACK = "OP Conv(net/block1/conv1) running in Fallback mode. May be extremely slow."


@pytest.fixture
def machine() -> FakeMachine:
    machine = FakeMachine()
    machine.available = [TENSORRT, CUDA, CPU]
    machine.session_providers = [TENSORRT, CUDA, CPU]
    machine.nodes = {CUDA: ["Add", "Relu"], TENSORRT: ["Add"]}
    return machine


def opened(machine: FakeMachine, device: str = "cuda", **options: Any) -> dict[str, str]:
    """The options that the first provider of a session was opened with."""
    Session.open(tiny_model(), device, SessionOptions(**options), backend=machine.backend())
    found: dict[str, str] = machine.opened[-1][0][0][1]
    return found


# --- CUDA -------------------------------------------------------------------------------------------------------------


def test_the_search_that_means_the_slow_fallback_cannot_be_asked_for(machine: FakeMachine) -> None:
    assert opened(machine)["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert opened(machine, conv_search="heuristic")["cudnn_conv_algo_search"] == "HEURISTIC"
    with pytest.raises(OptionError, match=r"must be 'exhaustive' or 'heuristic', got 'default' @ \$\.conv_search"):
        SessionOptions(conv_search="default")


@pytest.mark.parametrize(
    ("variant", "name", "value"),
    [
        ("tf32", "use_tf32", "1"),
        ("nhwc", "prefer_nhwc", "1"),
        ("fused-bias", "fuse_conv_bias", "1"),
        ("small-workspace", "cudnn_conv_use_max_workspace", "0"),
        ("heuristic", "cudnn_conv_algo_search", "HEURISTIC"),
    ],
)
def test_a_variant_changes_one_option_of_cudas(machine: FakeMachine, variant: str, name: str, value: str) -> None:
    defaults, changed = opened(machine), opened(machine, **VARIANTS[variant])
    assert {key for key in defaults if defaults[key] != changed[key]} == {name}
    assert changed[name] == value
    assert len(VARIANTS) == 5


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_the_warning_of_the_slow_fallback_is_an_error(machine: FakeMachine, device: str) -> None:
    session = Session.open(tiny_model(), device, backend=machine.backend())
    session.first_run(X)
    machine.log = FALLBACK
    session.run(X)  # later runs say nothing of it
    with pytest.raises(DeviceError, match=r"would run 1 of the nodes in its slow fallback, such as Conv\(net/bl"):
        session.first_run(X)


def test_the_log_is_let_through_to_those_who_want_it(machine: FakeMachine, capfd: pytest.CaptureFixture[str]) -> None:
    machine.log = "something else"
    Session.open(tiny_model(), "cuda", backend=machine.backend()).first_run(X)
    assert capfd.readouterr().err == ""
    assert machine.log_severity == 4
    Session.open(tiny_model(), "cuda", SessionOptions(log_severity="warning"), backend=machine.backend()).first_run(X)
    assert "conv.cc:425 UpdateState] something else" in capfd.readouterr().err


def test_a_cpu_session_has_no_such_warning(machine: FakeMachine) -> None:
    session = Session.open(tiny_model(), "cpu", backend=machine.backend())
    assert session.first_run(X)["positive"].shape == (2, 3)


def test_a_node_on_the_cpu_is_an_error_where_it_is_refused(machine: FakeMachine) -> None:
    machine.nodes = {CUDA: ["Add"], CPU: ["Relu"]}
    with pytest.raises(
        DeviceError, match=r"CUDA does not support some nodes of the model, which would run on the CPU @ cuda:0"
    ):
        Session.open(tiny_model(), "cuda", SessionOptions(cpu_fallback=False), backend=machine.backend())
    assert [provider[0] for provider in machine.opened[-1][0]] == [CUDA]
    Session.open(tiny_model(), "cuda", backend=machine.backend())
    assert machine.opened[-1][0][1] == CPU


def test_on_the_cpu_itself_nothing_is_refused(machine: FakeMachine) -> None:
    Session.open(tiny_model(), "cpu", SessionOptions(cpu_fallback=False), backend=machine.backend()).run(X)


@pytest.mark.parametrize("library", ["libcufft.so.12", "libnvrtc.so.13"])
def test_libraries_that_no_network_takes_are_not_missed(machine: FakeMachine, library: str) -> None:
    machine.printed = f"Failed to load {library}: not found\n"
    opened(machine)
    machine.printed += "Failed to load libcublas.so.13: not found\n"
    with pytest.raises(DeviceError, match=r"libraries are missing \(libcublas\.so\.13\)"):
        opened(machine)


# --- TensorRT ---------------------------------------------------------------------------------------------------------


def test_tensorrt_is_a_device(machine: FakeMachine) -> None:
    session = Session.open(tiny_model(), "tensorrt:1", backend=machine.backend())
    assert (str(session.device), session.reason) == ("tensorrt:1", "asked for")
    (tensorrt, settings), (cuda, _), cpu = machine.opened[-1][0]
    assert (tensorrt, cuda, cpu) == (TENSORRT, CUDA, CPU)
    assert settings == {"device_id": "1", "trt_cuda_graph_enable": "0"}


def test_tensorrts_engines_and_shapes(machine: FakeMachine) -> None:
    shapes = {"x": (2, 3), "mask": (1,)}
    settings = opened(machine, "tensorrt", engine_cache="/engines", shapes=shapes, cuda_graph=True)
    assert settings == {
        "device_id": "0",
        "trt_cuda_graph_enable": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/engines",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/engines",
        **{f"trt_profile_{which}_shapes": "x:2x3,mask:1" for which in ("min", "opt", "max")},
    }


def test_what_tensorrt_lacks_is_said(machine: FakeMachine) -> None:
    machine.missing_libraries = {"libnvinfer.so.10"}
    with pytest.raises(
        DeviceError, match=r"TensorRT is not usable: TensorRT 10 is missing \(libnvinfer\.so\.10\) @ te"
    ):
        opened(machine, "tensorrt")
    machine.missing_libraries |= {"libcudnn.so.9"}
    with pytest.raises(DeviceError, match=r"cuDNN 9 is missing \(libcudnn.so.9\); TensorRT 10 is missing"):
        opened(machine, "tensorrt")
    machine.available = [CUDA, CPU]
    with pytest.raises(DeviceError, match=r"the installed onnxruntime 1\.31\.1 is built without it"):
        opened(machine, "tensorrt")


# --- the bench --------------------------------------------------------------------------------------------------------


def image_model() -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def run(machine: FakeMachine, *variants: str, **options: Any) -> Any:
    subjects = [Subject(f"net {words}", image_model(), variant=words) for words in ("", *variants)]
    settings = {"device": "cuda", "batches": (1,), "protocol": Protocol(steps=2, burn_in=0), **options}
    return bench(subjects, BenchOptions(**settings), backend=machine.backend())


def test_the_bench_refuses_nodes_on_the_cpu_unless_it_is_told(machine: FakeMachine) -> None:
    machine.nodes = {CUDA: ["Relu"] * 3, CPU: ["Shape", "Gather", "Shape"]}
    with pytest.raises(DeviceError, match="would run on the CPU") as raised:
        run(machine)
    assert raised.value.exit_code == 4
    text = bench_text(run(machine, cpu_fallback=True))
    assert "net : nodes 3 on CUDA, 3 on CPU (2 Shape, 1 Gather)" in text


def test_the_bench_fails_at_the_warning(machine: FakeMachine) -> None:
    machine.log = FALLBACK
    with pytest.raises(DeviceError, match="slow fallback"):
        run(machine)


def test_variants_are_compared_with_the_defaults(machine: FakeMachine) -> None:
    machine.nodes = {CUDA: ["Relu"]}
    found = run(machine, "nhwc+tf32", "heuristic", protocol=Protocol(steps=1, burn_in=0))
    assert {each.comparison.other for each in found.comparisons} == {"net nhwc+tf32", "net heuristic"}
    asked = {(row.session["options"]["nhwc"], row.session["options"]["conv_search"]) for row in found.rows}
    assert asked == {(False, "exhaustive"), (True, "exhaustive"), (False, "heuristic")}


def test_variants_are_of_cuda(machine: FakeMachine) -> None:
    with pytest.raises(OptionError, match=r"tf32 is a variant of CUDA's \(--device cuda\)"):
        run(machine, "tf32", device="cpu")
    with pytest.raises(OptionError, match=r"no variant is called 'fast' @ variant \(one of tf32, nhwc, "):
        run(machine, "nhwc+fast")

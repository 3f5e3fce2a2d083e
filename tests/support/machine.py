"""A machine with a GPU, made up at the seam that `resnet_compile.runtime.Backend` is."""

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from resnet_compile.runtime import Backend

CUDA, CPU, TENSORRT = "CUDAExecutionProvider", "CPUExecutionProvider", "TensorrtExecutionProvider"


def tiny_model(*nodes: onnx.NodeProto, **metadata: str) -> bytes:
    """x float32 [batch, 3] to double = x + x and positive = relu(x), or the nodes given instead."""
    nodes = nodes or (helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("Relu", ["x"], ["positive"]))
    read = {name for node in nodes for name in node.input}
    outputs = [name for node in nodes for name in node.output if name not in read]
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


class FakeValue:
    """A value on a device, with a diary of what is copied there and back."""

    def __init__(self, real: Any, place: str, events: list[str]) -> None:
        self.real = real
        self.place = place
        self._events = events

    def update_inplace(self, array: np.ndarray) -> None:
        self._events.append(f"to {self.place}")
        self.real.update_inplace(array)

    def numpy(self) -> np.ndarray:
        self._events.append(f"from {self.place}")
        return np.array(self.real.numpy())


class FakeBinding:
    """What onnxruntime's IOBinding does, for values of our own."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs: dict[str, FakeValue] = {}
        self._outputs: dict[str, FakeValue] = {}
        self._events: list[str] = []

    def bind_ortvalue_input(self, name: str, value: FakeValue) -> None:
        self._inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: FakeValue) -> None:
        self._outputs[name] = value

    def run(self, graphs: dict[str, list[int]] | None, run_options: Any, events: list[str]) -> None:
        """Runs; with a CUDA graph, `graphs` holds the addresses that each was recorded with."""
        self._events = events
        addresses = [value.real.data_ptr() for value in (*self._inputs.values(), *self._outputs.values())]
        if graphs is not None:
            number = run_options.get_run_config_entry("gpu_graph_id")
            events.append("replay" if number in graphs else "record")
            recorded = graphs.setdefault(number, addresses)
            assert recorded == addresses, "a replayed graph knows only the addresses that it was recorded with"
        else:
            events.append("run")
        feeds = {name: value.real.numpy() for name, value in self._inputs.items()}
        for name, array in zip(self._outputs, self._session.run(list(self._outputs), feeds), strict=True):
            self._outputs[name].real.update_inplace(array)

    def synchronize_outputs(self) -> None:
        self._events.append("synchronize")


class FakeCpuSession:
    """A CPU session of onnxruntime whose bindings take our values."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.io_binding = lambda: FakeBinding(real)
        self.run_with_iobinding = lambda binding, run_options: binding.run(None, run_options, [])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class FakeMachine:
    """A machine with an NVIDIA driver and CUDA's libraries, some of which can be taken away.

    Its sessions compute on the CPU and say what a machine with a GPU would.
    """

    def __init__(self) -> None:
        self.available = [CUDA, CPU]
        self.missing_libraries: set[str] = set()
        self.init_status = 0
        self.driver_version = 13000
        self.devices = 2
        self.printed = ""
        self.session_providers = [CUDA, CPU]
        self.nodes = {CUDA: ["Add", "Relu"], CPU: ["Shape"]}
        self.session_error: Exception | None = None
        self.opened: list[tuple[Any, dict[str, Any]]] = []
        self.log_severity: int | None = None
        # What happened to device memory, and which runs CUDA recorded.
        self.events: list[str] = []
        # What its GPU adds to every result, and the newest opset that its onnxruntime takes.
        self.error = 0.0
        self.newest_opset = 99
        self.l2_bytes = 4096
        self.nvml: Any = None
        # What its kernels write to the log when they run.
        self.log = ""
        self.gpu = "NVIDIA H100, 580.65.06, 81559, 1024, 345, 1980"

    def backend(self, platform: str = "linux") -> Backend:
        module = SimpleNamespace(
            **{name: getattr(onnxruntime, name) for name in ("ExecutionMode", "GraphOptimizationLevel")},
            SessionOptions=onnxruntime.SessionOptions,
            capi=onnxruntime.capi,
            __version__="1.31.1",
            cuda_version="13.0",
            get_available_providers=lambda: self.available,
            preload_dlls=lambda: print(self.printed, end=""),
            set_default_logger_severity=lambda level: setattr(self, "log_severity", level),
            InferenceSession=self._open,
            RunOptions=onnxruntime.RunOptions,
            OrtValue=self._values(),
        )
        return Backend(module, self._load_library, platform, lambda: self.nvml, self._output_of)

    def _output_of(self, command: Sequence[str]) -> str:
        if command[0] in self.missing_libraries:
            raise FileNotFoundError(command[0])
        assert command[1].startswith("--id=0000:0A:00.")
        assert command[2].count(",") == self.gpu.count(",")
        return f"{self.gpu}\n"

    def _values(self) -> Any:
        def made(what: str, *arguments: Any) -> FakeValue:
            *values, kind, index = arguments
            # The real one keeps the array where it is on a CPU; a device has a copy.
            values = [np.array(value) if isinstance(value, np.ndarray) else value for value in values]
            return FakeValue(getattr(onnxruntime.OrtValue, what)(*values), f"{kind}:{index}", self.events)

        return SimpleNamespace(
            ortvalue_from_numpy=partial(made, "ortvalue_from_numpy"),
            ortvalue_from_shape_and_type=partial(made, "ortvalue_from_shape_and_type"),
        )

    def _load_library(self, name: str) -> Any:
        if name in self.missing_libraries:
            raise OSError(f"{name}: cannot open shared object file")

        def store(number: Callable[[], int]) -> Callable[[Any], int]:
            def function(reference: Any) -> int:
                assert isinstance(reference._obj, ctypes.c_int)
                reference._obj.value = number()
                return 0

            return function

        return SimpleNamespace(
            cuInit=lambda flags: self.init_status,
            cuDriverGetVersion=store(lambda: self.driver_version),
            cuDeviceGetCount=store(lambda: self.devices),
            cuDeviceGetPCIBusId=self._bus_id,
            cuDeviceGetAttribute=self._attribute,
        )

    def _attribute(self, reference: Any, attribute: int, index: int) -> int:
        assert attribute == 38  # the size of the L2 cache
        reference._obj.value = self.l2_bytes
        return 0 if index < self.devices else 101

    def _bus_id(self, place: Any, length: int, index: int) -> int:
        assert length == len(place)
        place.value = b"0000:0A:00.%d" % index
        return 0 if index < self.devices else 101

    def _refuses_cpu(self, options: Any) -> bool:
        try:
            return bool(options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1")
        except RuntimeError:  # it was not set
            return False

    def _open(self, source: Any, options: Any, *, providers: list[Any], enable_fallback: int) -> Any:
        assert enable_fallback == 0
        self.opened.append((providers, {"threads": options.intra_op_num_threads}))
        if self.session_error and providers != [CPU]:
            raise self.session_error
        if providers != [CPU] and self._refuses_cpu(options):
            assert CPU not in providers, "onnxruntime takes that for a contradiction"
            if self.nodes.get(CPU):
                message = "This session contains graph nodes that are assigned to the default CPU EP, but fallback to "
                raise onnxruntime.capi.onnxruntime_pybind11_state.Fail(f"[ONNXRuntimeError] : 1 : FAIL : {message}")
        if isinstance(source, bytes) and onnx.load_from_string(source).opset_import[0].version > self.newest_opset:
            raise onnxruntime.capi.onnxruntime_pybind11_state.Fail("[ONNXRuntimeError] : 1 : FAIL : opset too new")
        if self._refuses_cpu(options):  # where it computes all the same
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
        real = onnxruntime.InferenceSession(source, options, providers=[CPU])
        if providers == [CPU]:
            return FakeCpuSession(real)
        recorded = {CUDA: "enable_cuda_graph", TENSORRT: "trt_cuda_graph_enable"}[providers[0][0]]
        graphs: dict[str, list[int]] | None = {} if providers[0][1][recorded] == "1" else None

        def run(names: Sequence[str], inputs: dict[str, Any], run_options: Any = None) -> Any:
            skipped = run_options is not None and run_options.get_run_config_entry("gpu_graph_id") == "-1"
            assert skipped == (graphs is not None), "a run whose arrays come and go must not be recorded"
            if self.log and self.log_severity is not None and self.log_severity <= 2:
                os.write(2, f"2030-01-02 [W:onnxruntime:Default, conv.cc:425 UpdateState] {self.log}\n".encode())
            return [array + array.dtype.type(self.error) for array in real.run(names, inputs)]

        return SimpleNamespace(
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
            get_modelmeta=real.get_modelmeta,
            run=run,
            io_binding=lambda: FakeBinding(real),
            run_with_iobinding=lambda binding, run_options: binding.run(graphs, run_options, self.events),
            end_profiling=real.end_profiling,
            get_providers=lambda: self.session_providers,
            get_provider_options=lambda: {providers[0][0]: providers[0][1], CPU: {}},
            get_provider_graph_assignment_info=lambda: [
                SimpleNamespace(ep_name=name, get_nodes=lambda ops=ops: [SimpleNamespace(op_type=op) for op in ops])
                for name, ops in self.nodes.items()
            ],
        )


class NvmlError(Exception):
    """What NVIDIA's management library raises."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class FakeNvml:
    """NVIDIA's management library with one GPU, of which a test says what it tells; None is not supported.

    `reasons` and `sm_clocks` are told in turn, the last of them for ever.
    """

    NVMLError = NvmlError
    NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_GPU_IS_LOST = 3, 15
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self) -> None:
        self.reasons = [0]
        self.sm_clocks = [1980]
        self.memory_clock: int | None = 2619
        self.temperature: int | None = 41
        self.milliwatts: int | None = 350_000
        self.milliwatts_allowed: int | None = 700_000
        self.millijoules: int | None = 1_000_000
        self.millijoules_a_look = 500
        self.looks_until_lost: int | None = None
        self.opened = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetHandleByPciBusId(self, place: bytes) -> str:  # noqa: N802
        assert place.startswith(b"0000:0A:00.")
        return place.decode()

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        if self.looks_until_lost is not None:
            self.looks_until_lost -= 1
            if self.looks_until_lost < 0:
                raise NvmlError(self.NVML_ERROR_GPU_IS_LOST)
        return self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]

    def nvmlDeviceGetClockInfo(self, handle: str, which: int) -> int:  # noqa: N802
        if which == self.NVML_CLOCK_MEM:
            return self._told(self.memory_clock)
        return self.sm_clocks.pop(0) if len(self.sm_clocks) > 1 else self.sm_clocks[0]

    def nvmlDeviceGetApplicationsClock(self, handle: str, which: int) -> int:  # noqa: N802
        return self._told(None)  # as drivers from CUDA 14 on will

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._told(self.temperature)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return self._told(self.milliwatts)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:  # noqa: N802
        return self._told(self.milliwatts_allowed)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        if self.millijoules is not None:
            self.millijoules += self.millijoules_a_look
        return self._told(self.millijoules)

    def _told(self, value: int | None) -> int:
        if value is None:
            raise NvmlError(self.NVML_ERROR_NOT_SUPPORTED)
        return value

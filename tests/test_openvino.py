"""OpenVINO as an engine: by a stand-in that computes with onnxruntime, and by OpenVINO itself where it is installed."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from support.machine import tiny_model

from resnet_compile.bench import BenchOptions, Comparison, Protocol, Row, Subject, bench, median_ratio
from resnet_compile.bench.record import Sized
from resnet_compile.bench.run import output_error
from resnet_compile.errors import DeviceError, ModelFileError, OptionError
from resnet_compile.report.bench_text import bench_text, fastest_lines
from resnet_compile.runtime import Backend, Session, SessionOptions, usable_devices
from resnet_compile.training import train

X = np.array([[1, -2, 3]], np.float32)
FAST = BenchOptions(batches=(2,), protocol=Protocol(steps=3, burn_in=0))


class Axis:
    def __init__(self, axis: int | str) -> None:
        self._axis = axis
        self.is_dynamic = isinstance(axis, str)

    def get_length(self) -> int:
        return int(self._axis)


class Request:
    """onnxruntime's session under the names of OpenVINO's requests."""

    def __init__(self, session: Any, wrong: float) -> None:
        self._session, self._wrong = session, wrong
        self._tensors: dict[str, Any] = {}

    def set_tensor(self, name: str, tensor: Any) -> None:
        self._tensors[name] = tensor

    def get_tensor(self, name: str) -> Any:
        return self._tensors[name]

    def infer(self, feeds: Mapping[str, np.ndarray] | None = None) -> None:
        given = feeds or {each.name: self._tensors[each.name].data for each in self._session.get_inputs()}
        names = [each.name for each in self._session.get_outputs()]
        try:
            made = self._session.run(names, dict(given))
        except Exception as error:  # OpenVINO has one error for all
            raise RuntimeError(str(error)) from error
        for name, array in zip(names, made, strict=True):
            array = array * np.float32(1 + self._wrong)
            if feeds is None:
                self._tensors[name].data[...] = array
            else:
                self._tensors[name] = SimpleNamespace(data=array)


class StandIn:
    """What of the package `openvino` is called here. bfloat16 is wrong by a hundredth."""

    __version__ = "2026.4.1-1-release"

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = capabilities
        self.settings: list[dict[str, Any]] = []

    def Core(self) -> Any:  # noqa: N802  # OpenVINO's name
        return SimpleNamespace(
            get_property=lambda device, name: self.capabilities, read_model=self._read, compile_model=self._compile
        )

    @staticmethod
    def Tensor(array: np.ndarray, *, shared_memory: bool) -> Any:  # noqa: N802  # likewise
        assert shared_memory
        return SimpleNamespace(data=array)

    @staticmethod
    def _read(source: Path | bytes) -> Any:
        try:
            return onnxruntime.InferenceSession(source if isinstance(source, bytes) else str(source))
        except Exception as error:  # OpenVINO has one error for all
            raise RuntimeError(f"Exception from src/core.cpp:84:\n{type(error).__name__}\n") from error

    def _compile(self, session: Any, device: str, settings: dict[str, Any]) -> Any:
        assert device == "CPU"
        self.settings.append(settings)
        told = {
            "INFERENCE_PRECISION_HINT": SimpleNamespace(get_type_name=lambda: settings["INFERENCE_PRECISION_HINT"]),
            "INFERENCE_NUM_THREADS": settings.get("INFERENCE_NUM_THREADS", 2),
        }
        wrong = 0.01 if settings["INFERENCE_PRECISION_HINT"] == "bf16" else 0.0
        return SimpleNamespace(
            inputs=[_port(each) for each in session.get_inputs()],
            outputs=[_port(each) for each in session.get_outputs()],
            create_infer_request=lambda: Request(session, wrong),
            get_property=told.__getitem__,
        )


def _port(value: Any) -> Any:
    element = SimpleNamespace(to_dtype=lambda: np.dtype("float32"))
    return SimpleNamespace(any_name=value.name, element_type=element, partial_shape=list(map(Axis, value.shape)))


@pytest.fixture(params=["stand-in", "OpenVINO"])
def backend(request: pytest.FixtureRequest) -> Backend:
    module: Any = StandIn("FP32", "BF16")
    if request.param == "OpenVINO":
        module = pytest.importorskip("openvino")
    return Backend(onnxruntime, load_openvino=lambda: module)


def test_without_the_package_there_is_one_line_that_says_what_to_install() -> None:
    with pytest.raises(DeviceError) as caught:
        Session.open(tiny_model(), "openvino", backend=Backend(onnxruntime, load_openvino=lambda: None))
    message = 'OpenVINO is not usable: the package openvino is not installed @ openvino (pip install ".[openvino]")'
    assert str(caught.value) == message
    assert caught.value.exit_code == 4


def test_bfloat16_is_refused_on_a_processor_that_does_not_compute_in_it() -> None:
    backend = Backend(onnxruntime, load_openvino=lambda: StandIn("FP32"))
    with pytest.raises(DeviceError, match=r"does not compute in bfloat16 @ openvino-bf16 \(--device openvino "):
        Session.open(tiny_model(), "openvino-bf16", backend=backend)
    assert [str(device) for device in usable_devices(backend)][:2] == ["cpu", "openvino"]


def test_float32_is_asked_for_by_name() -> None:
    module = StandIn()
    backend = Backend(onnxruntime, load_openvino=lambda: module)
    Session.open(tiny_model(), "openvino", SessionOptions(threads=3), backend=backend)
    assert module.settings == [{"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 3}]


def test_a_session_is_that_of_the_cpu(backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_model(**{"resnet_compile.layout": "nchw"}))
    cpu, session = (Session.open(path, device, backend=backend) for device in ("cpu", "openvino"))
    assert (session.inputs["x"].dtype, session.inputs["x"].shape) == ("float32", (None, 3))
    assert [*session.outputs] == [*cpu.outputs]
    assert session.metadata == cpu.metadata
    assert session.assignment is None
    np.testing.assert_array_equal(session.run({"x": X}, ["double"])["double"], [[2, -4, 6]])
    assert session.record()["engine"].endswith(" in f32")
    assert session.record()["providers"]["OpenVINO"]["INFERENCE_PRECISION_HINT"] == "f32"
    binding = session.bind([{"x": X}, {"x": -X}], session.run({"x": X}), transfer=False)
    binding.run(1)
    np.testing.assert_array_equal(binding.results()["positive"], [[0, 2, 0]])
    np.testing.assert_array_equal(binding.results()["double"], [[-2, 4, -6]])


def test_what_is_no_model_is_one_line(backend: Backend) -> None:
    with pytest.raises(ModelFileError, match=r"^OpenVINO cannot load the model: .* @ <bytes>$") as caught:
        Session.open(b"no model", "openvino", backend=backend)
    assert "Exception from" not in str(caught.value)


def test_there_are_no_profiles(backend: Backend) -> None:
    with pytest.raises(OptionError, match="profiles are made by onnxruntime alone"):
        Session.open(tiny_model(), "openvino", SessionOptions(profile="p"), backend=backend)


def test_devices_are_compared_with_their_errors(backend: Backend) -> None:
    import resnet_compile as rc

    model = rc.compile(rc.load_spec("tiny")).to_proto().SerializeToString()
    devices = ("cpu", "openvino", "openvino-bf16")
    result = bench([Subject(name, model, device=name) for name in devices], FAST, backend=backend)
    assert (result.device, [row.session["device"] for row in result.rows]) == ("cpu", [*devices])
    first, exact, rounded = (row.error for row in result.rows)
    assert first is None
    assert exact is not None
    assert rounded is not None
    assert exact < 1e-5 < 1e-4 < rounded
    assert [each.comparison.other for each in result.comparisons] == [*devices[1:]]
    assert "\nbatch 2: " in bench_text(result)


def row(device: str, milliseconds: float, error: float | None) -> Row:
    session = {"device": device}
    return Row(device, 1, "host", (1,), 1, (milliseconds / 1e3,) * 9, None, 0, 0, None, None, session, error=error)


def test_the_fastest_is_named_and_the_fastest_with_the_same_outputs() -> None:
    rows = [row("cpu", 4, None), row("openvino", 3, 1e-6), row("openvino-bf16", 2, 1e-2)]
    quiet = median_ratio([1.0] * 9, [1.0] * 9)

    def lines(*some: Row) -> list[str]:
        told = [Comparison("cpu", one.model, median_ratio(some[0].seconds, one.seconds), quiet) for one in some[1:]]
        return list(fastest_lines(some, [Sized(1, "host", each) for each in told]))

    (told,) = lines(*rows)
    assert told.startswith("batch 1: fastest here is openvino-bf16, with outputs 1.0e-02 from those on cpu; ")
    assert told.endswith("; with the same outputs, openvino")
    assert lines(*rows[:2]) == ["batch 1: fastest here is openvino, with outputs 1.0e-06 from those on cpu"]
    assert lines(rows[0], row("openvino", 5, 1e-6)) == ["batch 1: none is seen to be faster here than cpu"]


def test_it_trains_no_network(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"OpenVINO trains no network @ openvino \(--device cpu does\)"):
        train("tiny", tmp_path, tmp_path / "run", device="openvino")


def test_outputs_of_other_names_have_no_error() -> None:
    one = {"logits": np.array([[3.0, 4.0]])}
    assert output_error({"logits": np.array([[3.0, 5.0]])}, one) == pytest.approx(1 / 5)
    assert output_error({"other": one["logits"]}, one) is None
    assert output_error({"logits": np.array([[3]])}, {"logits": np.array([[3]])}) is None

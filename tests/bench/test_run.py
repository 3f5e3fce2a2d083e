"""A benchmark from beginning to end on small networks: on the CPU, and on a made-up GPU."""

import json
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.machine import FakeMachine

from resnet_compile.bench import BenchListener, BenchOptions, Measured, Protocol, Subject, bench
from resnet_compile.bench.inputs import random_images
from resnet_compile.bench.record import Data
from resnet_compile.errors import DeviceError, ModelFileError, OptionError
from resnet_compile.runtime import ImageInput, Session

Axis = int | str
QUICK = Protocol(steps=5, burn_in=2)


def network(*shape: Axis, inputs: int = 1, dtype: int = TensorProto.FLOAT) -> bytes:
    """A network that keeps its first input's positive values, and has others besides."""
    names = [f"x{number}" for number in range(inputs)]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x0"], ["net/block1/relu"], "net/block1/relu")],
        "net",
        [helper.make_tensor_value_info(name, dtype, shape) for name in names],
        [helper.make_tensor_value_info("net/block1/relu", dtype, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


SMALL = network("batch", 3, 4, 6)


def run(*subjects: Subject, **options: Any) -> Any:
    listener, backend = options.pop("listener", None), options.pop("backend", None)
    settings = {"device": "cpu", "protocol": QUICK, "threads": 1, **options}
    return bench(subjects, BenchOptions(**settings), listener=listener, backend=backend)


# --- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network("n", 3, 4, 6, inputs=2), "it has 2 inputs, not one"),
        (network("n", 3), r"its input is x0 float32\[n, 3\]"),
        (network("n", "c", "h", "w"), r"its input is x0 float32\[n, c, h, w\]"),
        (network("n", 3, 4, 6, dtype=TensorProto.INT32), r"its input is x0 int32\[n, 3, 4, 6\]"),
    ],
)
def test_what_is_no_image_network_is_refused(model: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=f"not an image network: {message}"):
        run(Subject("net", model))


def test_wrong_batch_is_refused() -> None:
    with pytest.raises(OptionError, match="batch must be the model's 7, got 8"):
        run(Subject("net", network(7, 3, 4, 6)), batches=(8,))
    with pytest.raises(OptionError, match=r"batches\[1\] must be at least 1, got 0 @ \$\.batches\[1\]"):
        BenchOptions(batches=(1, 0))


def test_models_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(OptionError, match=r"net takes \[1, 3, 4, 6\] and other takes \[1, 3, 4, 7\]"):
        run(Subject("net", SMALL), Subject("other", network("n", 3, 4, 7)), batches=(1,))


def test_several_models_are_timed_for_a_number_of_rounds() -> None:
    with pytest.raises(OptionError, match=r"several models are timed for a number of rounds @ protocol\.until"):
        run(Subject("a", SMALL), Subject("b", SMALL), protocol=Protocol(until=0.01))


def test_inputs_are_random_and_differ() -> None:
    source = ImageInput("x", "float32", None, 3, 2, 1, channels_last=False)
    first, second = random_images(source, (5, 3, 2, 1), 2, seed=1)
    assert first["x"].dtype == np.float32
    assert first["x"].min() >= 0
    assert first["x"].max() < 1
    assert len({*first["x"].ravel(), *second["x"].ravel()}) == 60
    (half,) = random_images(replace(source, dtype="float16"), (5, 3, 2, 1), 1, seed=1)
    assert half["x"].dtype == np.float16


def test_what_a_model_leaves_open_has_the_originals_size() -> None:
    once = Protocol(steps=1, burn_in=0)
    assert run(Subject("net", network("n", 3, "h", "w")), protocol=once).rows[0].shape == (32, 3, 224, 224)
    sized = Subject("net", network("n", 3, "h", "w"), size=(5, 8))
    assert run(sized, batches=(2,)).rows[0].shape == (2, 3, 5, 8)


# --- on the CPU -------------------------------------------------------------------------------------------------------


class Diary(BenchListener):
    """What a listener was told, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, subject: Subject, session: Session, shape: tuple[int, ...], data: Data) -> None:
        self.events.append(f"started {subject.label} {shape} {data}")

    def round(self, number: int, seconds: Mapping[str, float]) -> None:
        self.events.append(f"round {number} of {', '.join(seconds)}")

    def finished(self, rows: Any) -> None:
        self.events.append(f"finished {', '.join(row.model for row in rows)}")


def test_one_model_over_a_sweep() -> None:
    diary = Diary()
    result = run(Subject("net", SMALL, macs=1000), batches=(1, 4), listener=diary)
    assert [(row.model, row.batch, row.data, row.shape) for row in result.rows] == [
        ("net", 1, "host", (1, 3, 4, 6)),
        ("net", 4, "host", (4, 3, 4, 6)),
    ]
    assert (result.device, result.device_reason, result.interrupted) == ("cpu", "asked for", False)
    assert result.comparisons == ()
    row = result.rows[1]
    assert row.buffers == 4
    assert row.summary.count == len(row.seconds) == 5
    assert row.images_per_second == pytest.approx(4 / sorted(row.seconds)[2])  # of the median, which stands beside it
    assert row.gflops == pytest.approx(2 * 1000 * row.images_per_second / 1e9)
    assert row.session["options"]["spinning"] is True
    assert row.session["options"]["threads"] == 1
    assert min(row.load_seconds, row.first_run_seconds) > 0
    assert diary.events == [
        "started net (1, 3, 4, 6) host",
        *(f"round {number} of net" for number in range(5)),
        "finished net",
        "started net (4, 3, 4, 6) host",
        *(f"round {number} of net" for number in range(5)),
        "finished net",
    ]


def test_without_macs_there_are_no_flops() -> None:
    assert run(Subject("net", SMALL), batches=(1,)).rows[0].gflops is None


def test_models_against_each_other_with_a_control() -> None:
    diary = Diary()
    result = run(Subject("net", SMALL), Subject("a", SMALL), Subject("b", SMALL), batches=(2,), listener=diary)
    assert [row.model for row in result.rows] == ["net", "a", "b"]
    assert [(one.comparison.model, one.comparison.other) for one in result.comparisons] == [("net", "a"), ("net", "b")]
    assert result.comparisons[0].comparison.control == result.comparisons[1].comparison.control
    assert all(row.session["options"]["spinning"] is False for row in result.rows)
    assert diary.events[1] == "round 0 of net, a, b, net (again)"
    assert diary.events[-1] == "finished net, a, b"
    first, second = result.rows[:2]
    ratios = np.array(first.seconds) / np.array(second.seconds)
    assert result.comparisons[0].comparison.ratio.median == pytest.approx(np.median(ratios))


def test_the_control_is_the_model_against_its_second_session(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"net": 2.0, "a": 1.0, "b": 4.0, "net (again)": 1.6}

    def planned(contestants: Mapping[str, Any], protocol: Protocol, **options: Any) -> Measured:
        assert list(contestants) == list(seconds)
        times = {name: (value,) * protocol.steps for name, value in seconds.items()}
        return Measured(times, times)

    monkeypatch.setattr("resnet_compile.bench.run.measure", planned)
    subjects = [Subject(name, SMALL) for name in ("net", "a", "b")]
    result = run(*subjects, batches=(1,), protocol=Protocol(steps=23, burn_in=1))
    comparisons = [one.comparison for one in result.comparisons]
    assert [(one.ratio.median, one.control.median) for one in comparisons] == [(2.0, 1.25), (0.5, 1.25)]
    assert [row.summary.count for row in result.rows] == [23] * 3


def test_compared_models_are_opened_anew_in_random_order(machine: FakeMachine) -> None:
    opened: list[bytes] = []
    backend = machine.backend()
    create = backend.onnxruntime.InferenceSession

    def note(source: bytes, *arguments: Any, **options: Any) -> Any:
        opened.append(source)
        return create(source, *arguments, **options)

    backend.onnxruntime.InferenceSession = note
    diary = Diary()
    other = network("n", 3, 6, 4)
    subjects = (Subject("net", SMALL), Subject("b", other))
    result = run(*subjects, batches=(1,), protocol=Protocol(steps=12, burn_in=1), listener=diary, backend=backend)
    assert [row.summary.count for row in result.rows] == [12, 12]
    assert [event.split(" of")[0] for event in diary.events[1:-1]] == [f"round {number}" for number in range(12)]
    openings = [tuple(source == other for source in opened[start : start + 3]) for start in range(0, 15, 3)]
    assert all(sorted(opening) == [False, False, True] for opening in openings)
    assert len(set(openings)) > 1
    assert len(opened) == 15
    opened.clear()
    run(Subject("net", SMALL), batches=(1,), protocol=Protocol(steps=12, burn_in=1), backend=backend)
    assert len(opened) == 1


def test_what_was_opened_is_closed_before_it_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    open_session, opened, alive = Session.open, list[weakref.ref[Session]](), list[int]()

    def noted(*arguments: Any, **options: Any) -> Session:
        alive.append(sum(session() is not None for session in opened))
        session = open_session(*arguments, **options)
        opened.append(weakref.ref(session))
        return session

    monkeypatch.setattr("resnet_compile.runtime.Session.open", noted)
    run(Subject("net", SMALL), Subject("b", SMALL), batches=(1,), protocol=Protocol(steps=10, burn_in=1))
    assert alive == [0, 1, 2] * 5


def test_an_interrupt_while_opening_anew_keeps_the_earlier_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    open_session, count = Session.open, iter(range(100))

    def interrupted(*arguments: Any, **options: Any) -> Session:
        if next(count) == 4:
            raise KeyboardInterrupt
        return open_session(*arguments, **options)

    monkeypatch.setattr("resnet_compile.runtime.Session.open", interrupted)
    result = run(Subject("net", SMALL), Subject("b", SMALL), batches=(1, 2), protocol=Protocol(steps=10, burn_in=1))
    assert result.interrupted
    assert [(row.model, row.summary.count) for row in result.rows] == [("net", 2), ("b", 2)]
    assert len(result.comparisons) == 1


def test_profile_is_of_the_last_batch_size() -> None:
    result = run(Subject("net", SMALL), batches=(1, 2), profile=True)
    assert (result.profile.model, result.profile.batch, result.profile.runs) == ("net", 2, 5)
    assert [share.name for share in result.profile.by_operator()] == ["Relu"]


def test_document_is_json_and_whole() -> None:
    result = run(Subject("net", SMALL), Subject("other", SMALL), batches=(2,), profile=True)
    document = json.loads(json.dumps(result.document()))
    assert document["runs"][0]["seconds"] == list(result.rows[0].seconds)
    assert document["runs"][0]["statistics"]["p50"] == result.rows[0].summary.p50
    assert document["options"]["protocol"] == {"steps": 5, "burn_in": 2, "seed": 0, "until": None}
    assert document["comparisons"][0]["verdict"] == str(result.comparisons[0].comparison.verdict)
    assert document["profile"]["by_scope"][0]["nodes"] == 1
    assert document["environment"]["packages"]["numpy"] == np.__version__
    assert document["environment"]["gpu"] is None
    assert document["environment"]["cpu"]["cores"] >= 1


class InterruptAt(BenchListener):
    def __init__(self, batch: int, number: int) -> None:
        self._target = (batch, number)
        self._batch = 0

    def started(self, subject: Subject, session: Session, shape: tuple[int, ...], data: Data) -> None:
        self._batch = shape[0]
        if self._target == (self._batch, -1):
            raise KeyboardInterrupt

    def round(self, number: int, seconds: Mapping[str, float]) -> None:
        if self._target == (self._batch, number):
            raise KeyboardInterrupt


def test_an_interrupt_keeps_what_was_measured() -> None:
    result = run(Subject("net", SMALL), batches=(1, 2, 4), profile=True, listener=InterruptAt(2, 1))
    assert result.interrupted
    assert [(row.batch, len(row.seconds)) for row in result.rows] == [(1, 5), (2, 2)]
    assert result.profile is None
    result = run(Subject("net", SMALL), batches=(1, 2), listener=InterruptAt(2, -1))
    assert [row.batch for row in result.rows] == [1]
    assert result.interrupted


def test_an_interrupt_before_any_timing_passes_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Subject("net", SMALL), batches=(1,), listener=InterruptAt(1, -1))


# --- on a made-up GPU -------------------------------------------------------------------------------------------------


@pytest.fixture
def machine() -> FakeMachine:
    machine = FakeMachine()
    machine.nodes = {"CUDAExecutionProvider": ["Relu"]}
    return machine


def test_cuda_has_a_row_for_the_device_and_one_from_host_to_host(machine: FakeMachine) -> None:
    result = run(Subject("net", SMALL), batches=(1,), device="cuda:1", backend=machine.backend())
    assert [(row.data, row.buffers) for row in result.rows] == [("device", 4), ("host to host", 4)]
    assert result.device == "cuda:1"
    device, host = machine.events[:14], machine.events[14:]
    assert device == ["run", "synchronize"] * 7
    assert host == ["to cuda:1", "run", "synchronize", "from cuda:1"] * 7
    assert result.environment.gpu.name == "NVIDIA H100"
    assert (result.environment.gpu.driver, result.environment.gpu.cuda) == ("580.65.06", "13.0")
    assert result.rows[0].gpu_memory_mib == 0
    document = json.loads(json.dumps(result.document()))
    assert document["environment"]["gpu"]["max_clock_mhz"] == 1980


def test_cuda_graph_is_recorded_once_and_replayed(machine: FakeMachine) -> None:
    result = run(Subject("net", SMALL), batches=(1,), device="cuda", cuda_graph=True, backend=machine.backend())
    assert [(row.data, row.buffers) for row in result.rows] == [("device", 1), ("host to host", 4)]
    device, host = machine.events[:16], machine.events[16:]
    assert device == ["record", "synchronize"] + ["replay", "synchronize"] * 7
    assert host == ["record", "synchronize"] + ["to cuda:0", "replay", "synchronize", "from cuda:0"] * 7
    assert result.rows[0].session["providers"]["CUDAExecutionProvider"]["enable_cuda_graph"] == "1"


def test_the_profile_is_without_cuda_graph(machine: FakeMachine) -> None:
    run(Subject("net", SMALL), batches=(1,), device="cuda", cuda_graph=True, profile=True, backend=machine.backend())
    graphs = [providers[0][1]["enable_cuda_graph"] for providers, _ in machine.opened]
    assert graphs == ["1", "1", "0"]


def test_cuda_graph_needs_cuda() -> None:
    with pytest.raises(OptionError, match=r"a CUDA graph needs a CUDA device \(--device cuda\)"):
        run(Subject("net", SMALL), batches=(1,), cuda_graph=True)


def test_comparison_on_cuda_compares_both_kinds_of_rows(machine: FakeMachine) -> None:
    result = run(Subject("net", SMALL), Subject("b", SMALL), batches=(1,), device="cuda", backend=machine.backend())
    assert [(row.model, row.data) for row in result.rows] == [
        *(("net", "device"), ("b", "device")),
        *(("net", "host to host"), ("b", "host to host")),
    ]
    assert [one.data for one in result.comparisons] == ["device", "host to host"]


def test_auto_chooses_once_for_all(machine: FakeMachine) -> None:
    result = run(Subject("net", SMALL), Subject("b", SMALL), batches=(1,), device="auto", backend=machine.backend())
    assert (result.device, result.device_reason) == ("cuda:0", "auto: CUDA works")
    machine.missing_libraries = {"libcudnn.so.9"}
    result = run(Subject("net", SMALL), Subject("b", SMALL), batches=(1,), device="auto", backend=machine.backend())
    assert result.device == "cpu"
    assert result.device_reason == "auto: CUDA is not usable: cuDNN 9 is missing (libcudnn.so.9)"
    assert {row.data for row in result.rows} == {"host"}


def test_different_devices_all_start_from_the_hosts_memory(machine: FakeMachine) -> None:
    subjects = [Subject(name, SMALL, device=name) for name in ("cpu", "cuda")]
    result = bench(subjects, BenchOptions(batches=(1,), protocol=QUICK), backend=machine.backend())
    assert [(row.session["device"], row.data) for row in result.rows] == [("cpu", "host"), ("cuda:0", "host to host")]
    assert [row.error for row in result.rows] == [None, 0.0]
    assert (result.device, result.device_reason) == ("cpu", "asked for")
    assert "to cuda:0" in machine.events
    assert [each.comparison.other for each in result.comparisons] == ["cuda"]


def test_cuda_that_is_not_there_is_an_error(machine: FakeMachine) -> None:
    machine.missing_libraries = {"libcuda.so.1"}
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        run(Subject("net", SMALL), batches=(1,), device="cuda", backend=machine.backend())
    assert machine.opened == []


def test_without_nvidia_smi_the_gpu_stays_undescribed(machine: FakeMachine) -> None:
    machine.missing_libraries = {"nvidia-smi"}
    result = run(Subject("net", SMALL), batches=(1,), device="cuda", backend=machine.backend())
    assert result.environment.gpu is None
    assert result.rows[0].gpu_memory_mib is None


def test_memory_of_the_gpu_is_what_loading_added(machine: FakeMachine) -> None:
    backend = machine.backend()
    opened = backend.onnxruntime.InferenceSession

    def allocate(*arguments: Any, **options: Any) -> Any:
        machine.gpu = machine.gpu.replace("1024", "1524")
        return opened(*arguments, **options)

    backend.onnxruntime.InferenceSession = allocate
    assert run(Subject("net", SMALL), batches=(1,), device="cuda", backend=backend).rows[0].gpu_memory_mib == 500


def test_models_are_files_too(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(SMALL)
    assert run(Subject("net", path), batches=(1,)).rows[0].model == "net"

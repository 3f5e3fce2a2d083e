"""What the machine does while a model is timed: a stand-in for NVIDIA's library, and made-up files of Linux."""

import json
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper
from support.machine import FakeMachine, FakeNvml

from resnet_compile.bench import Bench, BenchOptions, Protocol, ScenarioOptions, Subject, bench, measure, run_scenario
from resnet_compile.bench.conditions import Conditions, Watch
from resnet_compile.bench.run import throttled_rounds, without_throttled
from resnet_compile.errors import DeviceError
from resnet_compile.report.bench_text import bench_text
from resnet_compile.report.machine import conditions_line
from resnet_compile.runtime import CpuState, GpuMonitor, GpuState, cache_bytes, cpu_state, flusher, parse_device

QUIET = CpuState(0.5, 1000, 0, (0, 1), ())
FULL = GpuState(1980, 2619, None, None, 41, 350.0, 700.0, 1000.0, ())
POWER_CAP, HOT, CHOSEN, IDLE = 0x4, 0x20, 0x2, 0x1


def model() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


@pytest.fixture
def machine() -> FakeMachine:
    machine = FakeMachine()
    machine.nodes = {"CUDAExecutionProvider": ["Relu"]}
    machine.nvml = FakeNvml()
    return machine


def run(machine: FakeMachine, **options: Any) -> Bench:
    settings = {"device": "cuda", "batches": (1,), "protocol": Protocol(steps=4, burn_in=1), **options}
    return bench([Subject("net", model())], BenchOptions(**settings), backend=machine.backend())


# --- a GPU ------------------------------------------------------------------------------------------------------------


def test_a_state_is_in_units(machine: FakeMachine) -> None:
    machine.nvml.reasons = [POWER_CAP | CHOSEN]
    monitor = GpuMonitor.open(1, machine.backend())
    assert monitor is not None
    assert monitor.state() == GpuState(
        1980, 2619, None, None, 41, 350.0, 700.0, 1000.5, ("application clocks", "power cap")
    )
    monitor.close()
    assert machine.nvml.opened == 0


def test_what_is_not_supported_is_not_known(machine: FakeMachine) -> None:
    nvml = machine.nvml
    nvml.memory_clock = nvml.temperature = nvml.milliwatts = nvml.milliwatts_allowed = nvml.millijoules = None
    monitor = GpuMonitor.open(0, machine.backend())
    assert monitor is not None
    assert monitor.state() == GpuState(1980, None, None, None, None, None, None, None, ())


def test_without_the_library_there_is_no_monitor(machine: FakeMachine) -> None:
    machine.nvml = None
    assert GpuMonitor.open(0, machine.backend()) is None
    row = run(machine).rows[0]
    assert (row.conditions[0].gpu_before, row.images_per_joule, row.throttled) == (None, None, 0)


@pytest.mark.parametrize(
    ("bits", "throttled"), [(0, False), (IDLE, False), (CHOSEN, False), (POWER_CAP, True), (HOT | CHOSEN, True)]
)
def test_what_somebody_chose_is_no_throttling(machine: FakeMachine, bits: int, throttled: bool) -> None:
    machine.nvml.reasons = [bits]
    monitor = GpuMonitor.open(0, machine.backend())
    assert monitor is not None
    assert monitor.state().throttled is throttled


def states(*throttled: bool) -> Conditions:
    """A look every second."""
    slow = GpuState(1200, 2619, None, None, 90, 700.0, 700.0, 1000.0, ("power cap",))
    during = tuple((float(second), slow if each else FULL) for second, each in enumerate(throttled))
    return Conditions(QUIET, QUIET, FULL, FULL, during, None, None)


def test_runs_near_a_throttled_look_are_throttled() -> None:
    conditions = states(False, False, True, False, False)
    starts = [0.0, 0.5, 0.9, 1.5, 2.5, 3.0, 3.5]
    told = conditions.throttled(starts, [0.2] * 7)
    assert told == [False, False, True, True, True, False, False]
    assert conditions.throttled([0.0], [4.0]) == [True]
    assert states(False, False).throttled([0.0, 1.0], [1.0, 1.0]) == [False, False]


class Clock:
    """Steps of a tenth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def step(self, number: int) -> None:
        self.now += 0.1


def test_throttled_rounds_are_counted_and_dropped_whole(machine: FakeMachine) -> None:
    clock = Clock()
    clock.now = 0.05
    steps = {"a": clock.step, "b": clock.step}
    measured = measure(steps, Protocol(steps=20, burn_in=0), clock=clock)  # four seconds
    throttled = throttled_rounds(measured, states(False, False, False, True, False))
    assert throttled == [number >= 9 for number in range(20)]  # from 2 s to 4 s
    row = run(machine).rows[0]
    rows = [row.__class__(**{**_fields(row), "model": name, "seconds": measured.seconds[name]}) for name in steps]
    kept = without_throttled(rows, throttled)
    assert [len(each.seconds) for each in kept] == [9, 9]
    assert [each.throttled for each in kept] == [11, 11]


def _fields(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def test_a_gpu_that_is_always_throttled_has_figures_that_say_so(machine: FakeMachine) -> None:
    machine.nvml.reasons, machine.nvml.sm_clocks = [POWER_CAP], [1980, 1410]
    found = run(machine)
    row = found.rows[0]
    assert (len(row.seconds), row.throttled) == (4, 4)
    assert "SM clock 1410 to 1980 MHz, memory clock 2619 MHz, GPU throttled (power cap) in 4 runs" in bench_text(found)


def test_energy_is_of_all_images_that_ran(machine: FakeMachine) -> None:
    found = run(machine, batches=(2,))
    row = found.rows[0]
    looks = len(row.conditions[0].gpu_during)
    assert row.conditions[0].energy_of == "NVML"
    assert row.conditions[0].joules == pytest.approx(0.5 * (looks - 1))
    assert row.images_per_joule == pytest.approx(2 * (4 + 1) / (0.5 * (looks - 1)))
    assert "images per joule (NVML)" in bench_text(found)
    document = json.loads(json.dumps(found.document()))["runs"][0]
    assert document["conditions"][0]["gpu_before"]["power_cap_w"] == 700.0
    assert document["images_per_joule"] == row.images_per_joule


def test_models_that_take_turns_share_their_energy(machine: FakeMachine) -> None:
    subjects = [Subject("a", model()), Subject("b", model())]
    options = BenchOptions(device="cuda", batches=(1,), protocol=Protocol(steps=2, burn_in=1))
    rows = bench(subjects, options, backend=machine.backend()).rows
    assert {row.images_per_joule for row in rows} == {None}


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_lost_gpu_is_an_error(machine: FakeMachine, looks: int) -> None:
    machine.nvml.looks_until_lost = looks
    with pytest.raises(DeviceError, match=r"^the GPU is lost @ cuda:0 \(look into the kernel's log") as raised:
        run(machine)
    assert raised.value.exit_code == 4


def test_an_interrupt_is_no_lost_gpu(machine: FakeMachine) -> None:
    machine.nvml.looks_until_lost = 1
    device = parse_device("cuda")
    assert device is not None
    with pytest.raises(KeyboardInterrupt), Watch(device, machine.backend()):
        raise KeyboardInterrupt


def test_scenarios_are_watched_too(machine: FakeMachine) -> None:
    machine.nvml.reasons = [HOT]
    options = ScenarioOptions(scenario="single", seconds=0.01, device="cuda", burn_in=0)
    found = run_scenario(Subject("net", model()), options, backend=machine.backend())
    (trial,) = found.trials
    assert trial.conditions is not None
    assert trial.images_per_joule == trial.samples / trial.conditions.joules
    assert trial.conditions.reasons == ("software thermal slowdown",)
    json.dumps(found.document())


# --- processors -------------------------------------------------------------------------------------------------------


def test_stolen_time_is_a_part_of_all_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr("resnet_compile.runtime.load._STAT", stat)
    stat.write_text("cpu  100 1 50 800 5 0 4 40 7 0\ncpu0 1 2 3\n")
    before = cpu_state()
    assert (before.busy_ticks, before.stolen_ticks) == (1000, 40)
    stat.write_text("cpu  150 1 50 1000 5 0 4 90 7 0\n")
    assert cpu_state().stolen_since(before) == pytest.approx(50 / 300)
    stat.write_text("")
    assert cpu_state().stolen_since(before) is None
    line = conditions_line([Conditions(before, before, None, None, (), None, None)])
    assert "stolen" not in line
    assert line.endswith("energy not readable")


def test_energy_of_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_compile.runtime.load._POWERCAP", tmp_path)
    for name, energy in (("intel-rapl:0", 900), ("intel-rapl:1", 10), ("intel-rapl:0:0", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("999\n")
    before = cpu_state()
    assert before.energy_uj == ((900, 999), (10, 999))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("50\n")  # it began anew
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("30\n")
    assert cpu_state().joules_since(before) == pytest.approx((150 + 20) / 1e6)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert cpu_state().energy_uj == ()
    assert cpu_state().joules_since(before) is None


def test_energy_of_the_host_is_not_that_of_a_gpu(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.nvml.millijoules = None
    monkeypatch.setattr(CpuState, "joules_since", lambda *states: 5.0)
    assert run(machine).rows[0].images_per_joule is None
    (row,) = bench([Subject("net", model())], BenchOptions(device="cpu", batches=(1,))).rows
    assert row.conditions[0].energy_of == "RAPL"
    assert row.images_per_joule == pytest.approx(110 / 5.0)


# --- caches -----------------------------------------------------------------------------------------------------------


def test_a_gpus_l2_is_filled_before_every_run(machine: FakeMachine) -> None:
    device = parse_device("cuda:1")
    assert device is not None
    assert cache_bytes(device, machine.backend()) == 4096
    run(machine, flush=True)
    assert machine.events[:6] == ["to cuda:0", "run", "synchronize"] * 2
    machine.l2_bytes = 0
    assert cache_bytes(device, machine.backend()) is None


def test_a_processors_largest_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: FakeMachine) -> None:
    device = parse_device("cpu")
    assert device is not None
    monkeypatch.setattr("resnet_compile.runtime.caches._CPU_CACHES", tmp_path)
    assert cache_bytes(device, machine.backend()) is None
    for name, size in (("index0", "32K"), ("index3", "2M"), ("index2", "512K")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(f"{size}\n")
    assert cache_bytes(device, machine.backend()) == 2 * 2**20
    written = flusher(device, machine.backend())
    written()


def test_what_comes_before_a_run_is_not_timed() -> None:
    clock = Clock()
    (seconds,) = measure(
        {"a": clock.step}, Protocol(steps=3, burn_in=0), before_run=lambda: clock.step(0), clock=clock
    ).seconds.values()
    assert seconds == pytest.approx((0.1,) * 3)

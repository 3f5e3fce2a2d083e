"""The parts of the measuring scripts in `tools/` that decide what a table says."""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from resnet_compile import CompileOptions, compile, load_spec
from resnet_compile.bench import Protocol
from resnet_compile.passes.winograd import winograd

TOOLS = Path(__file__).parents[1] / "tools"

ECHO = """
import os, sys
sys.path.insert(0, {tools!r})
from served import serve
def answer(request):
    print("not an answer", flush=True)
    if request["do"] == "fail":
        raise ValueError("no such thing")
    if request["do"] == "die":
        sys.stderr.write("out of memory\\n")
        sys.stderr.flush()
        os._exit(3)
    if request["do"] == "hang":
        import time
        time.sleep(60)
    return request["do"].upper()
serve(answer)
"""


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module


@pytest.fixture
def worker(tool: Callable[[str], ModuleType], tmp_path: Path) -> Any:
    command = [sys.executable, "-c", ECHO.format(tools=str(TOOLS))]
    started = tool("served").Worker(command, tmp_path / "log")
    yield started
    started.close()


def test_requests_are_answered_one_by_one_and_prints_are_no_answers(worker: Any) -> None:
    worker.send({"do": "a"})
    worker.send({"do": "b"})
    assert [worker.receive(60), worker.receive(60), worker.ask({"do": "c"}, 60)] == ["A", "B", "C"]


def test_a_process_outlives_a_request_that_fails(tool: Callable[[str], ModuleType], worker: Any) -> None:
    with pytest.raises(tool("served").WorkerError, match=r"^ValueError: no such thing$") as caught:
        worker.ask({"do": "fail"}, 60)
    assert caught.value.alive
    assert worker.ask({"do": "c"}, 60) == "C"


def test_a_process_that_ends_is_known_by_its_last_words(tool: Callable[[str], ModuleType], worker: Any) -> None:
    with pytest.raises(tool("served").WorkerError, match=r"out of memory$") as caught:
        worker.ask({"do": "die"}, 60)
    assert not caught.value.alive
    with pytest.raises(tool("served").WorkerError):
        worker.ask({"do": "c"}, 60)


def test_a_request_that_takes_too_long_ends_its_process(tool: Callable[[str], ModuleType], worker: Any) -> None:
    worker.ask({"do": "a"}, 60)
    with pytest.raises(tool("served").WorkerError, match=r"^no answer in 0 s$") as caught:
        worker.ask({"do": "hang"}, 0.01)
    assert not caught.value.alive


def test_contestants_run_in_turn_and_are_opened_anew(tool: Callable[[str], ModuleType]) -> None:
    ran: list[str] = []

    def opener(label: str) -> Any:
        def opened() -> Any:
            ran.append(f"open {label}")
            return lambda number: ran.append(label)

        return opened

    labels = ["a", "b", "c"]
    openers = {label: opener(label) for label in labels}
    seconds = tool("bench_common").interleaved(openers, Protocol(steps=7, burn_in=1), openings=2)
    assert {label: len(times) for label, times in seconds.items()} == dict.fromkeys(labels, 7)
    second = next(place for place in range(3, len(ran)) if ran[place].startswith("open"))
    for part, rounds in ((ran[:second], 1 + 4), (ran[second:], 1 + 3)):
        assert sorted(part[:3]) == ["open a", "open b", "open c"]
        turns = [tuple(part[start : start + 3]) for start in range(3, len(part), 3)]
        assert len(turns) == rounds
        assert all(sorted(turn) == labels for turn in turns)
        assert len(set(turns)) > 1


def test_synthetic_images_have_the_spectrum_of_photographs(tool: Callable[[str], ModuleType]) -> None:
    images = tool("bench_common").synthetic_images(16, 64, seed=0)
    assert images.shape == (16, 3, 64, 64)
    assert images.dtype == np.float32
    assert np.abs(images).max() == 1
    amplitudes = np.abs(np.fft.rfft2(images)).mean((0, 1))
    frequencies = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None, :])
    middle = (frequencies > 2 / 64) & (frequencies < 20 / 64)
    slope = np.polyfit(np.log(frequencies[middle]), np.log(amplitudes[middle]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def event(operator: str, read: str, written: str) -> dict[str, Any]:
    """A node's run in a profile of onnxruntime."""
    args = {
        "op_name": operator,
        "input_type_shape": [{read: [1]}, {"float": []}],
        "output_type_shape": [{written: [1]}],
    }
    return {"cat": "Node", "name": f"scope/{operator}_kernel_time", "args": args}


def test_kernels_in_integers_read_and_write_bytes(tool: Callable[[str], ModuleType]) -> None:
    events = [
        {"cat": "Session", "name": "model_run"},
        {"cat": "Node", "name": "scope/Conv_fence_before", "args": {}},
        event("QuantizeLinear", "float", "uint8"),
        event("QLinearConv", "uint8", "uint8"),
        event("MaxPool", "int8", "int8"),
        event("DequantizeLinear", "uint8", "float"),
        event("Conv", "float", "float"),
        event("Conv", "float", "float"),
    ]
    others = {"Conv": 2, "DequantizeLinear": 1, "QuantizeLinear": 1}
    assert tool("compare_targets").kernels(events) == {"count": 6, "integer": 2, "others": others}


@pytest.mark.parametrize(
    ("peer", "int8", "error", "met"),
    [
        (1.02, 2.3, 0.0299, [True, True, True, True]),
        (1.021, 2.29, 0.03, [False, False, False, False]),
        (None, None, None, [None, None, None, None]),
    ],
)
def test_demands_are_met_up_to_their_limits(
    tool: Callable[[str], ModuleType],
    peer: float | None,
    int8: float | None,
    error: float | None,
    met: list[bool | None],
) -> None:
    medians = {"torch.onnx": peer, "tf2onnx": peer, "int8": int8}
    found = {label: {"median": ratio, "low": 0.0, "high": 9.0} for label, ratio in medians.items() if ratio}
    contestants = [
        {"label": "cpu", "ratios": {1: found, 32: {}}, "accuracy": {}},
        {"label": "int8", "ratios": {}, "accuracy": {"logits_error": error} if error else {}},
    ]
    assert [row[2] for row in tool("targets_page").shown({"contestants": contestants})] == met


@pytest.mark.parametrize("network", ["resnet50", "resnet152"])
@pytest.mark.parametrize("target", ["portable", "cuda", "cuda with fused convolutions"])
def test_predictions_start_from_what_the_compiler_makes(
    tool: Callable[[str], ModuleType], network: str, target: str
) -> None:
    work = tool("gpu_predictions").WORK[network, target]
    options = CompileOptions(outputs=("logits",), batch=1, **tool("gpu_bench").how(target))
    graph = compile(load_spec(network), options).graph
    convolutions = [node for node, _ in graph.nodes() if node.operator.endswith("Conv")]
    biased = sum(node.operator == "Conv" and len(node.inputs) == 3 for node in convolutions)
    others = sum(1 for _ in graph.nodes()) - len(convolutions)
    assert (work.convolutions, work.biased, work.others) == (len(convolutions), biased, others)


def test_a_prediction_by_hand(tool: Callable[[str], ModuleType]) -> None:
    predicted = tool("gpu_predictions").predicted_seconds
    # 32 images of 17 + 33 million values and 25.6 million weights, two bytes each, at 2.5125e12 bytes a second;
    # 54 convolutions of 4 us and 52 other kernels of 2 us.
    by_hand = (32 * 50e6 + 25.6e6) * 2 / 2.5125e12 + 54 * 4e-6 + 52 * 2e-6
    graph = predicted("resnet50", 32, "compiled", "float16", channels_last=True, host=None)
    assert graph == pytest.approx(by_hand, rel=1e-12)
    # Channels first, every convolution's values pass three times, in two more kernels of 2 us.
    by_hand = (32 * (3 * 17.0e6 + 18.5e6 + 39.9e6) + 25.6e6) * 2 / 2.5125e12 + 54 * 4e-6 + (88 + 54 + 108) * 2e-6
    transposed = predicted("resnet50", 32, "portable", "float16", channels_last=False, host=None)
    assert transposed == pytest.approx(by_hand, rel=1e-12)
    # One image without a graph: 191 kernels of 9 us.
    eager = predicted("resnet50", 1, "eager", "float32", channels_last=True, host="eager")
    assert eager == pytest.approx((54 + 17 + 120) * 9e-6, rel=1e-12)
    assert predicted("tiny", 1, "eager", "float32", channels_last=True, host="eager") is None


def test_claims_are_about_rows_that_are_measured(tool: Callable[[str], ModuleType]) -> None:
    labels = [case.label for case in tool("gpu_bench").cases()]
    assert len(labels) == len(set(labels))
    claimed = {label for claim in tool("gpu_predictions").CLAIMS for label in (claim.row, claim.over)}
    assert claimed <= set(labels)
    assert labels[0] == "cuda float32 (10 + 100 runs)"  # the original's protocol, before all others


def test_outcomes_stand_beside_predictions_and_errors_in_the_place_of_times(tool: Callable[[str], ModuleType]) -> None:
    case = {"engine": "onnxruntime", "precision": "float16"}
    claim = tool("gpu_predictions").CLAIMS[0]

    def row(label: str, **found: Any) -> dict[str, Any]:
        return {"network": "resnet50", "batch": 1, "label": label, "case": case, "predicted_ms": 0.5, **found}

    def timed(label: str, ms: float) -> dict[str, Any]:
        return row(label, ms=ms, low_ms=ms, high_ms=ms, logits_error=0.02, top1_agreement=1.0, nodes={"CUDA": 3})

    document = {
        "device": "cuda",
        "environment": {"time": "now"},
        "images": "",
        "torch_mode": "",
        "checks": [
            {"network": "tiny", "label": "cuda float32", "end_points": 23, "worst": 2e-7},
            {"network": "tiny", "label": "cuda float16", "error": "tiny/block1 is off by 3.0e-01"},
        ],
        "rows": [timed(claim.row, 1.0), timed(claim.over, 2.0), row("other", error="out of memory")],
        "training": [],
        "commands": [],
    }
    lines = tool("gpu_page").page(document).splitlines()
    (outcome,) = (line for line in lines if line.startswith(f"| {claim.row} over {claim.over} |"))
    assert outcome.startswith(f"| {claim.row} over {claim.over} | {claim.predicted[1]} | 0.50 |")
    assert (
        f"| {claim.row} | 1.000 [1.000, 1.000] | 0.500 | 2.00 | 1000 |  | 2.0e-02 (too large) | 100% | 3 CUDA |"
        in lines
    )
    assert "| tiny, cuda float32 | 23 | 2.0e-07 | right |" in lines
    assert "| tiny, cuda float16 |  |  | tiny/block1 is off by 3.0e-01 |" in lines
    assert "| other | out of memory | 0.500 |  |  |  |  |  |  |" in lines


def test_a_network_that_no_peer_makes_is_named(
    tool: Callable[[str], ModuleType], capsys: Any, monkeypatch: Any
) -> None:
    for name in ("compare_peers", "compare_targets"):
        monkeypatch.setattr(sys, "argv", [name, "tiny"])
        with pytest.raises(SystemExit) as caught:
            tool(name).main()
        assert caught.value.code == 2
        assert "no peer makes tiny; they make resnet_v2_50," in capsys.readouterr().err


# --- the load generator -----------------------------------------------------------------------------------------------


def test_our_statistics_are_held_to_the_load_generators(
    tool: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", ModuleType("mlperf_loadgen"))
    loadgen = tool("loadgen")
    stream = json.loads((GOLDEN / "loadgen.json").read_text())["streams"]["single"]
    summary = (
        f" * Early stopping 90.0th percentile estimate: {stream['early_stopping']['90']}\n"
        f"90.00 percentile latency (ns)   : {stream['percentiles']['90.00']}\n"
    )
    assert loadgen.disagreements("single", loadgen.Log(summary, stream["latencies"], [])) == []
    slower = [latency + 1 for latency in stream["latencies"]]
    assert len(loadgen.disagreements("single", loadgen.Log(summary, slower, []))) == 2
    assert loadgen.disagreements("offline", loadgen.Log("", [1], [])) == []


@pytest.mark.parametrize("name", ["winograd", "opening", "images"])
def test_what_was_measured_on_the_cpu_stands_in_its_page(name: str, tool: Callable[[str], ModuleType]) -> None:
    document = json.loads((TOOLS / "results" / f"{name}_cpu.json").read_text())
    assert tool(f"measure_{name}").page(document) == (TOOLS / "results" / f"{name}_cpu.md").read_text()


def test_minimal_filtering_was_measured_on_what_the_rule_chooses_from(tool: Callable[[str], ModuleType]) -> None:
    document = json.loads((TOOLS / "results" / "winograd_cpu.json").read_text())
    measured = tool("measure_winograd")
    assert [each["name"] for each in document["networks"]] == list(measured.NETWORKS)
    assert [each["name"] for each in document["layers"]] == [
        f"{channels} channels, {side}x{side}" for channels, side in measured.LAYERS
    ]
    for layer in document["layers"]:
        chosen = winograd(measured.layer_graph(*measured.LAYERS[document["layers"].index(layer)]))
        assert layer["chosen"] == (chosen.told or chosen.refused)[0].partition(": ")[2], "of the rule as it is"


def test_the_scenarios_that_were_measured_stand_in_their_table(tool: Callable[[str], ModuleType]) -> None:
    results, page = TOOLS / "results", tool("scenarios_page")
    documents = json.loads((results / "scenarios_cpu.json").read_text())
    assert page.table(documents) == (results / "scenarios_cpu.md").read_text()
    assert [(each["model"], each["scenario"]) for each in documents] == [
        (network, scenario)
        for network in ("resnet50", "resnet152")
        for scenario in ("single", "multi", "offline", None)
    ]
    for each in documents:
        for trial in each["trials"]:
            assert trial["seconds"] > 0
            assert "latencies" not in trial


def test_engines_are_timed_in_processes_of_their_own_and_held_to_float64(
    tool: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    engines = tool("compare_engines")
    case = engines.Case("tiny", 2, tmp_path)
    plain, target = engines.ENGINES[:2]
    broken = replace(target, label="absent", worker="no such engine")
    pythons = dict.fromkeys(("plain", "cpu"), Path(sys.executable))
    record = engines.measured(case, [plain, target, broken], pythons, 1, 2)
    made = record["engines"]
    assert max(made[each.label]["error"] for each in (plain, target)) < 1e-5
    assert made["absent"] == {"failure": "KeyError: 'no such engine'"}
    assert (made[plain.label]["ratio"]["median"], made[target.label]["agreement"]) == (1.0, 1.0)
    assert "| A/A control (" in engines.page([record])
    np.save(case.folder / "right.npy", -case.right)
    turned = engines.measured(engines.Case("tiny", 2, tmp_path), [plain], pythons, 1, 1)
    assert turned["engines"][plain.label]["error"] == pytest.approx(2)

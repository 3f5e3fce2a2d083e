"""``resnet-bench``: what it prints, what it refuses, and what an interrupt leaves."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.commands import Ran
from support.machine import FakeMachine, tiny_model

import resnet_compile
from resnet_compile.bench import Measured, Protocol, measure
from resnet_compile.cli.bench import main
from resnet_compile.roofline import Roofline

QUICK = ("--steps", 3, "--burn-in", 1, "--threads", 1, "--device", "cpu")


@pytest.fixture
def resnet_bench(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    return lambda *arguments: Ran(main, arguments, capfd)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network, compiled."""
    path = tmp_path_factory.mktemp("bench") / "model.onnx"
    resnet_compile.compile(resnet_compile.load_spec("tiny")).save(path)
    return path


def test_a_spec_is_compiled_in_memory_and_timed(resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench("tiny", "--device", "cpu", "--threads", 1, "--steps", 21, "--batch", 2)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "tiny on cpu, input 2x3x32x32, data: host"
    assert [re.sub(r"\d\.\d{3}$", "T", line) for line in lines[1:4]] == [
        f"step {number}, duration = T" for number in (0, 10, 20)
    ]
    assert re.fullmatch(r"Forward across 21 steps, \d\.\d{3} \+/- \d\.\d{3} sec / batch", lines[4])
    assert lines[6].startswith("on cpu (asked for): ")
    assert lines[8].split("  ")[0] == "model"
    assert lines[9].split()[:3] == ["tiny", "2", "host"]
    assert (
        lines[9].split().count("-") == 2
    )  # every figure is there, GFLOP/s too, but those that 21 runs are too few for
    assert lines[11].startswith("meanwhile: load ")
    assert lines[13] == "-: not known; p90 needs 36 runs and p99 needs 368 runs (--steps)."


def test_a_model_gives_a_document(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(model, *QUICK, "--batch", "1,3", "--json", "--profile")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    plan = resnet_compile.plan_network(resnet_compile.load_spec("tiny"))
    assert [(each["batch"], each["macs"]) for each in document["runs"]] == [(1, plan.macs), (3, plan.macs)]
    assert document["options"]["batches"] == [1, 3]
    assert {"conv1", "block1", "block2", "logits"} <= {share["name"] for share in document["profile"]["by_scope"]}
    assert document["interrupted"] is False


def test_macs_count_only_where_all_of_the_network_runs(tmp_path: Path, resnet_bench: Callable[..., Ran]) -> None:
    path = tmp_path / "features.onnx"
    options = resnet_compile.CompileOptions(outputs=("block1",), size="dynamic")
    resnet_compile.compile(resnet_compile.load_spec("tiny"), options).save(path)
    (run,) = resnet_bench(path, *QUICK, "--batch", 1, "--json").document["runs"]
    assert run["gflops"] is None
    assert run["shape"] == [1, 3, 32, 32]  # the spec's size, as the model leaves it open


def test_models_are_compared(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(model, "--vs", "tiny", "--vs", model, *QUICK, "--batch", 1)
    assert (ran.code, ran.err) == (0, "")
    assert "step 0" not in ran.out
    for other in ("tiny", f"{model} (2)"):
        assert re.search(rf"{re.escape(str(model))} takes \d.* times as long as {re.escape(other)}: ", ran.out)
        assert re.search(rf"{re.escape(other)}: Forward across 3 steps, ", ran.out)
    assert len(re.findall(r"^  batch 1, data: host, A/A control \d\.\d{3} \[.*\]$", ran.out, re.MULTILINE)) == 2


def test_profile_is_printed_by_operator_and_scope(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    out = resnet_bench(model, *QUICK, "--batch", 1, "--profile").out
    assert re.search(r"^operator +ms a run +% +nodes$", out, re.MULTILINE)
    assert re.search(r"^block2 +[\d.]+ +[\d.]+ +\d+$", out, re.MULTILINE)
    assert re.search(r"^block1/unit_1/\w+/conv2 +[\d.]+ +[\d.]+ +\d+$", out, re.MULTILINE)
    assert f"{model}, batch 1: where the time goes, on average over 3 runs" in out


def test_verbose_tells_what_the_session_ran_under(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(model, *QUICK, "--batch", 1, "-v")
    assert "'threads': 1" in ran.err
    assert "step 0" in ran.out


# --- scenarios --------------------------------------------------------------------------------------------------------

SHORT = ("--duration", 0.2, "--burn-in", 1, "--threads", 1, "--device", "cpu")


def test_a_scenario_says_what_it_lacks(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(model, "--scenario", "single", *SHORT)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[1].startswith("on cpu (asked for): ")
    told = rf"{re.escape(str(model))}, Single stream: 90th percentile latency by early stopping: [\d.,]+ ms"
    assert re.fullmatch(told, lines[3])
    assert lines[4] == "MLPerf-style, unverified by MLCommons; shortened: 0 s, not 600"
    assert lines[6].split("  ")[:2] == ["batch", "queries"]


@pytest.mark.parametrize("scenario", ["single", "multi", "offline", "server"])
def test_every_scenario_gives_a_document_and_a_page(
    model: Path, tmp_path: Path, resnet_bench: Callable[..., Ran], scenario: str
) -> None:
    rate = ("--rate", 2000) if scenario == "server" else ()
    page = tmp_path / "page.html"
    ran = resnet_bench(model, "--scenario", scenario, *SHORT, *rate, "--json", "--html", page)
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["scenario"] == scenario
    (trial,) = ran.document["trials"]
    assert len(trial["latencies"]) == trial["statistics"]["count"]
    assert Page(page.read_text("utf-8")).drawings == {"wide": 2, "narrow": 2}


def test_a_latency_bound_finds_a_batch_size(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(model, "--latency-bound", 1e6, "--batch", "1,2", *SHORT[2:])
    assert (ran.code, ran.err) == (0, "")
    assert re.search(r"Latency bound: images a second with 99 % of the runs in time: [\d.,]+, batch [12]\n", ran.out)
    assert "MLPerf" not in ran.out
    assert len(re.findall(r" yes$", ran.out, re.MULTILINE)) == 2


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--scenario", "single", "--vs", "tiny"), "--vs does not go with --scenario or --latency-bound"),
        (("--scenario", "single", "--until", "1%"), "--until does not go with --scenario or --latency-bound"),
        (("--latency-bound", 5, "--profile"), "--profile does not go with --scenario or --latency-bound"),
        (("--duration", 5), "--duration and --rate need --scenario"),
        (("--scenario", "multi", "--rate", 5), "--rate needs --scenario server"),
        (("--scenario", "offline", "--latency-bound", 5), "--scenario offline has no latency bound"),
        (("--until", "1%", "--vs", "tiny"), "--until is for one model; --vs and --variant take --steps rounds"),
        (("--until", "1"), "Invalid value for '--until': '1' is not a percentage between 0% and 100%, such as 1%"),
        (("--duration", 0), "Invalid value for '--duration': 0.0 is not in the range x>0."),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    resnet_bench: Callable[..., Ran], arguments: tuple[Any, ...], fault: str
) -> None:
    ran = resnet_bench("tiny", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"resnet-bench: error: {fault} (see resnet-bench --help)\n"


def test_until_runs_on(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(model, *QUICK, "--batch", 1, "--until", "90%", "--json")
    assert ran.document["options"]["protocol"]["until"] == 0.9
    assert ran.document["runs"][0]["statistics"]["count"] >= 6  # fewer have no interval


# --- the page ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that every element is closed, and gathers what could be loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.drawings = {"wide": 0, "narrow": 0}
        self.width = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for key, value in attributes if key in ("src", "href", "srcset", "data")]
        if (style := dict(attributes).get("class")) in self.drawings:
            self.width = style
        if tag == "svg":
            self.drawings[self.width] += 1
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_html_is_one_page_that_loads_nothing(model: Path, tmp_path: Path, resnet_bench: Callable[..., Ran]) -> None:
    path = tmp_path / "bench.html"
    ran = resnet_bench(model, "--vs", "tiny", *QUICK, "--batch", "1,2", "--profile", "--html", path)
    assert (ran.code, ran.err) == (0, "")
    text = path.read_text("utf-8")
    page = Page(text)
    assert page.links == []
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", text)
    assert page.headings == [
        *(
            "Latency at batch 1",
            "Latency at batch 2",
            "Comparison",
            "Batch sizes",
            "Where the time goes",
            "By operator",
            "By layer",
        ),
        *("All figures", "Environment"),
    ]
    assert page.drawings == dict.fromkeys(("wide", "narrow"), 2 * 2 + 1 + 2 + 2)
    for word in ("block2", "onnxruntime", "threads 1", "prefers-color-scheme: dark"):
        assert word in text


@pytest.mark.parametrize("place", ["absent/bench.html", ""])
def test_html_that_cannot_be_written_is_known_before_measuring(
    model: Path, tmp_path: Path, resnet_bench: Callable[..., Ran], place: str
) -> None:
    ran = resnet_bench(model, *QUICK, "--html", tmp_path / place)
    assert ran.code in (1, 2)
    assert ran.out == ""
    assert re.fullmatch(r"resnet-bench: error: .* @ .*\n", ran.err)
    assert list(tmp_path.iterdir()) == []


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 0), "'--steps': 0 is not in the range x>=1"),
        (("--steps", -5), "'--steps': -5 is not in the range x>=1"),
        (("--burn-in", -1), "'--burn-in': -1 is not in the range x>=0"),
        (("--threads", -1), "'--threads': -1 is not in the range"),
        (("--batch", 0), "'--batch': '0' is not one or more numbers from 1 to 65536"),
        (("--batch", "1,-8"), "'--batch': '1,-8' is not one or more numbers"),
        (("--batch", "1,,8"), "'--batch': '1,,8' is not one or more numbers"),
        (("--device", "tpu"), "device must be one of auto, cpu, openvino, openvino-bf16, cuda, cuda:N, tensorrt, "),
        (("--cuda-graph", "--device", "cpu"), "a CUDA graph needs a CUDA device (--device cuda)"),
        (("--devices", "cpu"), "devices must be all, or two names or more, got 'cpu' @ devices"),
        (("--devices", "all", "--device", "cpu"), "--device does not go with --devices"),
    ],
)
def test_impossible_options_are_one_line(
    model: Path, resnet_bench: Callable[..., Ran], arguments: tuple[object, ...], message: str
) -> None:
    ran = resnet_bench(model, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no model", "not an ONNX model"),
        (b"", "not an ONNX model"),
        (tiny_model(), "not an image network: its input is x float32[batch, 3]"),
        (None, "cannot read the model: No such file"),
    ],
)
def test_what_is_no_image_network_is_one_line(
    tmp_path: Path, resnet_bench: Callable[..., Ran], content: bytes | None, message: str
) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    ran = resnet_bench(path, *QUICK)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_batch_and_size_that_do_not_fit_are_one_line(
    model: Path, tmp_path: Path, resnet_bench: Callable[..., Ran]
) -> None:
    fixed = tmp_path / "fixed.onnx"
    options = resnet_compile.CompileOptions(batch=2, size=(40, 48))
    resnet_compile.compile(resnet_compile.load_spec("tiny"), options).save(fixed)
    assert resnet_bench(fixed, *QUICK, "--json").document["runs"][0]["shape"] == [2, 3, 40, 48]
    ran = resnet_bench(fixed, *QUICK, "--batch", 4)
    assert (ran.code, ran.err) == (2, "resnet-bench: error: batch must be the model's 2, got 4\n")
    ran = resnet_bench(model, "--vs", fixed, *QUICK, "--batch", 2)
    assert ran.code == 2
    assert "models of different input sizes cannot be compared" in ran.err


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A machine with a GPU, in place of this one."""
    machine = FakeMachine()
    machine.nodes = {"CUDAExecutionProvider": ["Conv"]}
    backend = machine.backend()
    monkeypatch.setattr("resnet_compile.bench.run.installed_backend", lambda: backend)
    return machine


def test_cuda_rows(model: Path, machine: FakeMachine, tmp_path: Path, resnet_bench: Callable[..., Ran]) -> None:
    path = tmp_path / "bench.html"
    ran = resnet_bench(model, "--device", "cuda", "--steps", 2, "--batch", "1,2", "--cuda-graph", "--html", path)
    assert (ran.code, ran.err) == (0, "")
    assert "on cuda:0 (asked for): NVIDIA H100, driver 580.65.06, " in ran.out
    for batch in (1, 2):
        assert re.search(rf"^{re.escape(str(model))} +{batch}  device ", ran.out, re.MULTILINE)
        assert re.search(rf"^{re.escape(str(model))} +{batch}  host to host ", ran.out, re.MULTILINE)
    headings = Page(path.read_text("utf-8")).headings
    assert headings[:2] == ["Latency at batch 1, data: device", "Latency at batch 1, data: host to host"]
    assert headings[4:6] == ["Batch sizes, data: device", "Batch sizes, data: host to host"]


def test_auto_says_what_it_chose(model: Path, machine: FakeMachine, resnet_bench: Callable[..., Ran]) -> None:
    machine.missing_libraries = {"libcuda.so.1"}
    ran = resnet_bench(model, "--steps", 2, "--batch", 1)
    assert "on cpu (no NVIDIA driver): " in ran.out


def test_cuda_that_cannot_be_had_exits_with_4(
    model: Path, machine: FakeMachine, resnet_bench: Callable[..., Ran]
) -> None:
    machine.missing_libraries = {"libcudnn.so.9"}
    ran = resnet_bench(model, "--steps", 2, "--device", "cuda", "--batch", 1)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        'resnet-bench: error: CUDA is not usable: cuDNN 9 is missing (libcudnn.so.9) @ cuda:0 (pip install ".[cuda]")\n'
    )


# --- interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal that interrupts one other process alone")
def test_ctrl_c_shows_what_was_measured(model: Path, tmp_path: Path) -> None:
    page = tmp_path / "bench.html"
    command = Path(sys.executable).with_name("resnet-bench")
    options = ["--steps", "100000000", "--threads", "1", "--device", "cpu", "--batch", "1", "--html", page]
    process = subprocess.Popen(
        [command, model, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    while "step 10," not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "resnet-bench: error: interrupted\n")
    assert re.search(r"^Forward across \d+ steps, ", out, re.MULTILINE)
    assert out.endswith("Interrupted: this is what was measured until then.\n")
    assert "Interrupted" in page.read_text("utf-8")


def test_the_document_of_an_interrupted_benchmark(
    model: Path, resnet_bench: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(contestants: Any, protocol: Protocol, **options: Any) -> Measured:
        return replace(measure(contestants, protocol.replace(steps=2)), interrupted=True)

    monkeypatch.setattr("resnet_compile.bench.run.measure", interrupted)
    ran = resnet_bench(model, *QUICK, "--batch", "1,2", "--profile", "--json")
    assert (ran.code, ran.err) == (1, "resnet-bench: error: interrupted\n")
    assert ran.document["interrupted"] is True
    assert [run["statistics"]["count"] for run in ran.document["runs"]] == [2]


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_a_bar_shows_progress_where_stderr_is_a_terminal(model: Path) -> None:
    leader, follower = os.openpty()
    command = Path(sys.executable).with_name("resnet-bench")
    options = [str(option) for option in (*QUICK, "--batch", 1, "--json")]
    done = subprocess.run([command, model, *options], stdout=subprocess.PIPE, stderr=follower, check=True, timeout=60)
    os.close(follower)
    assert json.loads(done.stdout)["interrupted"] is False
    assert b"steps" in os.read(leader, 1 << 16)
    os.close(leader)


def test_an_interrupt_while_loading_leaves_nothing(
    model: Path, tmp_path: Path, resnet_bench: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_compile.runtime.Session.open", interrupted)
    ran = resnet_bench(model, *QUICK, "--html", tmp_path / "bench.html")
    assert (ran.code, ran.out, ran.err) == (1, "", "resnet-bench: error: interrupted\n")
    assert list(tmp_path.iterdir()) == []


# --- many networks ----------------------------------------------------------------------------------------------------

MANY = ("--device", "cpu", "--steps", 8, "--burn-in", 1, "--threads", 1)


@pytest.fixture
def no_roof(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine can do takes seconds to measure."""
    monkeypatch.setattr("resnet_compile.sweep.roofline", lambda device, threads, backend: Roofline(threads, 50.0, 10.0))


@pytest.mark.usefixtures("no_roof")
def test_many_networks_make_one_table_and_one_page(
    resnet_bench: Callable[..., Ran], tmp_path: Path, model: Path
) -> None:
    table, page = tmp_path / "runs.csv", tmp_path / "runs.html"
    axes = ["--sweep", "width=0.5,1", "--sweep", "batch=1,2"]
    ran = resnet_bench("tiny", *MANY, *axes, "--csv", table, "--html", page, "--json")
    assert (ran.code, ran.err) == (0, "")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    told = [[row[name] for name in ("network", "width_factor", "batch", "dtype", "error")] for row in rows]
    assert told == [["tiny", width, batch, "float32", ""] for width in ("0.5", "1.0") for batch in ("1", "2")]
    assert all(float(row["p50_s"]) > 0 for row in rows)
    text = page.read_text("utf-8")
    assert Page(text).headings == ["Roofline", "All measurements"]
    assert "1 network, timed" in text
    assert Page(text).drawings == {"wide": 1, "narrow": 1}
    assert 'data-name="images/s"' in text, "what a narrow page stacks says what it is"
    # Once more measures nothing, and with one batch more only that.
    again = resnet_bench("tiny", *MANY, *axes, "--csv", table)
    assert (again.code, again.err.splitlines()[-1]) == (
        2,
        f"resnet-bench: error: the table has measurements already @ {table} (--resume goes on with them)",
    )
    before = table.read_text()
    assert resnet_bench("tiny", *MANY, *axes, "--csv", table, "--resume").code == 0
    assert table.read_text() == before
    more = resnet_bench("tiny", model, *MANY, "--batch", 1, "--csv", table, "--resume", "-v")
    assert more.code == 0
    assert table.read_text().startswith(before)
    assert [row["network"] for row in csv.DictReader(table.read_text().splitlines())][4:] == [str(model)]
    assert "1 of 2 measurements are there already" in more.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["tiny", "--sweep", "hight=3"],
            "'hight=3' is not NAME=VALUE,VALUE... with a name of depth, width, size, batch,",
        ),
        (["tiny", "--sweep", "batch=1", "--sweep", "batch=2"], "batch is given twice"),
        (["tiny", "--sweep", "batch=1", "--batch", 2], "--batch and --sweep batch=... exclude each other"),
        (["tiny", "--sweep", "width=-1"], "width[0] must be greater than 0.0, got -1.0"),
        (["tiny", "--sweep", "dtype=int4"], "must be 'float32', 'float16' or 'int8', got 'int4'"),
        (["tiny", "--sweep", "size=dynamic"], "size must be fixed for a benchmark, got dynamic"),
        (["tiny", "tiny", "--profile"], "--profile does not go with several models, --sweep or --csv"),
        (["tiny", "--resume"], "--resume needs --csv FILE"),
        (["tiny", "--size", "dynamic"], "size must be fixed for a benchmark, got dynamic"),
    ],
)
def test_what_cannot_be_swept_is_one_line(arguments: list[Any], words: str, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench(*arguments)
    assert ran.code == 2
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1


def test_size_and_classes_are_of_specs(model: Path, resnet_bench: Callable[..., Ran]) -> None:
    ran = resnet_bench("tiny", *QUICK, "--batch", 1, "--size", "48x40", "--num-classes", 7, "--json")
    (run,) = ran.document["runs"]
    assert run["shape"] == [1, 3, 48, 40]
    expected = resnet_compile.plan_network(
        resnet_compile.load_spec("tiny").replace(
            input=resnet_compile.Input(height=48, width=40), head=resnet_compile.Head(num_classes=7)
        )
    )
    assert run["macs"] == expected.macs
    refused = resnet_bench(model, *QUICK, "--size", 48)
    assert (refused.code, refused.err) == (
        2,
        f"resnet-bench: error: --size is for specs, got a model ({model} is a model; compile the spec with it)\n",
    )

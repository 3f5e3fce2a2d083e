"""A benchmark's text and page, from made-up results."""

import re
from dataclasses import replace
from typing import Any

import pytest
from support.results import ENVIRONMENT, GPU, SESSION

from resnet_compile.bench import Bench, BenchOptions, Comparison, Interval, Row
from resnet_compile.bench.profile import NodeTime, Profile
from resnet_compile.bench.record import Data, Sized
from resnet_compile.report.bench_page import bench_page
from resnet_compile.report.bench_text import bench_text


def row(model: str, batch: int, data: Data = "host", **changes: Any) -> Row:
    seconds = tuple(0.01 * batch * factor for factor in (1.0, 1.1, 0.9, 1.0))
    made = Row(model, batch, data, (batch, 3, 8, 8), 4, seconds, 10**9, 0.25, 0.125, 300 * 10**6, None, SESSION)
    return replace(made, **changes)


def bench(*rows: Row, **changes: Any) -> Bench:
    return replace(Bench(BenchOptions(), ENVIRONMENT, "cpu", "asked for", rows, (), None, False), **changes)


def compared(low: float, high: float, control: tuple[float, float] = (0.99, 1.01)) -> Sized:
    ratio = Interval((low + high) / 2, low, high, 0.95)
    return Sized(1, "host", Comparison("a", "b", ratio, Interval(1.0, *control, 0.95)))


def test_figures_of_a_row() -> None:
    text = bench_text(bench(row("a", 2)))
    header, figures, _, note = text.strip().splitlines()[2:]
    assert header.split("  ")[0] == "model"
    # 20 ms for 2 images: 100 images/s, of 2 GFLOP each.
    assert figures.split() == ["a", "2", "host", "20.00", "-", "-", "-", "100.0", "200.0", "0.250", "0.125", "300"]
    assert note == "-: not known; p90 needs 36 runs and p99 needs 368 runs (--steps)."
    assert "GPU" not in text


def test_percentiles_stand_where_the_runs_are_enough() -> None:
    seconds = tuple(0.001 * (1 + number / 400) for number in range(400))
    figures = bench_text(bench(row("a", 1, seconds=seconds))).strip()
    assert figures.splitlines()[3].split()[3:8] == ["1.50", "[1.448,", "1.55]", "1.90", "1.99"]
    assert "-:" not in figures
    figures = bench_text(bench(row("a", 1, seconds=seconds[:100])))
    assert figures.endswith("-: not known; p99 needs 368 runs (--steps).")
    assert "p99" not in bench_page(bench(row("a", 1, seconds=seconds[:100]))).split("All figures")[0]


def test_short_times_have_significant_digits() -> None:
    figures = bench_text(bench(row("a", 1, seconds=(5.123e-6,) * 4))).strip().splitlines()[3].split()
    assert (figures[3], figures[7]) == ("0.00512", "195,198.1")  # ms, and images/s of the same


def test_the_reason_for_the_device_is_short() -> None:
    words = (
        "auto: CUDA is not usable: no NVIDIA driver (libcuda.so.1 does not load); CUDA 13 libraries are missing (a, b)"
    )
    text = bench_text(bench(row("a", 1), device_reason=words))
    assert text.startswith("\non cpu (no NVIDIA driver): Slow & Sons")
    assert "libraries" not in bench_page(bench(row("a", 1), device_reason=words))


def test_what_is_not_known_is_a_dash() -> None:
    figures = bench_text(bench(row("a", 2, macs=None, memory_bytes=None))).strip().splitlines()[3].split()
    assert (figures[8], figures[11]) == ("-", "-")


def test_header_tells_the_machine() -> None:
    assert bench_text(bench(row("a", 1))).startswith(
        "\non cpu (asked for): Slow & Sons <1>, 4 cores, onnxruntime 1.31.1, a thread for each core, "
        "load 0.5 at the start\n"
    )


def test_gpu_has_its_columns() -> None:
    environment = replace(bench(row("a", 1)).environment, gpu=GPU)
    rows = (row("a", 1, "device", gpu_memory_mib=700), row("a", 1, "host to host", gpu_memory_mib=700))
    text = bench_text(bench(*rows, environment=environment, device="cuda:0"))
    assert "NVIDIA H100, driver 580.65.06, Slow & Sons" in text
    assert text.strip().splitlines()[2].endswith("GPU MiB")
    assert text.strip().splitlines()[4].split()[-1] == "700"
    page = bench_page(bench(*rows, environment=environment, device="cuda:0"))
    assert "580.65.06, CUDA to 13.0" in page
    assert "345 of 1980 MHz" in page


@pytest.mark.parametrize(
    ("sized", "words"),
    [
        (compared(1.04, 1.06), "b is faster"),
        (compared(0.90, 0.92), "a is faster"),
        (compared(0.99, 1.03), "no difference seen"),
        (compared(1.04, 1.06, (1.01, 1.02)), "the machine is too noisy to conclude"),
    ],
)
def test_comparisons_and_their_verdicts(sized: Sized, words: str) -> None:
    result = bench(row("a", 1), row("b", 1), comparisons=(sized,))
    ratio = sized.comparison.ratio
    told = f"a takes {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times as long as b: {words}\n"
    assert told in bench_text(result)
    page = bench_page(result)
    assert f"<td>{words}</td>" in page
    assert "left of 1 a is faster, right of 1 slower" in page
    assert ("too noisy to conclude from" in page) == ("noisy" in words)


def test_interrupted_says_so() -> None:
    result = bench(row("a", 1), interrupted=True)
    assert bench_text(result).endswith("Interrupted: this is what was measured until then.")
    assert "Interrupted" in bench_page(result)
    assert "Interrupted" not in bench_page(bench(row("a", 1)))


def test_names_of_strangers_are_escaped() -> None:
    page = bench_page(bench(row("<script>alert(1)</script>", 1), row('b" onload="x', 1)))
    assert "<script" not in page
    assert 'onload="x' not in page
    assert "Slow &amp; Sons &lt;1&gt;" in page


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_profile_and_sweep_have_their_drawings(device: str) -> None:
    nodes = (NodeTime("net/block1/a", "Conv", "", 0.3, 2), NodeTime("net/block2/b", "Add", "", 0.1, 2))
    result = bench(row("a", 1), row("a", 8), row("a", 32), profile=Profile("a", 32, 2, nodes), device=device)
    page = bench_page(result)
    assert page.count("<svg") == 2 * (3 * 2 + 2 + 2), "for a wide page and for a narrow one"
    assert "300 ms   75.0 %" in page
    assert ("the host takes" in bench_text(result)) == ("the host takes" in page) == (result.device != "cpu")
    assert re.search(r"a, batch 32: 100 images a second", page)


def test_one_run_alone_can_be_drawn() -> None:
    page = bench_page(bench(row("a", 1, seconds=(0.01,))))
    assert "nan" not in page
    assert "inf" not in page.replace("information", "")

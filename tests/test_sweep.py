"""Many networks as one table: its columns, what cannot be measured, and what goes on."""

from pathlib import Path
from typing import Any

import pytest

from resnet_compile import CompileOptions, compile, costs, load_spec, sweep
from resnet_compile.bench import BenchOptions, Protocol
from resnet_compile.errors import DeviceError, ModelFileError, OptionError, OutputError, ResnetCompileError
from resnet_compile.roofline import Roofline, roofline
from resnet_compile.runtime import parse_device
from resnet_compile.spec.scaling import scaled
from resnet_compile.sweep import COLUMNS, Axes, read_table, table_text

QUICK = BenchOptions(device="cpu", protocol=Protocol(steps=8, burn_in=0))


def run(*networks: str, table: Path | None = None, resume: bool = False, **axes: Any) -> sweep.Sweep:
    options = {"threads": (1,), **axes}
    return sweep.sweep(networks, Axes(**options), QUICK, table=table, resume=resume, roofs=False)


def test_a_row_says_what_was_measured_and_what_it_costs() -> None:
    one, two = run("tiny", width=(2.0,), size=((48, 40),), batch=(2,), dtype=("float32", "float16")).rows
    expected = costs.costs(scaled(load_spec("tiny"), width=2.0), CompileOptions(batch=2, size=(48, 40)))
    assert (one["macs"], one["bytes_moved"]) == (expected.macs, expected.bytes_moved)
    assert (two["macs"], two["bytes_moved"]) == (expected.macs, expected.bytes_moved // 2)
    assert one["gflop_per_second"] == pytest.approx(2 * one["macs"] / one["p50_s"] / 1e9)
    assert one["images_per_second"] == pytest.approx(2 / one["p50_s"])
    assert one["p50_low_s"] <= one["p50_s"] <= one["p50_high_s"]
    assert (one["height"], one["width"], one["device"], one["error"]) == (48, 40, "cpu", None)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    (row,) = run("tiny", batch=(1,)).rows
    path = tmp_path / "runs.csv"
    path.write_text(table_text([row, {**dict.fromkeys(COLUMNS), "network": "3", "error": "a, b"}]))
    assert read_table(path)[0] == row
    assert read_table(path)[1]["network"] == "3"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ModelFileError, match="is not a table of resnet-bench"):
        run("tiny", table=path, resume=True)
    assert path.read_text() == "a,b\n1,2\n"


def test_nothing_is_left_where_nothing_is_measured(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        sweep.sweep(["tiny"], table=tmp_path / "runs.csv", options=QUICK.replace(device="cuda:7"))
    with pytest.raises(OutputError, match="cannot write here"):
        run("tiny", table=tmp_path / "nowhere" / "runs.csv")
    assert [*tmp_path.iterdir()] == []


def test_what_cannot_be_measured_is_a_row_that_going_on_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked, real = tmp_path / "runs.csv", [], sweep.bench

    def failing(subjects: Any, options: BenchOptions, **how: Any) -> Any:
        asked.append(options.batches)
        if options.batches == (2,):
            raise ResnetCompileError("out of memory")
        return real(subjects, options, **how)

    monkeypatch.setattr(sweep, "bench", failing)
    found = run("tiny", table=path, batch=(1, 2, 3))
    assert [row["error"] for row in found.rows] == [None, "out of memory", None]
    assert [row["batch"] for row in found.failed] == [2]
    monkeypatch.setattr(sweep, "bench", lambda *given, **how: asked.append("again") or real(*given, **how))
    assert [row["error"] for row in run("tiny", table=path, resume=True, batch=(1, 2, 3)).rows] == [None] * 3
    assert asked == [(1,), (2,), (3,), "again"]


def test_an_interrupt_loses_one_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "runs.csv", sweep.bench

    def interrupted(subjects: Any, options: BenchOptions, **how: Any) -> Any:
        if options.batches == (2,):
            raise KeyboardInterrupt
        return real(subjects, options, **how)

    monkeypatch.setattr(sweep, "bench", interrupted)
    found = run("tiny", table=path, batch=(1, 2, 3))
    assert found.interrupted
    assert [row["batch"] for row in read_table(path)] == [1]


def test_rows_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    (row,) = run("tiny", table=path, batch=(1,)).rows
    path.write_text(table_text([{**row, "processor": "Other"}]))
    with pytest.raises(OptionError, match=r"was measured on cpu, Other, .*, and this is cpu, .*another file"):
        run("tiny", table=path, resume=True, batch=(1, 2))


def test_of_a_model_only_batch_and_threads_are_varied(tmp_path: Path) -> None:
    model = tmp_path / "half.onnx"
    compile("tiny", CompileOptions(dtype="float16")).save(model)
    (row,) = run(str(model), batch=(1,)).rows
    assert (row["dtype"], row["macs"]) == ("float16", costs.costs("tiny").macs)
    with pytest.raises(OptionError, match=r"only batch and threads of a model can be varied, not width @ .*half\.onnx"):
        run(str(model), width=(0.5,))


def test_a_roof_is_the_lower_of_the_two() -> None:
    roof = Roofline(1, 100.0, 20.0)
    assert [roof.at(intensity) for intensity in (1, 5, 50)] == [20, 100, 100]


def test_the_machine_is_measured_by_a_product_and_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_compile.roofline._HOST_SIDES", (32, 64))
    monkeypatch.setattr("resnet_compile.roofline._COPIED", 2**12)
    monkeypatch.setattr("resnet_compile.roofline._LEAST_SECONDS", 0.0)
    # Every run takes a second by this clock.
    clock = iter(float(second) for second in range(1000))
    monkeypatch.setattr("resnet_compile.roofline.time.perf_counter", lambda: next(clock))
    device = parse_device("cpu")
    assert device is not None
    found = roofline(device, 1)
    assert found == Roofline(1, 2 * 64**3 / 1e9, 2 * 4 * 2**12 / 1e9)

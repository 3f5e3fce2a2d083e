import json
from pathlib import Path
from typing import Any

import pytest

from resnet_compile.errors import OutputError
from resnet_compile.training import read_log
from resnet_compile.training.run_log import RunLog


def step(number: int) -> dict[str, Any]:
    return {"step": number, "loss": 0.5, "accuracy": 0.25, "learning_rate": 0.1, "images_per_second": 9.0}


def evaluation(number: int) -> dict[str, Any]:
    return {"step": number, "images": 3, "accuracy": 0.5, "loss": 1.5, "best_accuracy": 0.75}


def write(folder: Path, *entries: dict[str, Any], at: tuple[int, int] = (0, 0)) -> None:
    log = RunLog(folder, *at)
    for entry in entries:
        log.add(entry)
    log.to_disk()
    log.close()


def test_a_line_is_a_json_object(tmp_path: Path) -> None:
    write(tmp_path, step(10), evaluation(10))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == read_log(tmp_path) == [step(10), evaluation(10)]


def test_going_on_takes_back_what_comes_after_the_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, step(10), evaluation(15), step(20), evaluation(20), step(30))
    write(tmp_path, step(30), at=(20, 20))
    assert read_log(tmp_path) == [step(10), evaluation(15), step(20), evaluation(20), step(30)]


def test_an_evaluation_that_the_checkpoint_does_not_know_is_taken_back(tmp_path: Path) -> None:
    write(tmp_path, step(10), evaluation(15), step(20), evaluation(20))
    write(tmp_path, at=(20, 15))
    assert read_log(tmp_path) == [step(10), evaluation(15), step(20)]


@pytest.mark.parametrize("rest", ['{"step": 20, "lo', '{"step": 20}', "[1]\n", '{"loss": 2}\n', "\n"])
def test_a_line_that_a_kill_cut_short_is_taken_back(tmp_path: Path, rest: str) -> None:
    write(tmp_path, step(10))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(rest)
    assert read_log(tmp_path) == [step(10)]
    write(tmp_path, step(20), at=(10, 0))
    assert read_log(tmp_path) == [step(10), step(20)]


def test_without_a_log_there_are_no_entries(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    log._file.close()
    with Path("/dev/full").open("ab", buffering=0) as log._file:
        with pytest.raises(OutputError, match=r"cannot write: No space left on device @ .*log\.jsonl"):
            log.add(step(10))
        log.close()


def test_a_figure_that_is_no_number_is_no_json(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.add({**step(10), "loss": float("nan")})
    log.close()
    assert read_log(tmp_path) == []

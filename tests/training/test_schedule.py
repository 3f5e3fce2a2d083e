import json
import math
from pathlib import Path
from typing import Any

import pytest

from resnet_compile.errors import OptionError
from resnet_compile.training import learning_rate
from resnet_compile.training.options import CIFAR_SCHEDULE, end_of, parse_schedule, read_schedule


@pytest.mark.parametrize(
    ("number", "rate"),
    [
        (1, 0.1),
        (40_000, 0.1),
        (40_001, 0.01),
        (60_000, 0.01),
        (60_001, 0.001),
        (80_000, 0.001),
        (80_001, 0.0001),
        (10**9, 0.0001),
    ],
)
def test_the_originals_schedule(number: int, rate: float) -> None:
    """The step of a number is taken when one less is done; the rate follows the number of steps done."""
    assert learning_rate(CIFAR_SCHEDULE, number - 1) == rate


def test_a_constant_schedule_has_no_end() -> None:
    schedule = parse_schedule('{"kind": "piecewise", "boundaries": [], "values": [0.5]}')
    assert learning_rate(schedule, 0) == learning_rate(schedule, 10**6) == 0.5
    assert end_of(schedule) is None
    assert end_of(CIFAR_SCHEDULE) == 80_000


def test_cosine_with_warmup() -> None:
    schedule = parse_schedule('{"kind": "cosine", "peak": 0.4, "steps": 12, "warmup": 4, "final": 0.1}')
    rates = [learning_rate(schedule, done) for done in range(14)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    # Eight steps go down: a quarter of the way is 0.1 + 0.3 (1 + cos 45 degrees) / 2.
    assert rates[5] == pytest.approx(0.1 + 0.15 * (1 + math.sqrt(0.5)))
    assert rates[7] == pytest.approx(0.25)
    assert rates[11:] == pytest.approx([0.1, 0.1, 0.1])
    assert end_of(schedule) == 12


def test_cosine_without_warmup_falls_from_the_first_step_on() -> None:
    schedule = parse_schedule('{"kind": "cosine", "peak": 1.0, "steps": 2}')
    assert [learning_rate(schedule, done) for done in range(3)] == pytest.approx([0.5, 0.0, 0.0])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"kind": "piecewise", "boundaries": [5], "values": [0.1]},
            r"must have 2 items, one more than boundaries, got 1 @ \$\.values$",
        ),
        ({"kind": "piecewise", "boundaries": [5, 5], "values": [1, 1, 1]}, r"before it, 5 @ \$\.boundaries\[1\]$"),
        ({"kind": "piecewise", "boundaries": [1, 2], "values": [0.1, 0.1, "x"]}, r'got "x" @ \$\.values\[2\]$'),
        ({"kind": "piecewise", "boundaries": [1], "values": [0.1, -1]}, r"at least 0.0, got -1 @ \$\.values\[1\]$"),
        ({"kind": "piecewise", "boundaries": [0], "values": [1, 1]}, r"at least 1, got 0 @ \$\.boundaries\[0\]$"),
        ({"kind": "linear"}, r"kind must be one of 'piecewise', 'cosine', got 'linear' @ \$\.kind$"),
        ({"kind": "cosine", "steps": 5}, r"required @ \$\.peak$"),
        ({"kind": "cosine", "peak": 0.1, "steps": 5, "warmup": 5}, r"less than steps, 5 @ \$\.warmup$"),
        ({"kind": "cosine", "peak": 0.1, "steps": 5, "power": 1}, r"unknown key @ \$\.power$"),
    ],
)
def test_faults_have_a_path(document: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_schedule(json.dumps(document))


def test_a_schedule_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(CIFAR_SCHEDULE.model_dump_json())
    assert read_schedule(path) == CIFAR_SCHEDULE
    path.write_text('{"kind": "cosine"')
    with pytest.raises(OptionError, match=r"not JSON: .* @ .*schedule\.json"):
        read_schedule(path)
    with pytest.raises(OptionError, match=r"cannot read the schedule: .* @ .*missing"):
        read_schedule(tmp_path / "missing")

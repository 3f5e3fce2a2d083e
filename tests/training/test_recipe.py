"""What a training does where it is not told."""

from typing import Any

import pytest

from resnet_compile.errors import OptionError
from resnet_compile.training import learning_rate
from resnet_compile.training.options import CIFAR_SCHEDULE, CosineSchedule, PiecewiseSchedule, TrainOptions
from resnet_compile.training.recipe import settled

COSINE = CosineSchedule(peak=0.1, warmup=5)
ENDLESS = PiecewiseSchedule(boundaries=(), values=(0.1,))


@pytest.mark.parametrize(
    ("given", "fine_tuning", "batch", "steps", "every"),
    [
        ({}, False, 128, 80_000, 1000),
        ({"epochs": 2}, False, 128, 16, 2),
        ({"lr": 0.05}, False, 128, 80_000, 1000),
        ({}, True, 32, 313, 32),
        ({"batch": 500}, True, 500, 100, 10),
        ({"epochs": 1}, True, 32, 32, 4),
        ({"schedule": COSINE}, True, 32, 313, 32),
        ({"schedule": PiecewiseSchedule(boundaries=(7,), values=(0.1, 0.2))}, True, 32, 7, 1),
        ({"steps": 50_000, "eval_every": 7}, False, 128, 50_000, 7),
    ],
)
def test_batch_length_and_evaluations(
    given: dict[str, Any], fine_tuning: bool, batch: int, steps: int, every: int
) -> None:
    """Of a thousand images."""
    how = settled(TrainOptions(**given), 1000, fine_tuning=fine_tuning)
    assert (how.batch, how.steps, how.eval_every) == (batch, steps, every)


def test_the_originals_rates_fall_from_the_greatest() -> None:
    assert settled(TrainOptions(), 9, fine_tuning=False).schedule == CIFAR_SCHEDULE
    schedule = settled(TrainOptions(lr=0.5), 9, fine_tuning=False).schedule
    assert [learning_rate(schedule, done) for done in (0, 40_000, 60_000, 80_000)] == pytest.approx(
        [0.5, 0.05, 0.005, 0.0005]
    )


def test_fine_tunings_rates_rise_and_fall_over_the_run() -> None:
    schedule = settled(TrainOptions(steps=200, lr=0.04), 9, fine_tuning=True).schedule
    assert schedule == CosineSchedule(peak=0.04, steps=200, warmup=20)
    assert learning_rate(schedule, 19) == 0.04
    assert learning_rate(schedule, 199) == pytest.approx(0)


def test_a_cosine_is_as_long_as_its_run() -> None:
    assert settled(TrainOptions(steps=60, schedule=COSINE), 9, fine_tuning=False).schedule == COSINE.replace(steps=60)
    assert settled(TrainOptions(epochs=3, batch=5, schedule=COSINE), 50, fine_tuning=False).schedule == COSINE.replace(
        steps=30
    )
    with pytest.raises(OptionError, match=r"less than steps, 4 @ \$\.warmup"):
        settled(TrainOptions(steps=4, schedule=COSINE), 9, fine_tuning=False)
    with pytest.raises(OptionError, match="no rate before the run's length is known"):
        learning_rate(COSINE, 9)


@pytest.mark.parametrize("schedule", [COSINE, ENDLESS])
def test_a_run_without_an_end_is_told(schedule: CosineSchedule | PiecewiseSchedule) -> None:
    with pytest.raises(OptionError, match=r"no end @ steps \(give --steps or --epochs\)"):
        settled(TrainOptions(schedule=schedule), 9, fine_tuning=False)


BEGUN = {"recipe": "fine-tuning", "batch": 16, "schedule": COSINE.replace(steps=40).model_dump(mode="json")}


@pytest.mark.parametrize(
    ("given", "steps", "schedule"),
    [
        ({}, 40, COSINE.replace(steps=40)),
        ({"steps": 90}, 90, COSINE.replace(steps=40)),
        ({"steps": 90, "schedule": COSINE}, 90, COSINE.replace(steps=40)),
        ({"lr": 0.3}, 40, CosineSchedule(peak=0.3, steps=40, warmup=4)),
    ],
)
def test_a_run_that_goes_on_goes_by_what_it_began_with(given: dict[str, Any], steps: int, schedule: Any) -> None:
    how = settled(TrainOptions(**given), 1000, fine_tuning=False, begun=BEGUN, steps=40)
    assert (how.recipe, how.batch, how.steps, how.schedule) == ("fine-tuning", 16, steps, schedule)


def test_a_rate_and_a_schedule_exclude_each_other() -> None:
    with pytest.raises(OptionError, match=r"schedule and lr exclude each other @ \$\.lr"):
        TrainOptions(lr=0.1, schedule=COSINE)

"""The averages that a Keras optimizer keeps, against the optimizer's own."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoint_seeds import DATA
from support.truths import assert_equals

from resnet_compile.checkpoints.base import AVERAGE
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.hdf5.keras_averages import UNTOLD, average_names, keeps_averages

FILE = DATA / "readers" / "averages.keras"
TRUTH = json.loads(FILE.with_suffix(".json").read_text())["averages.keras"]


def test_averages_stand_behind_the_names_of_their_variables() -> None:
    with open_checkpoint(FILE) as checkpoint:
        assert {name for name in checkpoint if name.endswith(AVERAGE)} == TRUTH.keys()
        assert checkpoint.notes == ()
        assert_equals(checkpoint, TRUTH)
        assert all(name.removesuffix(AVERAGE) in checkpoint for name in TRUTH)


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The archive with another configuration."""
    with zipfile.ZipFile(FILE) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return path


def layer(config: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each["config"] for each in config["config"]["layers"] if each["config"]["name"] == name
    )
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda config: layer(config, "frozen_conv").update(trainable=True),
        lambda config: layer(config, "conv1_bn").update(trainable=False),
        lambda config: config["config"]["layers"].reverse(),
        lambda config: config["config"].update(layers=[]),
        lambda config: config["config"].update(layers=None),
    ],
)
def test_averages_that_cannot_be_told_apart_are_told_of(change: Callable[[Any], object], tmp_path: Path) -> None:
    with open_checkpoint(changed(tmp_path / "a.keras", change)) as checkpoint:
        assert UNTOLD in checkpoint.notes
        assert not any(name.endswith(AVERAGE) for name in checkpoint)


@pytest.mark.parametrize("optimizer", [None, [], {}, {"config": None}, {"config": {"use_ema": False}}])
def test_other_optimizers_keep_none(optimizer: object, tmp_path: Path) -> None:
    path = changed(tmp_path / "a.keras", lambda config: config["compile_config"].update(optimizer=optimizer))
    with open_checkpoint(path) as checkpoint:
        assert (checkpoint.notes, "optimizer/2" in checkpoint) == ((), True)


def test_a_configuration_that_says_nothing() -> None:
    assert not keeps_averages(None)
    assert not keeps_averages({"compile_config": 3})
    assert average_names({}, {}) == {}
    assert average_names({"config": {"layers": [3, {"config": 3}]}}, {"optimizer/0": ()}) == {}


def test_a_layer_with_variables_of_other_names_is_not_guessed() -> None:
    config = {"config": {"layers": [{"config": {"name": "a"}}]}}
    shapes = {"a/scale": (2,), "optimizer/0": (), "optimizer/1": (3,)}
    assert average_names(config, shapes) == {}

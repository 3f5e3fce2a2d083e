from pathlib import Path

import numpy as np
import pytest
from support.contents import arrays_of
from support.training_run import narrow_spec, with_classes

from resnet_compile import compile as compile_network
from resnet_compile.checkpoints.formats import is_checkpoint, open_checkpoint
from resnet_compile.errors import CheckpointError, WeightsError
from resnet_compile.training import compile_step
from resnet_compile.training.checkpoints import Progress, save_checkpoint
from resnet_compile.training.options import StepOptions


def run_folder(folder: Path, *steps: int) -> dict[int, dict[str, np.ndarray]]:
    """A run with a checkpoint of its own values after each number of steps."""
    states = {}
    for step in steps:
        drawn = compile_step(narrow_spec(), StepOptions(batch=2)).initial_state(seed=step)
        states[step] = {name: values + np.ones_like(values) for name, values in drawn.items()}
        save_checkpoint(folder, states[step], Progress(step, 9, {}), 9)
    return states


def test_a_folder_is_its_newest_checkpoint(tmp_path: Path) -> None:
    states = run_folder(tmp_path, 3, 12)
    assert is_checkpoint(tmp_path)
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.format == "NumPy npz"
        assert [file.name for file in checkpoint.files] == ["checkpoint-00000012.npz"]
        assert all(np.array_equal(checkpoint[name], values) for name, values in states[12].items())


def test_a_damaged_one_gives_way(tmp_path: Path) -> None:
    run_folder(tmp_path, 3, 12)
    newest = tmp_path / "checkpoint-00000012.npz"
    data = newest.read_bytes()
    newest.write_bytes(data[: len(data) // 2] + b"\x00\xff" + data[len(data) // 2 + 2 :])
    with open_checkpoint(tmp_path) as checkpoint:
        assert [file.name for file in checkpoint.files] == ["checkpoint-00000003.npz"]
    (tmp_path / "checkpoint-00000003.npz").write_bytes(b"")
    with pytest.raises(CheckpointError, match="checkpoint-00000012"):
        open_checkpoint(tmp_path)


def test_the_best_one_counts_where_the_newest_says_so(tmp_path: Path) -> None:
    states = run_folder(tmp_path, 3, 12)
    last = Progress(15, 20, {}, 15, 0.5, 0.75, best_step=3, class_names=["cat", "dog"])
    save_checkpoint(tmp_path, states[12], last, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000003.npz", "checkpoint-00000015.npz"]
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.notes == (
            f"checkpoint-00000003.npz is the best checkpoint; the newest is {tmp_path}/checkpoint-00000015.npz",
        )
        assert all(np.array_equal(checkpoint[name], values) for name, values in states[3].items())
    with open_checkpoint(tmp_path / "checkpoint-00000015.npz") as checkpoint:
        assert checkpoint.class_names == ("cat", "dog")
        assert all(np.array_equal(checkpoint[name], values) for name, values in states[12].items())
    best = tmp_path / "checkpoint-00000003.npz"
    best.write_bytes(best.read_bytes()[:-30])
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.notes[0].startswith("checkpoint-00000015.npz is read instead of the best checkpoint: ")
        assert checkpoint.class_names == ("cat", "dog")


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert not is_checkpoint(tmp_path / "missing")
    assert not is_checkpoint("no\0path")
    (tmp_path / "checkpoint-12.npz").write_bytes(b"")
    (tmp_path / "checkpoint-00000012.npz.damaged").write_bytes(b"")
    with pytest.raises(CheckpointError, match="a folder without a checkpoint in it"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("place", ["", "checkpoint-00000003.npz"])
def test_a_run_compiles_straight_to_a_model(tmp_path: Path, place: str) -> None:
    """Slots, biased averages and the rest are known to be no parameters."""
    states = run_folder(tmp_path, 3)
    model = compile_network(narrow_spec(), weights=tmp_path / place)
    assert model.format.metadata.weights_naming == "native"
    found = arrays_of(model.graph)
    assert all(np.array_equal(found[parameter.name], states[3][parameter.name]) for parameter in model.plan.parameters)


def test_a_run_of_another_network_is_refused(tmp_path: Path) -> None:
    run_folder(tmp_path, 3)
    with pytest.raises(WeightsError, match=r"conv1/weights has shape"):
        compile_network(narrow_spec(root={"kind": "cifar", "depth": 2}), weights=tmp_path)
    assert compile_network(with_classes(7), weights=tmp_path).plan.spec == narrow_spec()

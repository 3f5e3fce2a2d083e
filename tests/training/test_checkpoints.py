import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disk import files_of_at_most

from resnet_compile.checkpoints.training_run import newest_whole
from resnet_compile.errors import CheckpointError, OutputError, TrainingError
from resnet_compile.training.checkpoints import (
    Progress,
    best_accuracy,
    clear_folder,
    read_checkpoint,
    save_checkpoint,
)

STATE = {
    "net/conv1/weights": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "net/conv1/weights/Momentum": np.full((2, 3, 2, 2), -0.5, np.float32),
    "step": np.array(7),
}


def save(folder: Path, step: int, *, keep: int = 9, state: Any = STATE) -> Path:
    return save_checkpoint(folder, state, Progress(step, 100, {"seed": 3}, 2, 0.25, 0.5), keep)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    saved = read_checkpoint(path)
    assert path.name == "checkpoint-00000007.npz"
    assert saved.progress == Progress(7, 100, {"seed": 3}, evaluated=2, accuracy=0.25, best_accuracy=0.5)
    assert [*saved.state] == [*STATE]
    for name, values in STATE.items():
        assert saved.state[name].dtype == values.dtype
        assert np.array_equal(saved.state[name], values)


def test_numpy_alone_opens_it(tmp_path: Path) -> None:
    with np.load(save(tmp_path, 7), allow_pickle=False) as file:
        assert file.files == ["progress", *STATE]
        assert all(np.array_equal(file[name], values) for name, values in STATE.items())


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    first = save(tmp_path, 7).read_bytes()
    assert save(tmp_path, 7).read_bytes() == first


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for step in (0, 5, 10, 100_000_000, 20):
        save(tmp_path, step, keep=3)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["checkpoint-00000010.npz", "checkpoint-00000020.npz", "checkpoint-100000000.npz"]


def test_an_empty_or_missing_folder_has_none(tmp_path: Path) -> None:
    assert newest_whole(tmp_path, read_checkpoint) == (None, [])
    assert newest_whole(tmp_path / "missing", read_checkpoint) == (None, [])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    older, newer = save(tmp_path, 5), save(tmp_path, 10)
    data = bytearray(newer.read_bytes())
    if damage == "flip":
        data[data.index(STATE["net/conv1/weights"].tobytes()) + 9] ^= 1
    newer.write_bytes({"cut": data[:-30], "flip": data, "empty": b""}[damage])
    saved, faults = newest_whole(tmp_path, read_checkpoint)
    assert saved is not None
    assert saved.path == older
    assert [str(newer) in str(fault) for fault in faults] == [True]
    assert best_accuracy(tmp_path) == best_accuracy(older) == 0.5
    assert best_accuracy(newer) is None


def test_every_byte_counts(tmp_path: Path) -> None:
    """No single wrong byte goes unseen, but in the zip's own time stamps and the like, where it changes nothing."""
    path = save(tmp_path, 5)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        try:
            saved = read_checkpoint(path)
        except CheckpointError:
            continue
        assert saved.progress == Progress(5, 100, {"seed": 3}, 2, 0.25, 0.5)
        assert all(np.array_equal(saved.state[name], values) for name, values in STATE.items()), place


def test_where_all_are_damaged_the_newest_is_told(tmp_path: Path) -> None:
    for step in (5, 10):
        save(tmp_path, step).write_bytes(b"PK\5\6")
    with pytest.raises(CheckpointError, match="checkpoint-00000010"):
        newest_whole(tmp_path, read_checkpoint)


def test_another_npz_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-00000001.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(CheckpointError, match="not a checkpoint of a training run"):
        read_checkpoint(path)
    np.savez(path, progress=np.frombuffer(b'{"step": 1}', np.uint8))
    with pytest.raises(CheckpointError, match="not a checkpoint of a training run"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_state_that_is_not_finite_is_not_saved(tmp_path: Path, value: float) -> None:
    save(tmp_path, 5)
    spoilt = {**STATE, "net/conv1/weights": STATE["net/conv1/weights"].copy()}
    spoilt["net/conv1/weights"][1, 2, 0, 1] = value
    with pytest.raises(TrainingError, match=r"a value that is not finite @ net/conv1/weights"):
        save(tmp_path, 10, state=spoilt)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000005.npz"]


def test_a_disk_that_is_full_leaves_the_last_one(tmp_path: Path) -> None:
    older = save(tmp_path, 5)
    before = older.read_bytes()
    large = {**STATE, "net/large": np.ones(50_000, np.float32)}
    with files_of_at_most(100_000), pytest.raises(OutputError, match=r"cannot write: .* @ .*checkpoint-00000010"):
        save(tmp_path, 10, state=large, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [older.name]
    assert older.read_bytes() == before


def test_a_disk_that_is_full_at_the_very_end_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems that allocate late refuse when the file is brought to the disk."""
    older = save(tmp_path, 5)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="cannot write: No space left on device"):
        save(tmp_path, 10, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [older.name]


def test_before_the_rename_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    rename = Path.replace
    monkeypatch.setattr("os.fsync", lambda descriptor: events.append("sync"))
    monkeypatch.setattr(Path, "replace", lambda path, to: [events.append("rename"), rename(path, to)][1])
    save(tmp_path, 5)
    assert events == ["sync", "rename", "sync"], "the file's contents, its name, the folder that holds the name"


def test_a_folder_is_cleared_of_what_a_kill_left(tmp_path: Path) -> None:
    kept, older, newer = save(tmp_path, 5), save(tmp_path, 3), save(tmp_path, 10)
    (tmp_path / ".checkpoint-00000011.npz.0123.part").write_bytes(b"half")
    (tmp_path / ".log.jsonl.0123.part").write_bytes(b"half")
    (tmp_path / ".film.mkv.part").write_bytes(b"not ours")
    clear_folder(tmp_path, kept)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".film.mkv.part", older.name, kept.name, f"{newer.name}.damaged"]


def test_a_folder_is_made(tmp_path: Path) -> None:
    clear_folder(tmp_path / "new" / "run", None)
    assert (tmp_path / "new" / "run").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write here: .* @ .*file"):
        clear_folder(tmp_path / "file", None)

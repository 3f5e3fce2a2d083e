"""Which files a path means, and telling V1 from V2 by what is in them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.tensorflow_files import CHECKPOINTS, MAGIC, v1_file

from resnet_compile.checkpoints.tensorflow.paths import newest, table_kind, v1_files, v2_prefix
from resnet_compile.checkpoints.tensorflow.v1 import TensorFlowV1Checkpoint, is_tensorflow_v1
from resnet_compile.checkpoints.tensorflow.v2 import TensorFlowV2Checkpoint, is_tensorflow_v2
from resnet_compile.errors import CheckpointError

SHARDS = tuple(CHECKPOINTS / f"shard1-0000{number}-of-00003" for number in range(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("dt1", "dt2.index", "dt2.data-00000-of-00001", *(shard.name for shard in SHARDS)):
        shutil.copyfile(CHECKPOINTS / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "given",
    [
        "shard1",
        "shard1-?????-of-00003",
        "shard1-?????-of-?????",
        "shard1-*-of-00003",
        "shard1-*-of-*",
        "shard1-00000-of-00003",
        "shard1-00002-of-00003",
    ],
)
def test_shards_are_found(given: str) -> None:
    assert v1_files(CHECKPOINTS / given) == SHARDS
    assert is_tensorflow_v1(CHECKPOINTS / given)
    assert not is_tensorflow_v2(CHECKPOINTS / given)
    assert len(TensorFlowV1Checkpoint(CHECKPOINTS / given)) == 12


@pytest.mark.parametrize("given", ["dt2", "dt2.index", "dt2.data-00000-of-00001"])
def test_bundle_is_found(given: str) -> None:
    assert v2_prefix(CHECKPOINTS / given) == CHECKPOINTS / "dt2"
    assert is_tensorflow_v2(CHECKPOINTS / given)
    assert not is_tensorflow_v1(CHECKPOINTS / given)
    assert len(TensorFlowV2Checkpoint(CHECKPOINTS / given)) == 18


def test_single_file_is_told_by_its_content(folder: Path) -> None:
    assert v1_files(CHECKPOINTS / "dt1") == (CHECKPOINTS / "dt1",)
    assert is_tensorflow_v1(CHECKPOINTS / "dt1")
    assert not is_tensorflow_v2(CHECKPOINTS / "dt1")
    # A misleading name changes nothing.
    (folder / "dt1").rename(folder / "x.index")
    assert is_tensorflow_v1(folder / "x.index")
    assert not is_tensorflow_v2(folder / "x.index")
    (folder / "dt2.index").rename(folder / "y.ckpt")
    assert not is_tensorflow_v1(folder / "y.ckpt")


@pytest.mark.parametrize("fixture", ["dt1", "part1", "extra1", "cross1-00000-of-00002"])
def test_kind_of_v1(fixture: str) -> None:
    assert table_kind(CHECKPOINTS / fixture) == "v1"


@pytest.mark.parametrize("fixture", ["dt2", "dt2sn", "part2", "shard2", "many2", "extra2"])
def test_kind_of_v2(fixture: str) -> None:
    assert table_kind(CHECKPOINTS / f"{fixture}.index") == "v2"


def test_damaged_file_keeps_its_kind_so_that_opening_says_what_is_wrong(folder: Path) -> None:
    for name, looks in (("dt1", is_tensorflow_v1), ("dt2.index", is_tensorflow_v2)):
        data = bytearray((folder / name).read_bytes())
        data[5] ^= 1
        (folder / name).write_bytes(data)
        assert table_kind(folder / name) == "damaged"
        assert [other for other in (is_tensorflow_v1, is_tensorflow_v2) if other(folder / name)] == [looks]


@pytest.mark.parametrize("content", [b"", b"PK\3\4", MAGIC[:-1], b"\0" * 100])
def test_other_files_are_neither(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert table_kind(path) is None
    assert not is_tensorflow_v1(path)
    assert not is_tensorflow_v2(path)


@pytest.mark.parametrize("given", ["nothing", "no/where", "a\0b", "x" * 5000, "-?????-of-00003", "/", "."])
def test_path_that_means_nothing(folder: Path, given: str) -> None:
    path = folder / given
    assert not is_tensorflow_v1(path)
    assert not is_tensorflow_v2(path)
    with pytest.raises(CheckpointError):
        TensorFlowV1Checkpoint(path)
    with pytest.raises(CheckpointError):
        TensorFlowV2Checkpoint(path)


def test_bundle_without_a_name(folder: Path) -> None:
    (folder / "dt2.index").rename(folder / ".index")
    assert not is_tensorflow_v2(folder / ".index")
    with pytest.raises(CheckpointError, match="by its name"):
        TensorFlowV2Checkpoint(folder / ".index")


def test_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "x.index")
    for given in ("pipe", "x", "x.index"):
        assert not is_tensorflow_v1(tmp_path / given)
        assert not is_tensorflow_v2(tmp_path / given)
        with pytest.raises(CheckpointError):
            TensorFlowV1Checkpoint(tmp_path / given)
        with pytest.raises(CheckpointError):
            TensorFlowV2Checkpoint(tmp_path / given)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_shard_of_v1(folder: Path, missing: int) -> None:
    (folder / SHARDS[missing].name).unlink()
    for given in ("shard1", "shard1-?????-of-00003", SHARDS[(missing + 1) % 3].name):
        with pytest.raises(CheckpointError, match="missing") as caught:
            TensorFlowV1Checkpoint(folder / given)
        assert SHARDS[missing].name in str(caught.value)


def test_shards_of_two_checkpoints(folder: Path) -> None:
    (folder / "shard1-00000-of-00001").write_bytes(v1_file(("w", np.ones(3, np.float32))))
    with pytest.raises(CheckpointError, match=r"\[1, 3\] files"):
        TensorFlowV1Checkpoint(folder / "shard1")
    assert list(TensorFlowV1Checkpoint(folder / "shard1-?????-of-00001")) == ["w"]
    assert len(TensorFlowV1Checkpoint(folder / "shard1-?????-of-00003")) == 12


def test_no_shards(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="0 shards"):
        TensorFlowV1Checkpoint(folder / "x-00000-of-00000")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (b'model_checkpoint_path: "dt1"\nall_model_checkpoint_paths: "x"\n', "dt1"),
        (b'all_model_checkpoint_paths: "x"\nmodel_checkpoint_path: "dt2"\n', "dt2"),
        (b'model_checkpoint_path: "/train/run 1/model.ckpt-9"', "model.ckpt-9"),
        (b'  model_checkpoint_path:"sub/x"', "sub/x"),
        # As TensorFlow writes the name grö"ße\x'y and a control character.
        (rb'model_checkpoint_path: "gr\303\266\"\303\237e\\x' + rb"\'y\001" + b'"', "grö\"ße\\x'y\1"),
    ],
)
def test_state_file_names_the_newest(tmp_path: Path, state: bytes, found: str) -> None:
    (tmp_path / "checkpoint").write_bytes(state)
    assert newest(tmp_path) == tmp_path / found


def test_folder_is_opened_through_its_state_file(folder: Path) -> None:
    (folder / "checkpoint").write_text('model_checkpoint_path: "dt1"\n')
    assert (is_tensorflow_v1(folder), is_tensorflow_v2(folder)) == (True, False)
    assert len(TensorFlowV1Checkpoint(folder)) == 17
    (folder / "checkpoint").write_text('model_checkpoint_path: "/old/place/dt2"\n')
    assert (is_tensorflow_v1(folder), is_tensorflow_v2(folder)) == (False, True)
    assert len(TensorFlowV2Checkpoint(folder)) == 18


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"model_checkpoint_path: dt1",
        b'all_model_checkpoint_paths: "dt1"',
        b'model_checkpoint_path: "dt1',
        b'model_checkpoint_path: "../dt1"',
        b'model_checkpoint_path: "sub/../../dt1"',
        b'model_checkpoint_path: ""',
        b'model_checkpoint_path: "/"',
        rb'model_checkpoint_path: "a\000b"',
        rb'model_checkpoint_path: "\377"',
        b" \n" * 200_000,
        b'model_checkpoint_path: "dt1"\n' + b" " * (1 << 20),
    ],
)
def test_state_file_that_names_nothing_inside(folder: Path, state: bytes) -> None:
    (folder / "checkpoint").write_bytes(state)
    with pytest.raises(CheckpointError):
        newest(folder)
    assert not is_tensorflow_v1(folder)
    assert not is_tensorflow_v2(folder)

"""What stands for a checkpoint, and what is none: each is told what it is, and the advice works."""

import gzip
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.checkpoint_seeds import DATA
from support.tensorflow_files import CHECKPOINTS

from resnet_compile.checkpoints.formats import is_checkpoint, open_checkpoint
from resnet_compile.errors import CheckpointError

PTH = DATA / "readers" / "state_dict.pth"


def bundle(folder: Path, *names: str) -> None:
    """The fixture `part2` under other names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for ending in ("index", "data-00000-of-00001"):
            shutil.copyfile(CHECKPOINTS / f"part2.{ending}", folder / f"{name}.{ending}")


def refused(path: Path) -> CheckpointError:
    assert not is_checkpoint(path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert str(caught.value).isprintable()
    return caught.value


def opened(path: Path) -> Path:
    """The first file of the checkpoint that a path stands for."""
    assert is_checkpoint(path)
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint)
        return checkpoint.files[0]


def test_the_only_checkpoint_of_a_folder_is_meant(tmp_path: Path) -> None:
    bundle(tmp_path / "v2", "model.ckpt-7")
    for given in ("v2", "v2/model.ckpt"):
        assert opened(tmp_path / given) == tmp_path / "v2" / "model.ckpt-7.index"
    (tmp_path / "v2" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    for given in ("v2", "v2/checkpoint"):
        assert opened(tmp_path / given) == tmp_path / "v2" / "model.ckpt-7.index"
    (tmp_path / "v1").mkdir()
    shutil.copyfile(CHECKPOINTS / "part1", tmp_path / "v1" / "resnet_v2_50.ckpt")
    shutil.copyfile(DATA / "readers" / "not_frozen.pb", tmp_path / "v1" / "eval.graph")
    assert opened(tmp_path / "v1") == tmp_path / "v1" / "resnet_v2_50.ckpt"
    shutil.move(tmp_path / "v1", tmp_path / "outer" / "inner" / "v1")
    assert opened(tmp_path / "outer").name == "resnet_v2_50.ckpt"


def test_of_several_one_is_asked_for(tmp_path: Path) -> None:
    bundle(tmp_path, "model.ckpt-20", "model.ckpt-100")
    for path in (tmp_path, tmp_path / "model.ckpt"):
        hint = str(refused(path).hint)
        assert hint == f"give one of model.ckpt-100, model.ckpt-20, such as {tmp_path}/model.ckpt-100"
    opened(tmp_path / "model.ckpt-100")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/train/model.ckpt-900"')
    for path in (tmp_path, tmp_path / "checkpoint"):
        error = refused(path)
        assert error.message == "the checkpoint state file names model.ckpt-900, which is not there"
        assert str(error.hint).endswith(f"such as {tmp_path}/model.ckpt-100")


def test_a_hub_s_folder_is_its_weights_and_its_configuration(tmp_path: Path) -> None:
    for name, data in (("pytorch_model.bin", PTH.read_bytes()), ("config.json", b'{"architecture": "resnet50"}')):
        (tmp_path / name).write_bytes(data)
    with open_checkpoint(tmp_path) as folder, open_checkpoint(tmp_path / "pytorch_model.bin") as file:
        assert folder.files == file.files == (tmp_path / "pytorch_model.bin",)
        assert folder.config == file.config == {"architecture": "resnet50"}
    for shard in (DATA / "readers").glob("sharded-*"):
        shutil.copyfile(shard, tmp_path / shard.name)
    index = tmp_path / "model.safetensors.index.json"
    shutil.copyfile(DATA / "readers" / "sharded.safetensors.index.json", index)
    assert opened(tmp_path) == index
    (tmp_path / "config.json").write_text("[" * 100_000)
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.config is None
    index.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    (tmp_path / "model.safetensors").write_bytes(index.read_bytes())
    assert (
        refused(tmp_path).message
        == "a folder in which model.safetensors is a Git LFS pointer to 7 bytes, not the file itself"
    )


WRONG: dict[str, tuple[bytes, str, str]] = {
    "page.pth": (b"\n<!DOCTYPE html><title>Quota\nexceeded</title>", "a web page (Quota exceeded)", "download"),
    "denied.pth": (b'<?xml version="1.0"?><Error><Message>Denied</Message>', "a web page (Denied)", "download"),
    "pointer.pth": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 102530333\n",
        "a Git LFS pointer to 102530333 bytes",
        "git -C {folder} lfs pull",
    ),
    "empty.h5": (b"", "an empty file", "download or copy it again"),
    "entry.pth": (b"Entry not found", "a text, 'Entry not found'", "download or copy it again"),
    "x.ckpt.meta": (b"\x0a\x04node", "the graph of a TensorFlow checkpoint", "copy x.ckpt.index and its data there"),
    "a.ckpt.data-00000-of-00001": (bytes(99), "the data of a TensorFlow checkpoint without its index", "copy a.ckpt."),
    "a.npy": (b"\x93NUMPY\1\0" + bytes(90), "one NumPy array without a name", "numpy.savez"),
    "spec": (b'{"name": "a", "blocks": [], "head": {}}', "a network's spec, not its weights", "give it as SPEC"),
    "config.json": (b'{"model_type": "resnet"}', "a model's configuration", "the folder that holds both"),
    "cut.pth": (PTH.read_bytes()[:29], "the first 29 bytes of a zip archive", "download or copy it again"),
    "cut.ckpt": ((CHECKPOINTS / "part1").read_bytes()[:99], "the first 99 bytes of a TensorFlow checkpoint", "again"),
    "saved_model.pb": (b"\x08\x01\x12\x00", "a SavedModel without its variables", "copy the whole folder again"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_told_what_it_is(name: str, tmp_path: Path) -> None:
    data, what, hint = WRONG[name]
    (tmp_path / name).write_bytes(data)
    error = refused(tmp_path / name)
    assert error.message.startswith(what)
    assert hint.format(folder=tmp_path) in str(error.hint)


def test_a_cut_download_is_told_how_much_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    data = (DATA / "readers" / "dtypes.safetensors").read_bytes()
    for size, words in ((len(data) - 1, f"{len(data) - 1} of {len(data)} bytes"), (100, "100 of more than 1440 bytes")):
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=f"the file is truncated: {words}"):
            open_checkpoint(path)


def test_a_prefix_without_its_other_files_is_told(tmp_path: Path) -> None:
    bundle(tmp_path, "a")
    (tmp_path / "a.index").unlink()
    assert refused(tmp_path / "a").message == "the data of a TensorFlow checkpoint without its index"
    assert "without its index" in refused(tmp_path).message
    (tmp_path / "a.ckpt.meta").write_bytes(b"\x0a\x04node")
    assert refused(tmp_path / "a.ckpt").hint == "copy a.ckpt.index and its data there"
    shutil.copyfile(CHECKPOINTS / "part1", tmp_path / "a.ckpt")
    assert refused(tmp_path / "a.ckpt.meta").hint == f"give {tmp_path}/a.ckpt"
    opened(tmp_path / "a.ckpt")


def packed(folder: Path) -> dict[str, Callable[[Path], None]]:
    """Ways to pack a folder."""

    def tar(path: Path, mode: str) -> None:
        with tarfile.open(path, mode) as archive:
            archive.add(folder, arcname="inner")

    def archive(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as made:
            for file in folder.iterdir():
                made.write(file, file.name)

    return {
        "a b.tar.gz": lambda path: tar(path, "w:gz"),
        "a.tgz": lambda path: tar(path, "w:gz"),
        "a.tar": lambda path: tar(path, "w:"),
        "a.tar.bz2": lambda path: tar(path, "w:bz2"),
        "a.tar.xz": lambda path: tar(path, "w:xz"),
        "a.zip": archive,
    }


@pytest.mark.parametrize("name", packed(Path()))
def test_an_archive_is_unpacked_by_the_command_that_is_told(name: str, tmp_path: Path) -> None:
    bundle(tmp_path / "model", "model.ckpt")
    packed(tmp_path / "model")[name](tmp_path / name)
    error = refused(tmp_path / name)
    assert "archive" in error.message
    follow(error)
    assert opened(tmp_path / name.partition(".")[0]).name == "model.ckpt.index"
    assert "_unpacked" in str(refused(tmp_path / name).hint)


def follow(error: CheckpointError) -> None:
    """Type what a hint says behind its colon."""
    typed = str(error.hint).partition(": ")[2]
    tool = typed.split("&& ")[-1].split()[0]
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    subprocess.run(typed, shell=True, check=True, capture_output=True)


def test_a_packed_file_is_unpacked_by_the_command_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.pth.gz").write_bytes(gzip.compress(PTH.read_bytes()))
    error = refused(tmp_path / "w.pth.gz")
    assert error.message == "a file compressed by gzip"
    follow(error)
    opened(tmp_path / "w.pth")


def test_an_unpacked_pytorch_file_is_packed_by_the_command_that_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(PTH) as archive:
        archive.extractall(tmp_path / "a b")
    error = refused(tmp_path / "a b")
    assert error.message == "a PyTorch file that was unpacked"
    follow(error)
    with open_checkpoint(PTH) as before, open_checkpoint(tmp_path / "a b" / "state_dict.pth") as after:
        assert list(before) == list(after)
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_looking_into_folders_has_an_end(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(200):
        folder = folder / "a"
    folder.mkdir(parents=True)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert refused(tmp_path).message == "a folder without a checkpoint in it"
    shutil.rmtree(tmp_path / "a" / "a")
    assert refused(tmp_path).message == "a folder without a checkpoint in it"

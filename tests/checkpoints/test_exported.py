"""Archives of `torch.export.save`, against what PyTorch reads back from them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoint_seeds import DATA
from support.truths import assert_equals

from resnet_compile.checkpoints.base import Unread
from resnet_compile.checkpoints.formats import open_checkpoint
from resnet_compile.checkpoints.torch.exported import STATE_DICT
from resnet_compile.checkpoints.torch.file import PyTorchCheckpoint, is_pytorch
from resnet_compile.errors import CheckpointError

FILE = DATA / "readers" / "exported.pt2"
TRUTH = json.loads(FILE.with_suffix(".json").read_text())["exported.pt2"]
WEIGHTS = "exported/data/weights/model_weights_config.json"


def test_tensors_are_bit_equal_by_the_names_of_the_state_dict() -> None:
    assert is_pytorch(FILE)
    with open_checkpoint(FILE) as checkpoint:
        assert checkpoint.keys() == TRUTH.keys()
        assert_equals(checkpoint, TRUTH)
        place = checkpoint.info("fc.weight").place
        assert place is not None
        assert checkpoint.info("tied.weight").place == place
        assert checkpoint["turned"].strides == (4, 20)


def archived(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(FILE) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The archive with another description of its weights."""
    there = members()
    document = json.loads(there[WEIGHTS])
    change(document)
    return archived(path, there | {WEIGHTS: json.dumps(document).encode()})


def test_several_models_stand_below_their_names(tmp_path: Path) -> None:
    there = members()
    both = there | {name.replace("model_weights", "other_weights"): data for name, data in there.items()}
    names = set(PyTorchCheckpoint(archived(tmp_path / "a.pt2", both)))
    own = {name for name in TRUTH if not name.startswith("constants/")}
    assert names == {f"{model}/{name}" for model in ("model", "other") for name in own} | {"model/constants/mean"}


def test_archives_from_before_2_8_hold_a_file_of_torch_save(tmp_path: Path) -> None:
    inner = DATA / "readers" / "state_dict.pth"
    made = {"serialized_exported_program.json": b"{}", STATE_DICT: inner.read_bytes(), "version": b"8.8"}
    path = archived(tmp_path / "a.pt2", made)
    assert is_pytorch(path)
    with open_checkpoint(path) as found, open_checkpoint(inner) as truth:
        assert {name: found[name].tobytes() for name in found} == {name: truth[name].tobytes() for name in truth}
        assert list(found)


@pytest.mark.parametrize(
    ("change", "unread"),
    [
        ({"use_pickle": True}, Unread("of a class of its own", (4, 3, 3, 3), "save model.state_dict() of plain")),
        ({"dtype": 9}, Unread("of ScalarType 9", (4, 3, 3, 3), "save tensor.float()")),
        ({"layout": 2}, Unread("sparse", (4, 3, 3, 3), "save tensor.to_dense()")),
    ],
)
def test_what_is_not_read_is_listed(change: dict[str, Any], unread: Unread, tmp_path: Path) -> None:
    def alter(document: dict[str, Any]) -> None:
        entry = document["config"]["conv.weight"]
        (entry if "use_pickle" in change else entry["tensor_meta"]).update(change)

    checkpoint = PyTorchCheckpoint(changed(tmp_path / "a.pt2", alter))
    found = checkpoint.unread["conv.weight"]
    assert (found.kind, found.shape) == (unread.kind, unread.shape)
    assert str(found.advice).startswith(str(unread.advice))
    assert "conv.weight" not in checkpoint


def meta(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["config"]["conv.weight"]["tensor_meta"].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (meta(sizes=[{"as_int": 400}] * 2), "one stride for each axis"),
        (meta(sizes=[{"as_int": 400}], strides=[{"as_int": 1}]), "reaches to element 399 of a storage of 432 bytes"),
        (meta(storage_offset={"as_int": 1}), "reaches to element 108"),
        (meta(sizes=[{"as_expr": "s0"}]), "not natural numbers"),
        (meta(sizes=None), "not described as PyTorch describes one"),
        (meta(storage_offset={"as_int": -1}), "not natural numbers"),
        (meta(dtype=8), "reaches to element 107"),
        (
            lambda document: document["config"]["conv.weight"].update(path_name="../x"),
            "the tensor's storage is missing",
        ),
        (lambda document: document.update(config=[]), "not described as PyTorch describes them"),
    ],
)
def test_damage_is_refused(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(changed(tmp_path / "a.pt2", change))

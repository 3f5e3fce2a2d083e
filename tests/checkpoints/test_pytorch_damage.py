"""Damaged files of PyTorch: each is refused with its fault."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from support import torch_files as forge
from support.checkpoint_seeds import DATA

from resnet_compile.checkpoints.torch import containers
from resnet_compile.checkpoints.torch.file import PyTorchCheckpoint
from resnet_compile.checkpoints.torch.opcodes import interpret
from resnet_compile.checkpoints.torch.values import PickleError
from resnet_compile.errors import CheckpointError


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"", "truncated"),
        (b"\x80\x02", "truncated"),
        (b"\x80\x02}", "truncated"),
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02}}.", "more than one value"),
        (b"\x80\x02(}.", "more than one value"),
        (b"\x80\x02}.}", "after the pickle's end"),
        (b"\x80\x02(0.", "empty stack"),
        (b"\x80\x02P1\n.", "opcode 0x50"),
        (b"\x80\x05\x97.", "opcode 0x97"),
        (b"\x80\x02}\x8c\xff", "truncated"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "truncated|opcode"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab.", "truncated|opcode"),
        (b"\x80\x02\x8b\xff\xff\xff\x7fab.", "truncated|opcode"),
        (b"\x80\x02X\x01\0\0\0\xff.", "not UTF-8"),
        (b"\x80\x02cos\nsystem", "truncated"),
        (b"\x80\x02cos system.", "truncated"),
        (b"\x80\x02h\x07.", "memo"),
        (b"\x80\x02q\x07.", "empty stack"),
        (b"\x80\x02t.", "mark"),
        (b"\x80\x02(\x85.", "empty stack"),
        (b"\x80\x02}(K\x01u.", "items"),
        (b"\x80\x02](K\x01K\x02u.", "items"),
        (b"\x80\x02}K\x01a.", "appends"),
        (b"\x80\x02]}b.", "attributes"),
        (b"\x80\x02I1_0\n.", "malformed"),
        (b"\x80\x02F1.2.3\n.", "malformed"),
        (b"\x80\x02S'a\n.", "malformed"),
        (b"\x80\x02S'\\q'\n.", "malformed"),
        (b"\x80\x02\x8b\x00\x01\x00\x00" + bytes(256) + b".", "number of 256 bytes"),
        (b"\x80\x02}U\x02ab.", "more than one value"),
        (b"\x80\x02}T\x01\x04\x00\x00" + b"k" * 1025 + b"K\x01s.", "where one is required"),
        (b"\x80\x02}K\x01K\x01sK\x01K\x02s.", "twice"),
        (b"\x80\x02K\x01K\x02\x93.", "is not two strings"),
        (forge.program(forge.mapping({}) + b"(" + (forge.text("w") + forge.WHOLE) * 2 + b"u"), "a key twice"),
        (forge.program(forge.call(forge.name("torch", "Size"), forge.number(1))), "torch.Size"),
        (forge.program(forge.call(forge.name("torch._utils", "_rebuild_parameter"))), "does not wrap a tensor"),
        (forge.state_dict(forge.call(forge.REBUILD, b"N")), "arguments"),
        (forge.state_dict(forge.call(forge.REBUILD, b"N" * 6)), "without a storage"),
        (
            forge.state_dict(forge.tensor(forge.storage("0", 12, "UntypedStorage"), (1,), (1,))),
            "storage is not described",
        ),
        (forge.state_dict(forge.storage("0", 12, "QInt9Storage")), "storage is not described"),
        (forge.state_dict(forge.tensor(forge.storage("0", 48, "QInt8Storage"), (1,), (1,))), "without a dtype"),
        (forge.state_dict(forge.tensor(forge.storage("k" * 1025, 12), (1,), (1,))), "storage is not described"),
        (
            forge.state_dict(forge.sequence(forge.storage("0", 12), forge.storage("0", 12, "LongStorage"))),
            "of two types",
        ),
        (forge.state_dict(forge.WHOLE + b"(" + forge.WHOLE + b"tb"), "attributes"),
        (forge.program(forge.name("m", "n" * 1024)), "is too long"),
    ],
)
def test_damaged_pickles(tmp_path: Path, program: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(forge.write(tmp_path / "a", program))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (forge.tensor(forge.storage("0", 12), (13,), (1,)), "reaches to element 12"),
        (forge.tensor(forge.storage("0", 12), (12,), (1,), offset=1), "reaches to element 12"),
        (forge.tensor(forge.storage("0", 12), (2, 2), (11, 1)), "reaches to element 12"),
        (forge.tensor(forge.storage("0", 12), (1,), (1,), offset=1 << 62), "reaches"),
        (forge.tensor(forge.storage("0", 12), (1 << 40,), (0,)), "more elements than its storage"),
        (forge.tensor(forge.storage("0", 12), (13,), (0,)), "more elements than its storage"),
        (forge.tensor(forge.storage("0", 12), (1 << 40, 1 << 40), (0, 0)), "larger than any memory"),
        (forge.tensor(forge.storage("0", 12), (0, 1 << 62), (1, 1)), "larger than any memory"),
        (forge.tensor(forge.storage("0", 12), (1,) * 33, (1,) * 33), "33 axes"),
        (forge.tensor(forge.storage("0", 12), (1,) * 65, (1,) * 65), "65 axes"),
        (forge.tensor(forge.storage("0", 12), (2, 2), (1,)), "one stride for each axis"),
        (forge.tensor(forge.storage("0", 12), (2,), (-1,), offset=1), "natural numbers"),
        (forge.tensor(forge.storage("0", 12), (-2,), (1,)), "natural numbers"),
        (forge.tensor(forge.storage("0", 12), (2,), (1,), offset=-1), "natural numbers"),
        (forge.tensor(forge.storage("1", 12), (2,), (1,)), "storage is missing"),
        (forge.tensor(forge.storage("../data.pkl", 12), (2,), (1,)), "storage is missing"),
        (forge.tensor(forge.storage("0", 13), (2,), (1,)), "claims 13 elements"),
        (forge.tensor(forge.storage("0", 12, "DoubleStorage"), (2,), (1,)), "claims 12 elements"),
        (forge.tensor(forge.storage("0", 1 << 60), (2,), (1,)), "claims"),
        (forge.tensor(forge.storage("0", -12), (2,), (1,)), "claims"),
    ],
)
def test_tensors_outside_their_storage(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(forge.write(tmp_path / "a", forge.state_dict(body)))


def test_any_stride_will_do_for_an_axis_of_one(tmp_path: Path) -> None:
    body = forge.tensor(forge.storage("0", 12), (1, 3), (1 << 62, 2), offset=4)
    assert PyTorchCheckpoint(forge.write(tmp_path / "a", forge.state_dict(body)))["w"].tolist() == [[4, 6, 8]]


def test_damaged_values(tmp_path: Path) -> None:
    raw = (DATA / "readers" / "state_dict.pth").read_bytes()
    (tmp_path / "a").write_bytes(raw)
    weight = PyTorchCheckpoint(tmp_path / "a")["0.weight"].tobytes()
    at = raw.index(weight) + 5
    (tmp_path / "a").write_bytes(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])
    checkpoint = PyTorchCheckpoint(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="CRC-32"):
            checkpoint["0.weight"]
    assert checkpoint["1.weight"].shape == (4,)


def test_boolean_of_another_byte(tmp_path: Path) -> None:
    body = forge.tensor(forge.storage("0", 48, "BoolStorage"), (24,), (2,))
    checkpoint = PyTorchCheckpoint(forge.write(tmp_path / "a", forge.state_dict(body)))
    with pytest.raises(CheckpointError, match="neither 0 nor 1"):
        checkpoint["w"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"byteorder": b"big", "data/0": bytes(48)}, "little-endian"),
        ({"constants.pkl": b"", "data/0": bytes(48)}, "truncated"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, records: dict[str, bytes], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        PyTorchCheckpoint(forge.write(tmp_path / "a", forge.state_dict(forge.WHOLE), records))


@pytest.mark.parametrize("names", [[], ["data.pkl"], ["a/data.pkl", "b/data.pkl"], ["a/b/data.pkl"], ["a/version"]])
def test_archives_without_one_pickle(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for name in names:
            archive.writestr(name, forge.state_dict(forge.WHOLE))
    with pytest.raises(CheckpointError, match="exactly one"):
        PyTorchCheckpoint(tmp_path / "a")


def test_a_pickle_that_is_compressed_may_not_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MAX_INFLATED", 100)
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", forge.program(b"]" * 100))
    with pytest.raises(CheckpointError, match="103 bytes in a compressed pickle"):
        PyTorchCheckpoint(tmp_path / "a")


def test_truncated_pickle_anywhere() -> None:
    with zipfile.ZipFile(DATA / "readers" / "training.pth") as archive:
        whole = archive.read("training/data.pkl")
    assert isinstance(interpret(memoryview(whole)).value, dict)
    for size in range(0, len(whole), 11):
        with pytest.raises(PickleError):
            interpret(memoryview(whole)[:size])


def test_floats_of_the_forge(tmp_path: Path) -> None:
    """The forged files above are right where nothing is wrong with them."""
    path = forge.write(tmp_path / "a", forge.state_dict(forge.WHOLE))
    assert PyTorchCheckpoint(path)["w"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
